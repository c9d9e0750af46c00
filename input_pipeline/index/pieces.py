"""Makes the rows of an index in parallel, in pieces that outlive a killed process.

A piece holds the rows and the rejections of `chunk_records` neighbouring records:

    <name>.pieces/000012.arrow              rows
    <name>.pieces/000012.quarantine.jsonl   what was left out, written first

Both are written whole or not at all, so a piece with its .arrow file is done. A restart reads the
annotations again, which is quick, and works only on records of unfinished pieces.
"""

import collections
import dataclasses
import itertools
import json
import multiprocessing
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from input_pipeline.annotations import Rejected, count_records, read_with_places
from input_pipeline.examples import Example
from input_pipeline.index.probe_cache import ProbeCache
from input_pipeline.index.quarantine import BadFraction, QuarantineEntry, read_quarantine
from input_pipeline.index.rows import IndexSpec, Outcome, RowMaker
from input_pipeline.index.store import count_rows, write_atomically, write_rows
from input_pipeline.media import Decoder
from input_pipeline.progress import Progress

CHUNK_RECORDS = 4096
_GROUP = 8  # examples that a worker takes at a time
_KEEP_PROBES = 256  # at most so many new ones are lost when the process is killed

_Found = tuple[int, Example | Rejected]  # place of the record, what it was read as


@dataclasses.dataclass(frozen=True)
class DatasetSpec:
    """One data set to prepare.

    annotations, media_root, format: see `read_annotations`. mode: "train" keeps the answer,
    "prompt" leaves it out.
    """

    name: str
    annotations: str
    media_root: str
    mode: str = "train"
    format: str = ""


