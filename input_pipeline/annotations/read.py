"""Reads annotations of any known format into examples, one record at a time.

A record that cannot be used is returned as `Rejected`, never dropped and never repaired by
guessing. The formats are in `input_pipeline.annotations.formats`, the kinds of files in
`input_pipeline.annotations.records`; docs/data.md has an example of each.
"""

import contextlib
import dataclasses
import functools
import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any, NamedTuple

from absl import logging

from input_pipeline.annotations.columns import ColumnMap
from input_pipeline.annotations.conversation import check_values, to_example
from input_pipeline.annotations.formats import CLIP_KEYS, NUMBER_KEYS, find_format
from input_pipeline.annotations.notes import Notes, speaks_of_media
from input_pipeline.annotations.presets import preset_for
from input_pipeline.annotations.records import Record, read_records
from input_pipeline.annotations.rejected import AnnotationError, Rejected, Unusable
from input_pipeline.annotations.unread import (
    Unread,
    lookalikes,
    map_for,
    unheeded,
    unread_medium,
)
from input_pipeline.examples import Example
from input_pipeline.paths import is_remote

SNIFFED_RECORDS = 20  # looked at to tell what a file is


def read_annotations(
    path: str | os.PathLike[str],
    media_root: str | os.PathLike[str],
    source: str,
    format: str = "",
    columns: Mapping[str, Any] | None = None,
) -> Iterator[Example | Rejected]:
    """Yields every Example or Rejected of an annotation file, in file order.

    path: a JSON list, JSONL, CSV, TSV, Parquet, WebDataset or TFDS; a pattern or folder of all but
    the last.
    media_root: the folder, or address such as gs://bucket/folder, that media paths are relative to
    and must stay under.
    source: the data set's name; examples without an id get f"{source}-{record number}".
    format: a key of `formats.FORMATS`; "" tells it from the first records.
    columns: a column map, see `columns`.

    An id may occur again with other content (public mixtures have one id an image and many
    conversations about it): the later ones become "id#2", "id#3", …. The same id with the same
    turns is rejected as "duplicate".

    Raises AnnotationError when a file as a whole cannot be used: missing, of no known kind or
    format, or damaged.
    """
    notes = Notes()
    for _, found in read_with_places(path, media_root, source, format, notes, columns):
        yield found
    for line in notes.lines():
        logging.warning("%s: %s", source, line)


class Place(NamedTuple):
    """Of a record: its number from 0 over all files, rising and the same for all examples of one
    record; and where it stands, for people."""

    number: int
    where: str


def read_with_places(
    path: str | os.PathLike[str],
    media_root: str | os.PathLike[str],
    source: str,
    format: str,
    notes: Notes,
    columns: Mapping[str, Any] | None = None,
) -> Iterator[tuple[Place, Example | Rejected]]:
    """As `read_annotations`, each with its record's place. notes: gets what stood out."""
    path = os.fspath(path)
    records = read_records(path)
    first = list(itertools.islice(records, SNIFFED_RECORDS))
    known = [record.value for record in first if not isinstance(record.value, Rejected)]
    mapped = ColumnMap(columns or {})
    mapped.check(path, known)
    root = os.fspath(media_root)
    root = root if is_remote(root) else os.path.abspath(root)
    try:
        chosen = find_format(format, path, list(_mapped(known, mapped)))
    except AnnotationError as error:
        if preset := None if columns else preset_for(known[:1]):
            raise AnnotationError(f'{error}\n"preset": "{preset}" reads such records') from error
        raise
    _check_media_are_read(first, mapped, chosen, source, root)
    ids = _Ids()
    for record in itertools.chain(first, records):
        place = Place(record.place, record.where)
        if isinstance(record.value, Rejected):
            yield place, record.value
            continue
        for value in _split(record.value, chosen):
            try:
                value = mapped.apply(value)
                example = ids.unused(_example(value, record, chosen, source, root))
            except Unusable as error:
                shown = _shown_id(value)
                detail = f"{record.where}: {error.detail}"
                yield place, Rejected(record.number, shown, error.reason, detail, record.file)
                continue
            media = example.media
            clip = any(medium.kind == "video" for medium in media)
            for field in lookalikes(value, _read_keys(chosen, clip), vague=not media):
                notes.add_unread(field, place.where)
            if media:
                notes.add_unheeded(unheeded(value), place.where)
            notes.add_example(example, place.where)
            yield place, example


def _mapped(values: Sequence[Any], columns: ColumnMap) -> Iterator[Any]:
    """The records that have their columns."""
    for value in values:
        with contextlib.suppress(Unusable):
            yield columns.apply(value)


class _UnreadMedium(Unusable):
    """An example for which no medium was read, though its record names one: `field`."""

    def __init__(self, field: Unread):
        wanted = " or ".join(f'"{key}"' for key in field.wanted)
        super().__init__(
            "unread_media",
            f'"{field.key}": {repr(field.value):.80} names a medium under a key that is not read: '
            f"write the path of its file, from media_root, under {wanted}",
        )
        self.field = field


def _check_media_are_read(
    first: Sequence[Record], columns: ColumnMap, format: ModuleType, source: str, root: str
) -> None:
    """Raises AnnotationError where most of the first records name media that nothing reads: all
    that would be trained on of such a set is what was left out by mistake."""
    found: list[tuple[str, _UnreadMedium]] = []
    seen = 0
    for record in first:
        for value in () if isinstance(record.value, Rejected) else _split(record.value, format):
            seen += 1
            try:
                _example(columns.apply(value), record, format, source, root)
            except _UnreadMedium as error:
                found.append((record.where, error))
            except Unusable:
                pass
    if 2 * len(found) > seen:
        where, first_found = found[0]
        so = f", as in {len(found)} of the first {seen} records" if seen > 1 else ""
        so += f"; {map_for(first_found.field, root)} in the set's entry would read it"
        raise AnnotationError(f"annotation file {where}: {first_found.detail}{so}")


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
    try:
        example = to_example(parsed := format.parse(value), value, id, source, root)
    except Unusable as error:
        # What is missing may be there under another name.
        slips = "; ".join(map(str, lookalikes(value, format.KEYS)))
        raise Unusable(error.reason, f"{error.detail}{slips and '; '}{slips}") from error
    if not example.media:
        fields = {key: v for key, v in value.items() if key not in parsed.used}
        if field := unread_medium({**fields, **parsed.unread}, speaks_of_media(example.words)):
            raise _UnreadMedium(field)
    return example


@functools.cache
def _read_keys(format: ModuleType, clip: bool) -> frozenset[str]:
    """The keys that were looked for in a record. clip: it has a video, which they may cut."""
    of_clips = ("clip", *NUMBER_KEYS, *itertools.chain(*CLIP_KEYS)) if clip else ()
    return format.KEYS | frozenset(of_clips)


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

    def __init__(self) -> None:
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
