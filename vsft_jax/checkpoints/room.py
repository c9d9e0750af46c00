"""Whether the disk has room for a checkpoint, asked before anything costly is done for one."""

import shutil
from pathlib import Path
from typing import Any

import jax

from input_pipeline.paths import is_remote
from vsft_jax.checkpoints.errors import CheckpointError

_SMALLEST = 0.7  # of its values' bytes: Orbax compresses, and what is random hardly shrinks


def check_room(directory: Path, values: Any) -> None:
    """Raises CheckpointError where the disk of a run's checkpoints is too full for one of them.

    values: pytree of what is saved, arrays or ShapeDtypeStructs. Quotas and the room that others
    take meanwhile are not known here, nor is that of an address.
    """
    if is_remote(str(directory)):
        return
    size = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(values))
    folder = next(path for path in (directory, *directory.parents) if path.exists())
    free = shutil.disk_usage(folder).free
    if free < _SMALLEST * size:
        raise CheckpointError(
            f"{directory}: a checkpoint of this run takes about {size / 1e9:.3g} GB, and the disk "
            f"has {free / 1e9:.3g} GB left: make room, or take another --workdir"
        )
