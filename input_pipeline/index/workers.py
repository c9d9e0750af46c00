"""Makes rows of an index in parallel, in threads or in processes, and gives them in order."""

import collections
import functools
import itertools
import multiprocessing
import os
import threading
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor

from input_pipeline.annotations import Place, Rejected
from input_pipeline.examples import Example
from input_pipeline.index.probe_cache import ProbeCache
from input_pipeline.index.rows import IndexSpec, Outcome, RowMaker
from input_pipeline.media import Decoder

_GROUP = 8  # examples that a worker takes at a time
_GROUPS_AHEAD = 4  # for each worker

_Found = tuple[Place, Example | Rejected]


def make_rows(
    found: Iterable[_Found],
    spec: IndexSpec,
    mode: str,
    decoder: Decoder,
    cache: ProbeCache,
    *,
    workers: int,
    processes: bool,
) -> Generator[tuple[Place, Outcome], None, None]:
    """Place and outcome of each example found, in order; some are read ahead, never all.

    found: with its place, what a record was read as; what was rejected then stays so.
    workers: threads, or with `processes` processes. Close the iterator (or use it up) to end them.
    """
    pool: Executor
    if processes:
        # Spawned: the process that trains has threads and devices open, which do not fork.
        pool = ProcessPoolExecutor(
            workers,
            multiprocessing.get_context("spawn"),
            initializer=_start_process,
            initargs=(spec, mode, decoder, cache.path),
        )
        work = _outcomes_here
    else:
        pool = ThreadPoolExecutor(workers)
        work = functools.partial(_outcomes, RowMaker(spec, mode, decoder, cache))
    found = iter(found)
    waiting: collections.deque[tuple[list[_Found], Future[list[Outcome]]]] = collections.deque()
    try:
        while True:
            while len(waiting) < _GROUPS_AHEAD * workers:
                if not (group := list(itertools.islice(found, _GROUP))):
                    break
                waiting.append((group, pool.submit(work, [item for _, item in group])))
            if not waiting:
                return
            group, future = waiting.popleft()
            for (place, _), outcome in zip(group, future.result(), strict=True):
                yield place, outcome
    finally:
        pool.shutdown(cancel_futures=True)


def _outcomes(make_row: RowMaker, group: Sequence[Example | Rejected]) -> list[Outcome]:
    return [Outcome(item, []) if isinstance(item, Rejected) else make_row(item) for item in group]


# --- In a process of the pool -------------------------------------------------------------------

_make_row: RowMaker  # since `_start_process`


def _start_process(spec: IndexSpec, mode: str, decoder: Decoder, cache_path: str) -> None:
    global _make_row
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _make_row = RowMaker(spec, mode, decoder, ProbeCache(cache_path))


def _end_with_parent() -> None:
    """A process of the pool would wait for ever for a parent that was killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None, "this is a process of a pool"
    parent.join()
    os._exit(1)


def _outcomes_here(group: Sequence[Example | Rejected]) -> list[Outcome]:
    return _outcomes(_make_row, group)
