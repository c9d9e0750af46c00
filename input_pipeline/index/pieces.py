"""Makes the rows of an index in pieces that outlive a killed process.

A piece holds the rows and the rejections of `chunk_records` neighbouring records:

    <name>.pieces/000012.arrow              rows
    <name>.pieces/000012.quarantine.jsonl   what was left out, written first

Both are written whole or not at all, so a piece with its .arrow file is done. A restart reads the
annotations again, which is quick, and works only on records of unfinished pieces.
"""

import contextlib
import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from absl import logging

from input_pipeline.annotations import (
    Notes,
    Place,
    Rejected,
    count_records,
    read_with_places,
)
from input_pipeline.examples import Example
from input_pipeline.files import write_atomically
from input_pipeline.index.probe_cache import Measured, Probe, ProbeCache, remove_damaged
from input_pipeline.index.quarantine import (
    BadFraction,
    QuarantineEntry,
    quarantine_of,
    read_quarantine,
)
from input_pipeline.index.rows import IndexSpec
from input_pipeline.index.store import check_rows, count_rows, write_rows
from input_pipeline.index.texts import Text, Texts, lasting
from input_pipeline.index.workers import make_rows
from input_pipeline.media import Decoder
from input_pipeline.progress import Progress

CHUNK_RECORDS = 4096
_KEEP_PROBES = 256  # at most so many new ones are lost when the process is killed


@dataclasses.dataclass(frozen=True)
class DatasetSpec:
    """One data set to prepare.

    annotations, media_root, format, columns: see `read_annotations`. mode: "train" keeps the
    answer, "prompt" leaves it out.
    """

    name: str
    annotations: str
    media_root: str
    mode: str = "train"
    format: str = ""
    columns: Mapping[str, Any] = dataclasses.field(default_factory=dict)


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
    texts: Texts,
) -> tuple[list[Path], list[str]]:
    """Writes the pieces that are missing. Returns all of them, in order, and what stood out in the
    annotations, a line each.

    workers: threads, or processes, that work on examples. bad: counts what cannot be used. texts:
    are used in place of the annotations where they are whole, else written.

    Raises AnnotationError and TooManyBad; pieces that were done stay.
    """
    folder.mkdir(parents=True, exist_ok=True)
    counts = {int(path.stem): _counts_if_whole(path) for path in folder.glob("*.arrow")}
    done = {chunk for chunk, bad_and_seen in counts.items() if bad_and_seen}
    total = texts.records if texts.whole else count_records(dataset.annotations)
    bad.expect(total)
    for bad_and_seen in filter(None, counts.values()):
        bad.add(*bad_and_seen)
    skipped = sum(max(min(chunk_records, total - chunk * chunk_records), 0) for chunk in done)
    notes = Notes()
    found: Iterable[tuple[Place, Example | Text | Rejected]] = (
        texts
        if texts.whole
        else read_with_places(
            *(dataset.annotations, dataset.media_root, dataset.name, dataset.format),
            *(notes, dataset.columns),
        )
    )
    todo = (item for item in found if item[0].number // chunk_records not in done)
    piece = _Piece(folder, dataset, bad, texts)
    fresh: list[Probe | Measured] = []
    remove_damaged(probe_cache)
    with (
        ProbeCache(probe_cache) as cache,
        Progress(f"prepare {dataset.name}", total=total - skipped, unit="records") as progress,
        contextlib.closing(
            make_rows(
                todo, spec, dataset.mode, decoder, cache, workers=workers, processes=processes
            )
        ) as rows,
    ):
        before = None
        for place, (row, found_out, text) in rows:
            fresh += found_out
            if len(fresh) >= _KEEP_PROBES:
                cache.put(fresh)
                fresh = []
            piece.add(place.number // chunk_records, row, place, text)
            if place != before:  # a record may hold several examples
                progress.advance()
            before = place
        cache.put(fresh)
        piece.finish()
    pieces = sorted(folder.glob("*.arrow"))
    if texts.whole:
        return pieces, texts.notes
    said = list(notes.lines())
    texts.finish([path.name for path in pieces], said, total)
    return pieces, said


class _Piece:
    """Collects the rows of one piece after another and writes each when it is complete."""

    def __init__(self, folder: Path, dataset: DatasetSpec, bad: BadFraction, texts: Texts):
        self._folder, self._dataset, self._bad, self._texts = folder, dataset, bad, texts
        self._chunk: int | None = None
        self._rows: list[dict[str, Any]] = []
        self._left_out: list[QuarantineEntry] = []
        self._read: list[tuple[Place, Text | Rejected | None]] = []

    def add(
        self, chunk: int, row: dict[str, Any] | Rejected, place: Place, text: Text | None
    ) -> None:
        if chunk != self._chunk:
            self.finish()
            self._chunk = chunk
        if isinstance(row, Rejected):
            self._left_out.append(_entry(self._dataset, row, place))
        else:
            self._rows.append(row)
        self._read.append((place, lasting(text, row)))

    def finish(self) -> None:
        if self._chunk is None:
            return
        path = self._folder / f"{self._chunk:06d}.arrow"
        if not self._texts.whole:
            self._texts.write(path.name, self._read)
        write_atomically(quarantine_of(path), b"".join(entry.line() for entry in self._left_out))
        write_rows(path, self._rows)
        self._bad.add(*_bad_and_seen(path))
        self._chunk, self._rows, self._left_out, self._read = None, [], [], []


def _counts_if_whole(path: Path) -> tuple[int, int] | None:
    """`_bad_and_seen` of a piece that an earlier process made; None for one that is damaged."""
    try:
        check_rows(path)
        return _bad_and_seen(path)
    except (OSError, ValueError) as error:
        logging.warning("%s is damaged, so it is made again: %s", path, error)
        return None


def _bad_and_seen(path: Path) -> tuple[int, int]:
    """How many examples of a finished piece cannot be used, of how many. What is too long for a row
    is left out of this training, but is not bad."""
    reasons = [entry.reason for entry in read_quarantine(quarantine_of(path))]
    return len(reasons) - reasons.count("too_long"), len(reasons) + count_rows(path)


def _entry(dataset: DatasetSpec, rejected: Rejected, place: Place) -> QuarantineEntry:
    return QuarantineEntry(
        source=dataset.name,
        id=rejected.id or f"record {rejected.record}",
        path=rejected.path or dataset.annotations,
        stage=rejected.stage,
        reason=rejected.reason,
        detail=rejected.detail,
        record=place.where,
    )
