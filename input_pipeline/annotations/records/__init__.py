"""Annotation files in, records out: JSON, JSONL, CSV, Parquet, tars and TFDS, one at a time.

A module for each kind of file has `read`, `count`, `fingerprint` and `unit`, what one record of a
file is called; which kind a file is of is told from its content, a table from its name.
Bytes inside records stay there: a reference stands in their place, and `read_record_bytes` follows
it.
"""

import functools
import glob
import os
import tarfile
from collections.abc import Iterator
from types import ModuleType
from typing import Any, NamedTuple

from input_pipeline.annotations.records import (
    json_records,
    table_records,
    tar_records,
    tfds_records,
)
from input_pipeline.annotations.records.opening import open_binary, whole
from input_pipeline.annotations.records.reference import (
    InRecord,
    is_record,
    parse_reference,
    record_file,
)
from input_pipeline.annotations.rejected import AnnotationError

__all__ = [
    "InRecord",
    "Record",
    "count_records",
    "fingerprint_records",
    "is_record",
    "read_record_bytes",
    "read_records",
    "record_file",
]

_IN_FOLDERS = ("*.parquet", "*.tar", "*.json*", "*.[ct]sv*")


class Record(NamedTuple):
    """One record. place: from 0 over all files; lines of JSONL count even where they are blank.
    file, unit, number: where it stands, "line" 7 of a file, from 1. value: parsed, or a
    Rejected."""

    place: int
    file: str
    unit: str
    number: int
    value: Any

    @property
    def where(self) -> str:
        """File and place in it, for people."""
        return f"{self.file}, {self.unit} {self.number}"


def annotation_files(annotations: str) -> list[str]:
    """The files that a path stands for: itself, those that a pattern with * matches, or those of a
    folder: its Parquet files, else tars, else JSON, else tables. Raises AnnotationError where
    there are none."""
    if "*" in annotations:
        files = sorted(glob.glob(annotations))
    elif os.path.isdir(annotations) and not tfds_records.is_tfds(annotations):
        found = (glob.glob(os.path.join(glob.escape(annotations), form)) for form in _IN_FOLDERS)
        files = sorted(next(filter(None, found), []))
    else:
        files = [annotations]
    if not files:
        raise AnnotationError(
            f"annotations {annotations}: no such Parquet or JSON files, tars or tables"
        )
    return files


def read_records(annotations: str) -> Iterator[Record]:
    """Every record of the files that `annotations` stands for, in order.

    Raises AnnotationError for a file that cannot be used as a whole.
    """
    first = 0
    for file in annotation_files(annotations):
        module, number = _module(file), 0
        unit = module.unit(file)
        with whole(file):
            for number, value in module.read(file):
                yield Record(first + number - 1, file, unit, number, value)
        first += number


def count_records(annotations: str) -> int:
    """How many records there are, from the files' own counts where they have them."""
    return sum(_module(file).count(file) for file in annotation_files(annotations))


def fingerprint_records(annotations: str) -> str:
    """Changes whenever the records do; also when a Parquet or TFDS file is touched."""
    return " ".join(_module(file).fingerprint(file) for file in annotation_files(annotations))


def read_record_bytes(reference: str) -> bytes:
    """The bytes that a record reference leads to.

    Raises OSError where the file cannot be read, LookupError where there is no such row, column or
    value, ValueError for a string that is not a reference.
    """
    path, row, column = parse_reference(reference)
    try:
        module = _module_of(path)
    except AnnotationError as error:
        raise OSError(str(error)) from error
    if not hasattr(module, "read_bytes"):
        raise LookupError(f"{path} holds no bytes")
    return module.read_bytes(path, row, column)


def _module(file: str) -> ModuleType:
    """The module that reads a file."""
    if tfds_records.is_tfds(file):
        return tfds_records
    if table_records.is_table(file):
        return table_records
    with whole(file), open_binary(file) as opened:
        start = opened.read(tarfile.BLOCKSIZE)
    if tar_records.is_tar(start):
        return tar_records
    return _parquet_records() if start.startswith(b"PAR1") else json_records


_module_of = functools.lru_cache(1024)(_module)  # of files that bytes are read from again and again


def _parquet_records() -> ModuleType:
    # Where it is needed: of all imports of this package pyarrow takes the most time and memory.
    from input_pipeline.annotations.records import parquet_records

    return parquet_records
