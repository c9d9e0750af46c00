"""What a config means.

In: a config of configs/ with its overrides, and a workdir. Out: a `Run`, which every job is given,
with the objects and paths that follow from the two. A config that cannot be run makes none
(`checks/`); what a job needs beside it is looked for when the job begins (`check_before_…`).
"""

from vsft_jax.config.base import as_json
from vsft_jax.config.checks import refuse
from vsft_jax.config.data import MADE_SETS
from vsft_jax.config.exported import EXPORT_RECORD
from vsft_jax.config.layout import stated_by
from vsft_jax.config.ready import (
    check_before_evaluation,
    check_before_study,
    check_before_training,
    check_data,
    evaluation_row_problems,
    training_row_problems,
)
from vsft_jax.config.run import Run

__all__ = [
    "EXPORT_RECORD",
    "MADE_SETS",
    "Run",
    "as_json",
    "check_before_evaluation",
    "check_before_study",
    "check_before_training",
    "check_data",
    "evaluation_row_problems",
    "refuse",
    "stated_by",
    "training_row_problems",
]
