"""The list of examples and files that were left out, and why: one JSON object a line."""

import collections
import contextlib
import dataclasses
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from absl import logging

from input_pipeline.errors import UserError
from input_pipeline.files import append, replacing

A_HANDFUL = 10  # so many bad examples never stop a training


@dataclasses.dataclass(frozen=True)
class QuarantineEntry:
    """One thing left out.

    source: data set. id: example, or "" for a whole file. path: the media or annotation file.
    stage: where it was found, e.g. "read", "probe", "layout", "decode".
    reason: one word for counting. detail: for people. record: the annotation file and the place in
    it, where that is known.
    """

    source: str
    id: str
    path: str
    stage: str
    reason: str
    detail: str
    record: str = ""

    @property
    def key(self) -> tuple[str, ...]:
        """What makes two entries the same one; the detail may word it differently."""
        return (self.source, self.id, self.path, self.stage, self.reason)

    def line(self) -> bytes:
        """The entry as it stands in a file. Escaped to ASCII: file names may hold bytes that are
        not UTF-8."""
        return json.dumps(vars(self)).encode("ascii") + b"\n"


class TooManyBad(UserError, ValueError):
    """So much cannot be used that something is wrong with the data set or its storage."""


class QuarantineError(UserError):
    """The list of what was left out cannot be written."""


class BadFraction:
    """Watches what fraction of examples cannot be used.

    limit: `config.data.max_bad_fraction`. handful: so many are never too many.
    """

    def __init__(
        self, limit: float, quarantine_path: str | os.PathLike[str], *, handful: int = A_HANDFUL
    ):
        self._limit, self._path, self._handful = limit, os.fspath(quarantine_path), handful
        self._bad = self._seen = self._total = 0

    def expect(self, total: int) -> None:
        """So many examples will come: the fraction is of all of them, whichever come first."""
        self._total = total

    def add(self, bad: int, seen: int) -> None:
        """Counts `seen` more examples, `bad` of which cannot be used.

        Raises TooManyBad above the limit, but not for a handful of examples.
        """
        self._bad += bad
        self._seen += seen
        whole = max(self._seen, self._total)
        if self._bad > self._handful and self._bad > self._limit * whole:
            raise TooManyBad(
                f"{self._bad} of {whole} examples cannot be used, more than "
                f"config.data.max_bad_fraction = {self._limit}: {self._path} says why"
            )


class Quarantine:
    """Appends to a quarantine file; a context manager. One writer a file at a time.

    A line is one write, so a killed job loses at most the line it was writing. Opening an existing
    file goes on with it: its entries are not written again, a last line that was cut off is
    removed, and lines that are no entries stay, with a warning. A file without any entry is not
    appended to but set aside as "<name>.damaged".

    Raises QuarantineError where the file cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.path = os.fspath(path)
        self._known: set[tuple[str, ...]] = set()
        self._file = -1
        with self._writing():
            if os.path.exists(path):
                _drop_unfinished_line(path)
                self._go_on()
            self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def add(self, *, source: str, id: str, path: str, stage: str, reason: str, detail: str) -> None:
        """Records one thing left out, unless it is there already. Raises QuarantineError."""
        entry = QuarantineEntry(source, id, path, stage, reason, detail)
        if entry.key in self._known:
            return
        with self._writing():
            append(self._file, entry.line())
        self._known.add(entry.key)

    def _go_on(self) -> None:
        bad = []
        for number, entry in _entries(self.path):
            if isinstance(entry, QuarantineEntry):
                self._known.add(entry.key)
            else:
                bad.append(number)
        if bad and not self._known:
            logging.warning("%s holds no entry: it is kept as %s.damaged", self.path, self.path)
            os.replace(self.path, f"{self.path}.damaged")
        elif bad:
            logging.warning("%s: lines %s are no entries; it goes on after them", self.path, bad)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise QuarantineError(
                f"{self.path}, the list of what cannot be decoded, cannot be written: "
                f"{error.strerror or error}.\nMake room, or put it right, and start again"
            ) from error

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def __enter__(self) -> "Quarantine":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_quarantine(path: str | os.PathLike[str]) -> Iterator[QuarantineEntry]:
    """The entries of a quarantine file in order; a last line without its end is not one yet.

    Raises ValueError naming the line that is not an entry.
    """
    for number, entry in _entries(path):
        if not isinstance(entry, QuarantineEntry):
            raise ValueError(f"{path}, line {number} is not a quarantine entry: {entry}")
        yield entry


def _entries(
    path: str | os.PathLike[str],
) -> Iterator[tuple[int, QuarantineEntry | Exception]]:
    """The lines of a quarantine file by number, from 1: entries, or why a line is none."""
    with open(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                return
            try:
                yield number, QuarantineEntry(**json.loads(line))
            except (ValueError, TypeError) as error:
                yield number, error


def quarantine_of(path: Path) -> Path:
    """The list of what was left out of an index or a piece of one."""
    return path.with_suffix(".quarantine.jsonl")


def join_quarantines(path: Path, pieces: Sequence[Path]) -> dict[str, int]:
    """Writes the quarantine of the index at `path` from those of its pieces.

    Returns how many entries there are by reason, most frequent first.
    """
    counts: collections.Counter[str] = collections.Counter()
    with replacing(quarantine_of(path)) as partial, open(partial, "wb") as file:
        for piece in pieces:
            for entry in read_quarantine(quarantine_of(piece)):
                counts[entry.reason] += 1
                file.write(entry.line())
    return dict(counts.most_common())


def _drop_unfinished_line(path: str | os.PathLike[str]) -> None:
    with open(path, "rb+") as file:
        kept = 0
        for line in file:
            if line.endswith(b"\n"):
                kept += len(line)
        file.truncate(kept)