def build_pieces(
    dataset: DatasetSpec,
    spec: IndexSpec,
    folder: Path,
    *,
    workers: int,
    processes: bool,
    decoder: Decoder,
    probe_cache: Path,
    chunk_records: int,
    bad: BadFraction,
) -> list[Path]:
    """Writes the pieces that are missing and returns all of them, in order.

    workers: threads, or processes, that work on examples. bad: counts what cannot be used.

    Raises AnnotationError and TooManyBad; pieces that were done stay.
    """
    folder.mkdir(parents=True, exist_ok=True)
    done = {int(path.stem) for path in folder.glob("*.arrow")}
    total = count_records(dataset.annotations)
    bad.expect(total)
    for path in folder.glob("*.arrow"):
        bad.add(*_bad_and_seen(path))
    skipped = sum(max(min(chunk_records, total - chunk * chunk_records), 0) for chunk in done)
    found = read_with_places(dataset.annotations, dataset.media_root, dataset.name, dataset.format)
    todo = (item for item in found if item[0] // chunk_records not in done)
    piece = _Piece(folder, dataset, bad)
    fresh = []
    with (
        ProbeCache(probe_cache) as cache,
        Progress(f"prepare {dataset.name}", total=total - skipped, unit="records") as progress,
        _Workers(spec, dataset.mode, decoder, cache, probe_cache, workers, processes) as pool,
    ):
        before = None
        for place, (outcome, probes) in pool.outcomes(todo):
            fresh += probes
            if len(fresh) >= _KEEP_PROBES:
                cache.put(fresh)
                fresh = []
            piece.add(place // chunk_records, outcome)
            if place != before:  # a record may hold several examples
                progress.advance()
            before = place
        cache.put(fresh)
        piece.finish()
    return sorted(folder.glob("*.arrow"))


class _Piece:
    """Collects the outcomes of one piece after another and writes each when it is complete."""

    def __init__(self, folder: Path, dataset: DatasetSpec, bad: BadFraction):
        self._folder, self._dataset, self._bad = folder, dataset, bad
        self._chunk: int | None = None
        self._rows: list[dict[str, Any]] = []
        self._rejected: list[Rejected] = []

    def add(self, chunk: int, outcome: dict[str, Any] | Rejected) -> None:
        if chunk != self._chunk:
            self.finish()
            self._chunk = chunk
        (self._rejected if isinstance(outcome, Rejected) else self._rows).append(outcome)

    def finish(self) -> None:
        if self._chunk is None:
            return
        path = self._folder / f"{self._chunk:06d}.arrow"
        lines = [_line(self._dataset, rejected) for rejected in self._rejected]
        write_atomically(quarantine_of(path), lambda partial: partial.write_bytes(b"".join(lines)))
        write_rows(path, self._rows)
        self._bad.add(*_bad_and_seen(path))
        self._chunk, self._rows, self._rejected = None, [], []


def _bad_and_seen(path: Path) -> tuple[int, int]:
    """How many examples of a finished piece cannot be used, of how many. What is too long for a row
    is left out of this training, but is not bad."""
    reasons = [entry.reason for entry in read_quarantine(quarantine_of(path))]
    return len(reasons) - reasons.count("too_long"), len(reasons) + count_rows(path)


def quarantine_of(path: Path) -> Path:
    """The list of what was left out of an index or a piece of one."""
    return path.with_suffix(".quarantine.jsonl")


def join_quarantines(path: Path, pieces: Sequence[Path]) -> dict[str, int]:
    """Writes the quarantine of an index from those of its pieces; counts by reason."""
    counts = collections.Counter()

    def write(partial: Path) -> None:
        with open(partial, "wb") as file:
            for piece in pieces:
                for line in quarantine_of(piece).read_bytes().splitlines(keepends=True):
                    counts[json.loads(line)["reason"]] += 1
                    file.write(line)

    write_atomically(path, write)
    return dict(counts.most_common())


def _line(dataset: DatasetSpec, rejected: Rejected) -> bytes:
    entry = QuarantineEntry(
        source=dataset.name,
        id=rejected.id or f"record {rejected.record}",
        path=rejected.path or dataset.annotations,
        stage=rejected.stage,
        reason=rejected.reason,
        detail=rejected.detail,
    )
    return json.dumps(vars(entry)).encode("ascii") + b"\n"


# --- Workers ------------------------------------------------------------------------------------


class _Workers:
    """Threads or processes that make rows; a context manager."""

    def __init__(
        self,
        spec: IndexSpec,
        mode: str,
        decoder: Decoder,
        cache: ProbeCache,
        cache_path: Path,
        workers: int,
        processes: bool,
    ):
        self._ahead = 4 * workers
        self._pool: Executor
        if processes:
            # Spawned: the process that trains has threads and devices open, which do not fork.
            self._pool = ProcessPoolExecutor(
                workers,
                multiprocessing.get_context("spawn"),
                initializer=_start_worker,
                initargs=(spec, mode, decoder, cache_path),
            )
            self._work = _work
        else:
            self._pool = ThreadPoolExecutor(workers)
            self._work = _Grouped(RowMaker(spec, mode, decoder, cache))

    def outcomes(self, found: Iterable[_Found]) -> Iterator[tuple[int, Outcome]]:
        """Place and outcome of each, in order; some are read ahead, never all."""
        found = iter(found)
        waiting: collections.deque = collections.deque()
        while True:
            while len(waiting) < self._ahead and (group := list(itertools.islice(found, _GROUP))):
                waiting.append((group, self._pool.submit(self._work, [x for _, x in group])))
            if not waiting:
                return
            group, future = waiting.popleft()
            for (place, _), outcome in zip(group, future.result(), strict=True):
                yield place, outcome

    def __enter__(self) -> "_Workers":
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)


class _Grouped:
    """A row maker for several examples, some of which were rejected before."""

    def __init__(self, make_row: RowMaker):
        self._make_row = make_row

    def __call__(self, group: Sequence[Example | Rejected]) -> list[Outcome]:
        return [
            Outcome(item, []) if isinstance(item, Rejected) else self._make_row(item)
            for item in group
        ]


_worker: _Grouped | None = None  # of this process


def _start_worker(spec: IndexSpec, mode: str, decoder: Decoder, cache_path: Path) -> None:
    global _worker
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _worker = _Grouped(RowMaker(spec, mode, decoder, ProbeCache(cache_path)))


def _end_with_parent() -> None:
    """A worker would wait for ever for a parent that was killed."""
    multiprocessing.parent_process().join()
    os._exit(1)


def _work(group: Sequence[Example | Rejected]) -> list[Outcome]:
    return _worker(group)
