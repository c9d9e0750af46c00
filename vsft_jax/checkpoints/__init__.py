"""Checkpoints: saved whole with checksums, verified when they are used.

In: parameters, optimiser state and facts of a step. Out: `Checkpoints` of a workdir, which saves
and restores them; `home`, where they are; `make_ready` for a training that goes on: the newest one
is whole then.
"""

from vsft_jax.checkpoints.errors import CheckpointError
from vsft_jax.checkpoints.places import home, steps_of, written_at
from vsft_jax.checkpoints.store import Checkpoints
from vsft_jax.checkpoints.upkeep import make_ready

__all__ = [
    "CheckpointError",
    "Checkpoints",
    "home",
    "make_ready",
    "steps_of",
    "written_at",
]
