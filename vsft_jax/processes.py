"""Several processes of one job: who goes first, who writes, and where they wait for each other."""

import contextlib
import itertools
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from absl import logging
from jax.experimental import multihost_utils

from input_pipeline import mirrors
from input_pipeline.errors import UserError
from input_pipeline.progress import duration, latest


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


def first_finds(
    find: Callable[[], Any],
    doing: str = "go on",
    *,
    patience: float = 0.0,
    in_files: bool = False,
) -> Any:
    """What process 0 finds, a JSON value, in all processes; to be called by all of them.

    doing: what process 0 does to find it, in words, for the lines of those that wait. patience:
    seconds without progress of process 0 (see `progress.latest`) after which they give up; 0:
    never. in_files: what it found lies in files that the others then read, on a file system that
    they share or in their own copies of what lies at an address.

    Raises in all of them the UserError that process 0 raised, and in those that wait a UserError
    when they give up.
    """
    if jax.process_count() == 1:
        return find()
    key = f"vsft/first/{next(_finds)}"
    error: UserError | None = None
    found = None
    if is_first():
        try:
            with _signs_of_progress(key):
                found = find()
                if in_files:
                    mirrors.publish()
        except UserError as raised:
            error = raised
        _store().key_value_set(f"{key}/done", "done")
    else:
        _wait_for_first(key, doing, patience)
    found, said = gather([found, None if error is None else str(error)])[0]
    if said is not None:
        raise error or UserError(f"process 0: {said}")
    if in_files and not is_first():
        mirrors.fetch()
    return found


@contextlib.contextmanager
def first_process_first(point: str) -> Iterator[None]:
    """Process 0 does the work; the others follow and find it done: on the file system that they
    share, or in their own copies of what lies at an address."""
    if not is_first():
        wait_for_all(point)
        mirrors.fetch()
    yield
    if is_first() and jax.process_count() > 1:
        mirrors.publish()
        wait_for_all(point)


_SIGN_SECONDS = 20.0  # between signs of progress, and between looks at them
_TOLD_SECONDS = 60.0  # between lines of a process that waits
_finds = itertools.count()  # the same number in all processes


def _store() -> Any:
    """The store of JAX's coordination service, for which JAX has no public way."""
    from jax._src import distributed

    return distributed.global_state.client


@contextlib.contextmanager
def _signs_of_progress(key: str) -> Iterator[None]:
    """Inside, the others can read how far the work of this process is."""
    ended = threading.Event()

    def tell() -> None:
        while not ended.wait(_SIGN_SECONDS):
            _store().key_value_set(f"{key}/sign", latest(), True)

    thread = threading.Thread(target=tell, name="signs of progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _wait_for_first(key: str, doing: str, patience: float) -> None:
    start = moved = told = time.monotonic()
    sign = ""
    while True:
        try:
            _store().blocking_key_value_get(f"{key}/done", round(1000 * _SIGN_SECONDS))
            return
        except jax.errors.JaxRuntimeError as error:
            if "DEADLINE_EXCEEDED" not in str(error):
                raise
        now, before = time.monotonic(), sign
        sign = dict(_store().key_value_dir_get(key)).get(f"{key}/sign", "")
        moved = now if sign != before else moved
        waits = f"waits for process 0 to {doing}, for {duration(now - start)} so far"
        at = f" ({sign})" if sign else ""
        if patience and now - moved > patience:
            raise UserError(
                f"process {jax.process_index()} on {socket.gethostname()} {waits}{at}: nothing has "
                f"moved there for {duration(now - moved)} (config.train.watchdog_seconds)"
            )
        if now - told > _TOLD_SECONDS:
            told = now
            logging.info("process %d %s%s", jax.process_index(), waits, at)
