"""What a training does with its checkpoints before it uses them, while nobody else does."""

import functools

from absl import logging

from vsft_jax.checkpoints.errors import CheckpointError
from vsft_jax.checkpoints.manifest import damage
from vsft_jax.checkpoints.places import Folder, bytes_below, remove_tree, steps_of, unfinished
from vsft_jax.processes import first_finds


def make_ready(directory: Folder, *, verify: bool) -> None:
    """Removes what killed saves and removals left, and sets damaged checkpoints aside as
    "<step>.damaged", so that the newest one is whole; both are logged. To be called by all
    processes.

    directory: of the checkpoints. verify: read all bytes of the newest, and of those before it
    until one is whole. Raises CheckpointError where none is; then all of them stay.
    """
    first_finds(lambda: _remove_unfinished(directory))
    if not verify:
        return
    damaged = {}
    for step in first_finds(lambda: steps_of(directory)):
        problem = damage(directory / str(step))
        if problem is None:
            break
        damaged[step] = problem
    else:
        if damaged:
            said = "; ".join(f"step {step}: {problem}" for step, problem in damaged.items())
            raise CheckpointError(
                f"{directory} has no whole checkpoint to go on from: {said}.\n"
                f"To begin anew take another --workdir, or remove {directory}"
            )
    for bad, problem in damaged.items():
        aside = first_finds(functools.partial(_set_aside, directory, bad))
        logging.warning("checkpoint %d is damaged: %s; it is kept as %s", bad, problem, aside)
    if damaged:
        logging.warning("going on from the checkpoint before, step %d", step)


def _remove_unfinished(directory: Folder) -> int:
    """Returns how many there were."""
    found = unfinished(directory)
    for path in found:
        size = bytes_below(path)
        remove_tree(path)
        logging.info("removed %s, left by what was cut off: %.1f MB", path, size / 1e6)
    return len(found)


def _set_aside(directory: Folder, step: int) -> str:
    """Renames a checkpoint so that it is none any more; returns where it is."""
    names = (f"{step}.damaged{n}" for n in ("", *(f"-{i}" for i in range(2, 1000))))
    aside = next(directory / name for name in names if not (directory / name).exists())
    (directory / str(step)).rename(aside)
    return str(aside)
