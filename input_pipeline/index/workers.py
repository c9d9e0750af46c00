"""Makes rows of an index in parallel, in threads or in processes, and gives them in order."""

import collections
import functools
import itertools
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from input_pipeline.annotations import Place, Rejected
from input_pipeline.examples import Example
from input_pipeline.index.probe_cache import ProbeCache
from input_pipeline.index.rows import IndexSpec, Outcome, RowMaker
from input_pipeline.index.texts import Text
from input_pipeline.media import Decoder
from input_pipeline.media.workers.pool import WorkerCrash, WorkerPool

_GROUP = 8  # examples that a worker takes at a time
_GROUP_OF_TEXTS = 64  # likewise where nothing is to be read, tokenised or, mostly, looked into
_GROUPS_AHEAD = 4  # for each worker

_Item = Example | Text | Rejected
_Found = tuple[Place, _Item]


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

    found: with its place, what a record was read as, now or before; what was rejected then stays
    so.
    workers: threads, or with `processes` processes. Close the iterator (or use it up) to end them.
    """
    others = None
    if processes:
        # The threads then wait for a process each, which may be killed without harm to the others.
        start = functools.partial(_start_process, spec, mode, decoder, cache.path)
        others = WorkerPool(workers, None, start)
        work = functools.partial(_outcomes_elsewhere, others)
    else:
        work = functools.partial(_outcomes, RowMaker(spec, mode, decoder, cache))
    pool = ThreadPoolExecutor(workers)
    groups = _grouped(found)
    waiting: collections.deque[tuple[list[_Found], Future[list[Outcome]]]] = collections.deque()
    try:
        while True:
            while len(waiting) < _GROUPS_AHEAD * workers:
                if not (group := next(groups, None)):
                    break
                waiting.append((group, pool.submit(work, [item for _, item in group])))
            if not waiting:
                return
            group, future = waiting.popleft()
            for (place, _), outcome in zip(group, future.result(), strict=True):
                yield place, outcome
    finally:
        pool.shutdown(cancel_futures=True)
        if others:
            others.close()


def _grouped(found: Iterable[_Found]) -> Iterator[list[_Found]]:
    """What a worker takes at a time, in order."""
    found = iter(found)
    for first in found:
        size = _GROUP_OF_TEXTS if isinstance(first[1], Text) else _GROUP
        yield [first, *itertools.islice(found, size - 1)]


def _outcomes(make_row: RowMaker, group: Sequence[_Item]) -> list[Outcome]:
    return [
        Outcome(item, [], None) if isinstance(item, Rejected) else make_row(item) for item in group
    ]


def _outcomes_elsewhere(pool: WorkerPool, group: Sequence[_Item]) -> list[Outcome]:
    """In a process. One that ends twice over a group is given its examples one by one."""
    try:
        return pool.run(_outcomes_here, group)
    except WorkerCrash as error:
        if len(group) > 1:
            return [each for item in group for each in _outcomes_elsewhere(pool, [item])]
        (item,) = group
        assert not isinstance(item, Rejected), "nothing is done for it"
        text = item if isinstance(item, Text) else None
        example = Example.from_json(item.example) if isinstance(item, Text) else item
        reason = "killed" if error.killed else "crashed"
        return [Outcome(Rejected(None, example.id, reason, str(error), stage="probe"), [], text)]


# --- In a process of the pool -------------------------------------------------------------------

_make_row: RowMaker  # since `_start_process`


def _start_process(spec: IndexSpec, mode: str, decoder: Decoder, cache_path: str) -> None:
    global _make_row
    _make_row = RowMaker(spec, mode, decoder, ProbeCache(cache_path))


def _outcomes_here(group: Sequence[_Item]) -> list[Outcome]:
    return _outcomes(_make_row, group)
