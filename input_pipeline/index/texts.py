"""What a data set's annotations were read as, kept from one preparation to the next.

Another frame budget or resolution changes neither the examples nor, in most families, the number
of their tokens: reading and tokenising are not done again for it. In pieces, as the index itself is
made (see `pieces`):

    <name>-<mode>-<digest>.texts/000012.arrow   of the records in one piece, in order
    <name>-<mode>-<digest>.texts/whole.json     written last: what stood out, and checksums
"""

import dataclasses
import json
import shutil
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
from absl import logging

from input_pipeline.annotations import Place, Rejected
from input_pipeline.files import checksum, write_atomically
from input_pipeline.index.store import read_batches, write_batches

SCHEMA = pa.schema(
    {
        "number": pa.int64(),  # of the record, see `Place`
        "where": pa.string(),
        "example": pa.string(),  # JSON, or null
        "tokens": pa.int64(),  # see `Text`
        "measured": pa.string(),
        "rejected": pa.string(),  # JSON of what could not be read, or null
    }
)
_WHOLE = "whole.json"
# In a path: what reading makes of it follows the files that are there, see `annotations.endings`.
_BY_FILES = (".*", "?fps=")


class Text(NamedTuple):
    """An example as JSON. tokens: of its text, a medium being one placeholder; None where that is
    not known, or depends on how media are laid out. measured: what frame policies found out about
    its words, JSON, see `BudgetQuery.of_words`."""

    example: str
    tokens: int | None
    measured: str = "{}"


Found = tuple[Place, Text | Rejected]


def _reads_by_files(text: str) -> bool:
    """Whether something is read otherwise when there are other files. text: JSON of it."""
    return any(mark in text for mark in _BY_FILES)


def lasting(text: Text | None, row: Mapping[str, Any] | Rejected) -> Text | Rejected | None:
    """What is to be kept of an example that became this row or was left out; None where it is to
    be read again."""
    if not isinstance(row, Rejected):
        return text
    if row.stage == "read":
        return row
    # Its file may come, and be found to be another one.
    return None if text is None or _reads_by_files(text.example) else text


class Texts:
    """The texts of a data set in a folder, to be written by anybody who reads all annotations.

    Two processes may write at a time, for what they write is the same. What is damaged or not
    finished counts as not there.
    """

    def __init__(self, folder: Path, columns: Mapping[str, Any]):
        """columns: the data set's column map."""
        self._folder = folder
        self._lasts = not _reads_by_files(json.dumps(dict(columns)))
        self._state = self._read_state()

    @property
    def whole(self) -> bool:
        """Whether all of them are there."""
        return bool(self._state)

    @property
    def notes(self) -> list[str]:
        """What stood out in the annotations."""
        return self._state["notes"]

    @property
    def records(self) -> int:
        """How many records the annotations have, as `count_records` says."""
        return self._state["records"]

    def __iter__(self) -> Iterator[Found]:
        """All of them, in order."""
        for name in self._state["files"]:
            for batch in read_batches(self._folder / name):
                yield from map(_found, *(column.to_pylist() for column in batch.columns))

    def write(self, piece: str, found: Sequence[tuple[Place, Text | Rejected | None]]) -> None:
        """Keeps the texts of the piece of the index with this file name, if all are `lasting`."""
        rows = [_row(place, text) for place, text in found if text is not None]
        if self._lasts and len(rows) == len(found):
            table = pa.Table.from_pylist(rows, SCHEMA)
            write_batches(self._folder / piece, SCHEMA, table.to_batches())

    def finish(self, pieces: Sequence[str], notes: Sequence[str], records: int) -> None:
        """Says that they are all there, unless some piece is missing: then none is kept."""
        if not all((self._folder / piece).is_file() for piece in pieces):
            self.remove()
            return
        files = {piece: checksum(self._folder / piece) for piece in pieces}
        state = json.dumps({"files": files, "notes": list(notes), "records": records})
        written = {"state": state, "crc32": zlib.crc32(state.encode())}
        write_atomically(self._folder / _WHOLE, json.dumps(written))

    def remove(self) -> None:
        """Keeps nothing."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _read_state(self) -> dict[str, Any]:
        path = self._folder / _WHOLE
        if not path.exists():
            return {}
        try:
            written = json.loads(path.read_text(encoding="utf-8"))
            if zlib.crc32(written["state"].encode()) != written["crc32"]:
                raise ValueError("it does not hold the bytes that were written")
            state = json.loads(written["state"])
            for name, written in state["files"].items():
                if list(checksum(self._folder / name)) != written:
                    raise ValueError(f"{name} does not hold the bytes that were written")
            return state
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            logging.warning("%s is damaged, so annotations are read again: %s", path, error)
            self.remove()
            return {}


def _row(place: Place, text: Text | Rejected) -> dict[str, Any]:
    row = place._asdict()
    if isinstance(text, Rejected):
        return row | {"rejected": json.dumps(dataclasses.asdict(text))}
    return row | text._asdict()


def _found(
    number: int, where: str, example: str, tokens: int | None, measured: str, rejected: str | None
) -> Found:
    if rejected is not None:
        return Place(number, where), Rejected(**json.loads(rejected))
    return Place(number, where), Text(example, tokens, measured)
