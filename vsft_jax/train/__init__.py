"""Training.

In: a `Run`. Out: `train(run)`, which leaves checkpoints and a record of every step, and what other
jobs need of a training: its model on a mesh (`make_trainer`) and how long it takes
(`with_schedule`).
"""

from vsft_jax.train.loop import train
from vsft_jax.train.preemption import Preempted
from vsft_jax.train.record import Diverged, RecordError, read_jsonl
from vsft_jax.train.setup import make_trainer, with_schedule
from vsft_jax.train.step import Trainer

__all__ = [
    "Diverged",
    "Preempted",
    "RecordError",
    "Trainer",
    "make_trainer",
    "read_jsonl",
    "train",
    "with_schedule",
]
