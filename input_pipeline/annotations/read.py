"""Reads annotations of any known format into examples, one record at a time.

A record that cannot be used is returned as `Rejected`, never dropped and never repaired by
guessing. The formats are in `input_pipeline.annotations.formats`, the kinds of files in
`input_pipeline.annotations.records`; docs/data.md has an example of each.
"""

import dataclasses
import itertools
import os
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any

from input_pipeline.annotations.conversation import check_values, to_example
from input_pipeline.annotations.formats import find_format
from input_pipeline.annotations.records import Record, is_remote, read_records
from input_pipeline.annotations.rejected import Rejected, Unusable
from input_pipeline.examples import Example

SNIFFED_RECORDS = 20  # looked at to tell what a file is


def read_annotations(
    path: str | os.PathLike, media_root: str | os.PathLike, source: str, format: str = ""
) -> Iterator[Example | Rejected]:
    """Yields every Example or Rejected of an annotation file, in file order.

    path: a JSON list, JSONL, Parquet or TFDS; a pattern or folder of the first three.
    media_root: the folder, or address such as gs://bucket/folder, that media paths are relative to
    and must stay under.
    source: the data set's name; examples without an id get f"{source}-{record number}".
    format: a key of `formats.FORMATS`; "" tells it from the first records.

    An id may occur again with other content (public mixtures have one id an image and many
    conversations about it): the later ones become "id#2", "id#3", …. The same id with the same
    turns is rejected as "duplicate".

    Raises AnnotationError when a file as a whole cannot be used: missing, of no known kind or
    format, or damaged.
    """
    for _, found in read_with_places(path, media_root, source, format):
        yield found


def read_with_places(
    path: str | os.PathLike, media_root: str | os.PathLike, source: str, format: str = ""
) -> Iterator[tuple[int, Example | Rejected]]:
    """As `read_annotations`, each with its record's place: from 0, rising, and the same for all
    examples of one record."""
    path = os.fspath(path)
    records = read_records(path)
    first = list(itertools.islice(records, SNIFFED_RECORDS))
    known = [record.value for record in first if not isinstance(record.value, Rejected)]
    chosen = find_format(format, path, known)
    root = os.fspath(media_root)
    root = root if is_remote(root) else os.path.abspath(root)
    ids = _Ids()
    for record in itertools.chain(first, records):
        if isinstance(record.value, Rejected):
            yield record.place, record.value
            continue
        for value in _split(record.value, chosen):
            try:
                example = _example(value, record, chosen, source, root)
                yield record.place, ids.unused(example)
            except Unusable as error:
                shown = _shown_id(value)
                yield (
                    record.place,
                    Rejected(record.number, shown, error.reason, error.detail, record.file),
                )


def _split(record: Any, format: ModuleType) -> Iterator[Any]:
    if hasattr(format, "split") and isinstance(record, Mapping) and format.recognises(record):
        yield from format.split(record)
    else:
        yield record


def _example(value: Any, record: Record, format: ModuleType, source: str, root: str) -> Example:
    if not isinstance(value, Mapping):
        raise Unusable("bad_record", f"an object was expected, found {type(value).__name__}")
    check_values(value)
    id = _record_id(value) or f"{source}-{record.place + 1}"
    return to_example(format.parse(value), value, id, source, root)


def _record_id(record: Mapping[str, Any]) -> str:
    value = record.get("id")
    if value is None or value == "":
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise Unusable("bad_id", f"id must be a string or an integer, found {value!r}"[:200])
    return str(value)


def _shown_id(record: Any) -> str:
    value = record.get("id", "") if isinstance(record, Mapping) else ""
    return str(value)[:200] if isinstance(value, str | int) else ""


class _Ids:
    """Which ids and contents were met; hashes of 64 bits, for millions of them take room."""

    def __init__(self):
        self._counts: dict[int, int] = {}  # by id
        self._seen: set[int] = set()  # ids and turns

    def unused(self, example: Example) -> Example:
        """The example under an id that no other has. Raises Unusable("duplicate")."""
        content = hash((example.id, example.turns))
        if content in self._seen:
            raise Unusable("duplicate", "a record before it has the same id and turns")
        self._seen.add(content)
        base = hash(example.id)
        count = self._counts.get(base, 0) + 1
        if count > 1:
            while hash(f"{example.id}#{count}") in self._counts:
                count += 1
            example = dataclasses.replace(example, id=f"{example.id}#{count}")
            self._counts[hash(example.id)] = 1
        self._counts[base] = count
        return example
