"""What a run leaves behind of its steps.

In: scalars by step. Out: `Record` appends them to train.jsonl, which reports and resumes read and
which ends the run when it cannot be written; `BadSteps` names those whose loss is no number;
`Trackers` shows them to TensorBoard, Weights & Biases
or MLflow as well as it can, and never holds a run up.
"""

from vsft_jax.train.record.bad_steps import BadSteps, Diverged, check_finite
from vsft_jax.train.record.jsonl import Record, RecordError, is_evaluated, read_jsonl
from vsft_jax.train.record.services import SERVICES, Tracked, check_trackers, make_trackers
from vsft_jax.train.record.trackers import Tracker, Trackers

__all__ = [
    "SERVICES",
    "BadSteps",
    "Diverged",
    "Record",
    "RecordError",
    "Tracked",
    "Tracker",
    "Trackers",
    "check_finite",
    "check_trackers",
    "is_evaluated",
    "make_trackers",
    "read_jsonl",
]
