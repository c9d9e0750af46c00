"""The files of a benchmark as its publisher ships them: tables, and media in whatever they lie."""

import base64
import binascii
import csv
import functools
import hashlib
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from evaluation.benchmarks.media_files import MediaFiles
from evaluation.benchmarks.question import BenchmarkError, Medium
from input_pipeline.annotations import AnnotationError, read_records
from input_pipeline.files import write_atomically
from input_pipeline.media import MediaError, is_frame_folder, read_source

_SHARD = re.compile(r"(.*)-(\d{5})-of-(\d{5})(.*)")
MAX_TEXT_BYTES = 64 * 2**20
_TABLE_ENDINGS = (".parquet", ".json", ".jsonl", ".tsv")


class Source:
    """A benchmark's folders, any of which may hold part of it.

    title: of the benchmark. remedy: what to do where something is missing. kept: a folder for what
    has to be unpacked, base64 pictures alone.
    """

    def __init__(self, title: str, remedy: str, folders: Sequence[Path], kept: Path):
        self.folders = tuple(folders)
        self.tables: list[str] = []  # those that were read
        self.left_out: dict[str, int] = {}
        self.reading = ""  # the record that was read last
        self.texts = 0  # files beside the videos that were there
        self._title, self._remedy, self._kept = title, remedy, kept

    def fail(self, what: str) -> BenchmarkError:
        """The error for what is missing or wrong, with where it was looked for and the remedy."""
        where = ", ".join(map(str, self.folders))
        return BenchmarkError(f"{self._title}: {what}\nlooked in {where}\n{self._remedy}")

    def leave_out(self, why: str, count: int) -> None:
        """Says that a part of the set is not asked, which goes on the log and to what is kept."""
        self.left_out[why] = count

    # ── Tables. ─────────────────────────────────────────────────────────────────────────────────

    def rows(self, *patterns: str) -> Iterator[dict[str, Any]]:
        """Records of the tables that the first of the patterns to match any stands for: Parquet,
        JSON, JSONL, or TSV with a line of names. Bytes are references into the file.

        Raises BenchmarkError where there is none, a shard of several is missing or a table cannot
        be read; and, when a column is used that is not there, naming those that are.
        """
        for path in self._tables(patterns):
            self.tables.append(path)
            try:
                for where, values in _records(path):
                    if not isinstance(values, dict):
                        raise self.fail(f"{where} is no record of it")
                    self.reading = where
                    yield _Row(values, self)
            except AnnotationError as error:
                raise self.fail(str(error)) from error

    def has(self, pattern: str) -> bool:
        """Whether there is such a table."""
        return any(True for folder in self.folders for _ in folder.glob(pattern))

    def one(self, *patterns: str) -> Path:
        """The single file that the first matching pattern stands for."""
        path = self._tables(patterns)[0]
        self.tables.append(path)
        return Path(path)

    def _tables(self, patterns: Sequence[str]) -> list[str]:
        for pattern in patterns:
            for folder in self.folders:
                found = sorted(str(p) for p in folder.glob(pattern) if is_table(p))
                if found:
                    self._check_shards(found)
                    return found
        raise self.fail(f"there is no {' or '.join(patterns)}")

    def _check_shards(self, paths: Sequence[str]) -> None:
        for path in paths:
            if shard := _SHARD.fullmatch(path):
                for i in range(int(shard[3])):
                    other = f"{shard[1]}-{i:05}-of-{shard[3]}"
                    if not any(p.startswith(other) for p in paths):
                        raise self.fail(f"{os.path.basename(other)}… is missing")

    # ── Media. ──────────────────────────────────────────────────────────────────────────────────

    @functools.cached_property
    def media(self) -> MediaFiles:
        """Every file below the folders and in the archives there."""
        return MediaFiles(self.folders, self.fail)

    def image(self, value: Any, name: str) -> Medium:
        """A picture of a record: {"bytes", "path"}, bytes, or base64, which is written to a file of
        its own once. name: for people."""
        if isinstance(value, Mapping):
            value = value.get("bytes")
        if isinstance(value, str) and not value.startswith("record:"):
            value = self._written(value, name)
        return Medium("image", name, value or None)

    def video(
        self,
        name: str,
        *within: str,
        clip: Sequence[float | None] = (None, None),
        fps: float | None = None,
    ) -> Medium:
        """A video by the name that the official files have, with or without an ending.

        within: folders that it may lie in, the better ones first; none: any. clip: (start, end) in
        seconds. fps: of its frames, where it may be a folder of them.
        """
        path = next((p for w in within or ("",) if (p := self.media.video(name, w))), None)
        if path and fps and is_frame_folder(path):
            path = f"{path}?fps={fps:g}"
        return Medium("video", name, path, *clip)

    def text(self, name: str) -> str:
        """What a file beside the videos says, such as subtitles; "" where there is none.

        Raises BenchmarkError where it cannot be read.
        """
        path = self.media.text(name)
        if path is None:
            return ""
        self.texts += 1
        try:
            return read_source(path, MAX_TEXT_BYTES).decode("utf-8", "replace")
        except MediaError as error:
            raise self.fail(str(error)) from error

    def _written(self, text: str, name: str) -> str:
        digest = hashlib.sha256(text.encode()).hexdigest()[:24]
        path = self._kept / f"{digest}.jpg"  # what it is, its first bytes say
        if not path.is_file():
            try:
                data = base64.b64decode(text, validate=True)
            except (binascii.Error, ValueError) as error:
                raise self.fail(f"the picture of {name} is no base64: {error}") from error
            write_atomically(path, data)
        return str(path)


class _Row(dict[str, Any]):
    """A record that tells which columns it has instead."""

    def __init__(self, values: Mapping[str, Any], source: Source):
        super().__init__(values)
        self._source = source

    def __missing__(self, column: str) -> Any:
        raise self._source.fail(
            f"{self._source.reading} has no {column!r} but {', '.join(self)}: another version of "
            "the set, or another set?"
        )


def is_table(path: Path) -> bool:
    """Whether a file is one of those that questions stand in."""
    return path.is_file() and path.name.lower().endswith(_TABLE_ENDINGS)


def _records(path: str) -> Iterator[tuple[str, Any]]:
    """(where it stands, what it is) of each record."""
    if path.endswith(".tsv"):
        for number, row in enumerate(_tsv_rows(path)):
            yield f"{path}, row {number}", row
        return
    for record in read_records(path):
        yield record.where, record.value


def _tsv_rows(path: str) -> Iterator[dict[str, Any]]:
    """Rows of a tab-separated table of VLMEvalKit. A picture may be the index of the row that has
    it."""
    before = csv.field_size_limit(sys.maxsize)  # a picture is longer; it holds for all readers
    try:
        pictures: dict[str, str] = {}
        with open(path, encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file, delimiter="\t"):
                found: dict[str, Any] = dict(row)
                picture = found.get("image")
                if picture and len(picture) > 64:
                    pictures[str(found.get("index"))] = picture
                elif picture:
                    found["image"] = pictures.get(picture)
                yield found
    finally:
        csv.field_size_limit(before)
