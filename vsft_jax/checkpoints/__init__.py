"""Checkpoints: saved whole with checksums, verified when they are used.

In: parameters, optimiser state and facts of a step. Out: `Checkpoints` of a workdir, which saves
and restores them; `home`, where they are; before a training computes anything, `make_ready`, by
which the newest one is whole, and `check_room`.
"""

from vsft_jax.checkpoints.errors import CheckpointError
from vsft_jax.checkpoints.places import home, steps_of, written_at
from vsft_jax.checkpoints.room import check_room
from vsft_jax.checkpoints.store import Checkpoints
from vsft_jax.checkpoints.upkeep import make_ready

__all__ = [
    "CheckpointError",
    "Checkpoints",
    "check_room",
    "home",
    "make_ready",
    "steps_of",
    "written_at",
]
