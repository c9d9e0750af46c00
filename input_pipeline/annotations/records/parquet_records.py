"""Records of a Parquet file, read by row groups; media bytes stay in the file.

Hugging Face data sets keep media as {"bytes", "path"}, whose bytes are most of the file. Where the
statistics of a row group say that every row has them they are not read at all. In the records a
reference (`reference.InRecord`) stands in their place.
"""

import functools
import hashlib
import math
import os
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from input_pipeline.annotations.records.opening import open_binary
from input_pipeline.annotations.records.reference import make_reference
from input_pipeline.annotations.rejected import AnnotationError
from input_pipeline.paths import is_remote

_BATCH_ROWS = 256
# Of columns that rows were taken from last, and of files; each decoder process has its own.
_CACHED_BYTES, _CACHED_FILES = 128 * 2**20, 4


def read(path: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """(row from 1, record) for each row. Raises AnnotationError."""
    try:
        with _open(path) as file:
            row = 0
            for group in range(file.num_row_groups):
                skipped = _full_byte_columns(file, group)
                leaves = [leaf for leaf in _leaves(file) if leaf not in skipped]
                for batch in file.iter_batches(_BATCH_ROWS, row_groups=[group], columns=leaves):
                    for values in batch.to_pylist():
                        yield row + 1, _restored(values, file.schema_arrow, path, row, skipped)
                        row += 1
    except pa.ArrowException as error:
        raise AnnotationError(f"annotation file {path} is not usable Parquet: {error}") from error


def count(path: str) -> int:
    """The number of rows. Raises AnnotationError."""
    try:
        with _open(path) as file:
            return file.metadata.num_rows
    except pa.ArrowException as error:
        raise AnnotationError(f"annotation file {path} is not usable Parquet: {error}") from error


def fingerprint(path: str) -> str:
    """A hash of place, size, time of change and footer: media inside are referred to by the place,
    the footer holds sizes and statistics of all columns, and hashing terabytes of media would take
    longer than probing them."""
    stamp = path.encode()
    if not is_remote(path):
        status = os.stat(path)
        stamp = f"{os.path.abspath(path)} {status.st_size} {status.st_mtime_ns}".encode()
    with open_binary(path) as file:
        size = file.seek(-8, os.SEEK_END) + 8
        footer = min(int.from_bytes(file.read(4), "little") + 8, size)
        file.seek(-footer, os.SEEK_END)
        return hashlib.sha256(stamp + file.read()).hexdigest()


def unit(path: str) -> str:
    """What one record is called."""
    return "row"


def read_bytes(path: str, row: int, column: tuple[str, ...]) -> bytes:
    """The bytes under `column` of row `row` (from 0).

    A row group can only be decoded from its beginning, so small row groups make this fast; the
    columns used last are kept.

    Raises OSError where the file cannot be read, LookupError where it has no such row or value.
    """
    try:
        return _reader(path).read_bytes(row, column)
    except pa.ArrowException as error:
        raise OSError(f"{path}: {error}") from error


def _open(path: str) -> pq.ParquetFile:
    return pq.ParquetFile(open_binary(path) if is_remote(path) else path, memory_map=True)


def _leaves(file: pq.ParquetFile) -> list[str]:
    return [file.schema.column(i).path for i in range(len(file.schema))]


def _full_byte_columns(file: pq.ParquetFile, group: int) -> frozenset[str]:
    """Leaves of bytes of which a row group has a value in every row.

    Lists are left out: their lengths are known only from their values.
    """
    full = set()
    columns = file.metadata.row_group(group)
    for i in range(columns.num_columns):
        column, leaf = columns.column(i), file.schema.column(i)
        is_bytes = leaf.physical_type == "BYTE_ARRAY" and leaf.logical_type.type == "NONE"
        statistics = column.statistics
        known = statistics is not None and statistics.has_null_count
        if is_bytes and leaf.max_repetition_level == 0 and known and not statistics.null_count:
            full.add(leaf.path)
    return frozenset(full)


def _restored(
    values: Mapping[str, Any], schema: pa.Schema, path: str, row: int, skipped: frozenset[str]
) -> dict[str, Any]:
    """A row with references for its bytes, those that were not read included."""

    def restored(value: Any, kind: pa.DataType, place: tuple[str, ...]) -> Any:
        if ".".join(place) in skipped:
            return make_reference(path, row, place)
        if pa.types.is_struct(kind):
            fields = [kind.field(i) for i in range(kind.num_fields)]
            bytes_skipped = any(".".join((*place, field.name)) in skipped for field in fields)
            if value is None and not bytes_skipped:
                return None
            value = value or {}
            return {f.name: restored(value.get(f.name), f.type, (*place, f.name)) for f in fields}
        if value is None:
            return None
        if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
            return make_reference(path, row, place)
        if isinstance(value, list) and not pa.types.is_map(kind):
            return [restored(v, kind.value_type, (*place, str(i))) for i, v in enumerate(value)]
        if isinstance(value, float) and math.isnan(value):
            return None  # pandas writes a missing number so
        return value if isinstance(value, bool | int | float | str) else str(value)

    return {
        field.name: restored(values.get(field.name), field.type, (field.name,)) for field in schema
    }


class _Reader:
    """Random access to byte columns; safe to share by threads."""

    def __init__(self, path: str):
        self._path = path
        self._file = _open(path)
        metadata = self._file.metadata
        self._ends: list[int] = []
        for group in range(metadata.num_row_groups):
            self._ends.append((self._ends or [0])[-1] + metadata.row_group(group).num_rows)
        self._columns: dict[tuple[int, str], pa.ChunkedArray] = {}
        self._lock = threading.Lock()

    def read_bytes(self, row: int, column: tuple[str, ...]) -> bytes:
        if not 0 <= row < (self._ends or [0])[-1]:
            raise LookupError(f"{self._path} has no row {row} (from 0)")
        group = next(g for g, end in enumerate(self._ends) if row < end)
        names = next((column[:i] for i, name in enumerate(column) if name.isdigit()), column)
        start = self._ends[group - 1] if group else 0
        value = self._column(group, ".".join(names))[row - start].as_py()
        for name in column[1:]:
            value = _step(value, name)
        if not isinstance(value, bytes):
            raise LookupError(f"{self._path}, row {row}: no bytes under {'/'.join(column)!r}")
        return value

    def _column(self, group: int, leaf: str) -> pa.ChunkedArray:
        with self._lock:
            key = (group, leaf)
            if key in self._columns:
                self._columns[key] = self._columns.pop(key)  # now the one used last
                return self._columns[key]
            table = self._file.read_row_group(group, columns=[leaf])
            if not table.num_columns:
                raise LookupError(f"{self._path} has no column {leaf!r}")
            self._columns[key] = table.column(0)
            while len(self._columns) > 1 and self._size() > _CACHED_BYTES:
                del self._columns[next(iter(self._columns))]
            return table.column(0)

    def _size(self) -> int:
        return sum(column.nbytes for column in self._columns.values())


def _step(value: Any, name: str) -> Any:
    if isinstance(value, list):
        return value[int(name)] if name.isdigit() and int(name) < len(value) else None
    return value.get(name) if isinstance(value, dict) else None


_reader = functools.lru_cache(maxsize=_CACHED_FILES)(_Reader)
