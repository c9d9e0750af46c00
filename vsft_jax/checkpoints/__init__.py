"""Checkpoints: saved whole with checksums, verified when they are used.

In: parameters, optimiser state and facts of a step. Out: `Checkpoints` of a workdir, which saves
and restores them; `make_ready` for a training that goes on: the newest one is whole then.
"""

from vsft_jax.checkpoints.errors import CheckpointError
from vsft_jax.checkpoints.store import Checkpoints
from vsft_jax.checkpoints.upkeep import make_ready

__all__ = ["CheckpointError", "Checkpoints", "make_ready"]
