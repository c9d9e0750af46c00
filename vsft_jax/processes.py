"""Several processes of one job: who goes first, who writes, and where they wait for each other."""

import contextlib
import json
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from input_pipeline.errors import UserError


def is_first() -> bool:
    """Whether this process writes what all of them found; true in a job of one process."""
    return jax.process_index() == 0


def wait_for_all(point: str) -> None:
    """Returns when every process has reached this point of the job."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(point)


def gather(value: Any) -> list[Any]:
    """What each process gave, JSON values in the order of the processes, in all of them; to be
    called by all of them."""
    if jax.process_count() == 1:
        return [value]
    text = np.frombuffer(json.dumps(value).encode(), np.uint8)
    sizes = multihost_utils.process_allgather(np.array(text.size, np.int32))
    texts = multihost_utils.process_allgather(np.pad(text, (0, sizes.max() - text.size)))
    return [json.loads(bytes(t[:size])) for t, size in zip(texts, sizes, strict=True)]


def first_finds(find: Callable[[], Any]) -> Any:
    """What process 0 finds, a JSON value, in all processes; to be called by all of them.

    Raises in all of them the UserError that process 0 raised.
    """
    if jax.process_count() == 1:
        return find()
    error: UserError | None = None
    found = None
    if is_first():
        try:
            found = find()
        except UserError as raised:
            error = raised
    found, said = gather([found, None if error is None else str(error)])[0]
    if said is not None:
        raise error or UserError(f"process 0: {said}")
    return found


@contextlib.contextmanager
def first_process_first(point: str) -> Iterator[None]:
    """Process 0 does the work; the others follow and find it done on the shared file system."""
    if not is_first():
        wait_for_all(point)
    yield
    if is_first():
        wait_for_all(point)
