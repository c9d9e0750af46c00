"""References to bytes inside a record: "record:<path>#<row>/<column>".

path: a Parquet file, or "<TFDS folder>/<split>". row: from 0. column: the field that holds the
bytes, with "/" between the names and list places on the way to it: "image/bytes", "images/1/bytes".
"""

import re
from typing import NamedTuple
from urllib.parse import quote, unquote

_PREFIX = "record:"
_REFERENCE = re.compile(r"record:(.+)#(\d+)/(.+)", re.DOTALL)


class InRecord(str):
    """A reference that stands in a record where its bytes were."""


class Reference(NamedTuple):
    """The pieces of a reference; `column` is the way to the bytes from the record's top."""

    path: str
    row: int
    column: tuple[str, ...]


def make_reference(path: str, row: int, column: tuple[str, ...]) -> InRecord:
    """The reference to the bytes under `column` of row `row` (from 0)."""
    return InRecord(f"{_PREFIX}{path}#{row}/{'/'.join(quote(name, safe=' ') for name in column)}")


def is_record(path: str) -> bool:
    """Whether a medium's path refers to bytes inside a record."""
    return path.startswith(_PREFIX)


def parse_reference(reference: str) -> Reference:
    """Inverse of `make_reference`. Raises ValueError for anything else."""
    match = _REFERENCE.fullmatch(reference)
    if not match:
        raise ValueError(
            f'{reference!r} is not a record reference: wanted "record:<path>#<row>/<column>"'
        )
    path, row, column = match.groups()
    return Reference(path, int(row), tuple(unquote(name) for name in column.split("/")))


def record_file(reference: str) -> str:
    """The file or folder that a reference leads into."""
    return parse_reference(reference).path
