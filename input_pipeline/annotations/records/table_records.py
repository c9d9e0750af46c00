"""Records of CSV and TSV files: the first row names the columns.

A cell that is a number as JSON writes it becomes one, and only where it is written back the same:
"007" and "1.50" stay text. An empty cell is a missing value.
"""

import contextlib
import csv
import re
from collections.abc import Iterator
from typing import Any

from input_pipeline.annotations.records.json_records import MAX_RECORD_BYTES, fingerprint
from input_pipeline.annotations.records.opening import open_text
from input_pipeline.annotations.rejected import AnnotationError, Rejected

__all__ = ["count", "fingerprint", "is_table", "read", "unit"]

_NAME = re.compile(r".+\.(?:csv|tsv)(?:\.gz)?", re.IGNORECASE | re.DOTALL)
_NUMBER = re.compile(r"-?(?:0|[1-9]\d{0,17})(?:\.\d+)?")
_DELIMITERS = "\t,;|"


def is_table(path: str) -> bool:
    """Whether a file is a table, which its name alone tells."""
    return _NAME.fullmatch(path) is not None


def read(path: str) -> Iterator[tuple[int, Any]]:
    """(row from 1, record or Rejected) for each row below the names. Raises AnnotationError."""
    rows = _rows(path)
    names = next(rows, None)
    if not names or not all(name.strip() for name in names):
        raise AnnotationError(
            f"annotation file {path}: its first row must name the columns, found {names!r:.200}"
        )
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise AnnotationError(f"annotation file {path} names the column {twice!r} twice")
    for number, cells in enumerate(rows, start=1):
        if len(cells) != len(names):
            detail = f"{path}, row {number}: {len(cells)} cells for {len(names)} columns"
            yield number, Rejected(number, "", "bad_record", detail, path)
        else:
            yield number, dict(zip(names, map(_value, cells), strict=True))


def count(path: str) -> int:
    """The number of rows below the names. Raises AnnotationError."""
    return max(sum(1 for _ in _rows(path)) - 1, 0)


def unit(path: str) -> str:
    """What one record is called: a row, which may have several lines."""
    return "row"


def _rows(path: str) -> Iterator[list[str]]:
    """The rows that are not blank."""
    with _large_cells(), open_text(path, "utf-8-sig", newline="") as file:
        try:
            head = file.readline()
            if not head.strip():
                raise AnnotationError(f"annotation file {path} has no names of columns in line 1")
            delimiter = max(_DELIMITERS, key=head.count)
            file.seek(0)
            yield from filter(None, csv.reader(file, delimiter=delimiter))
        except (csv.Error, UnicodeDecodeError) as error:
            raise AnnotationError(f"annotation file {path} is no usable table: {error}") from error


@contextlib.contextmanager
def _large_cells() -> Iterator[None]:
    """A conversation in a cell is longer than Python's own bound, which holds for all readers."""
    before = csv.field_size_limit(MAX_RECORD_BYTES)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _value(cell: str) -> Any:
    if not cell:
        return None
    if not _NUMBER.fullmatch(cell):
        return cell
    number = float(cell) if "." in cell else int(cell)
    return number if str(number) == cell else cell
