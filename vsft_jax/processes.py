"""Several processes of one job: who goes first, who writes, and where they wait for each other."""

import contextlib
from collections.abc import Iterator

import jax
import numpy as np
from jax.experimental import multihost_utils


def is_first() -> bool:
    """Whether this process writes what all of them found; true in a job of one process."""
    return jax.process_index() == 0


def wait_for_all(point: str) -> None:
    """Returns when every process has reached this point of the job."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(point)


def first_says(value: bool) -> bool:
    """What process 0 holds for true, in all processes; to be called by all of them."""
    if jax.process_count() == 1:
        return value
    return bool(multihost_utils.broadcast_one_to_all(np.array(value)))


@contextlib.contextmanager
def first_process_first(point: str) -> Iterator[None]:
    """Process 0 does the work; the others follow and find it done on the shared file system."""
    if not is_first():
        wait_for_all(point)
    yield
    if is_first():
        wait_for_all(point)
