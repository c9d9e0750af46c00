"""What a run leaves behind of its steps.

In: scalars by step. Out: `Record` appends them to train.jsonl, which reports and resumes read and
which ends the run when it cannot be written; `BadSteps` names those whose loss is no number;
`Trackers` shows them to TensorBoard, Weights & Biases
or MLflow as well as it can, and never holds a run up. `Goodput` says where the time went, `Profile`
traces some steps.
"""

from vsft_jax.train.record.bad_steps import BadSteps, Diverged, check_finite
from vsft_jax.train.record.goodput import Goodput, lost_seconds
from vsft_jax.train.record.jsonl import Record, RecordError, is_evaluated, read_jsonl
from vsft_jax.train.record.profile import Profile
from vsft_jax.train.record.services import SERVICES, Tracked, check_trackers, make_trackers
from vsft_jax.train.record.trackers import Tracker, Trackers

__all__ = [
    "SERVICES",
    "BadSteps",
    "Diverged",
    "Goodput",
    "Profile",
    "Record",
    "RecordError",
    "Tracked",
    "Tracker",
    "Trackers",
    "check_finite",
    "check_trackers",
    "is_evaluated",
    "lost_seconds",
    "make_trackers",
    "read_jsonl",
]
