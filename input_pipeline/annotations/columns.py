"""Column maps: the keys that are read here, made from those that a data set has.

    {"video": "{video_id}.mp4", "question": "{q}", "answer": "{a}", "options": ["{a0}", "{a1}"]}

A key of an annotation format, and a text with columns of the record in braces. A text that is one
column alone stands for its value, whatever that is; in other texts columns are texts or numbers.
"{meta.path}" is a field inside a field, "{qa.0}" the first of a list, "{captions.idx=-1}" the one
of a list whose "idx" is -1, "{input?}" a column that a record may lack. Without braces a text, a
number or True is itself, in every record; None leaves a key out. "questions" makes turns of a list:

    {"questions": {"each": "{QA}", "question": "{q}", "answer": "{a}"}}

Nothing is evaluated. Keys that the map does not name stay what they are.
"""

import contextlib
import dataclasses
import difflib
import string
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from input_pipeline.annotations.formats.medium import MEDIA_KEYS
from input_pipeline.annotations.nested import from_text
from input_pipeline.annotations.records import InRecord
from input_pipeline.annotations.rejected import AnnotationError, Unusable
from input_pipeline.errors import did_you_mean

QUESTIONS = "questions"
_PARTS = ("each", "question", "answer")
_SHOWN_KEYS = 20
_NEAR = 0.8  # likeness of a column that may be missing to one that is there


class _Column(NamedTuple):
    """name: as written. optional: a record may lack it."""

    name: str
    optional: bool


@dataclasses.dataclass(frozen=True)
class _Text:
    """pieces: (text, the column behind it) in order."""

    written: str
    pieces: tuple[tuple[str, _Column | None], ...]

    @property
    def columns(self) -> list[_Column]:
        return [column for _, column in self.pieces if column]


@dataclasses.dataclass(frozen=True)
class _Questions:
    each: _Text
    question: _Text
    answer: _Text


_Rule = _Text | list[Any] | _Questions | bool | int | float | None


class ColumnMap:
    """A column map that was read. Raises AnnotationError for one that means nothing."""

    def __init__(self, columns: Mapping[str, Any]):
        self._rules = {key: _rule(key, value) for key, value in columns.items()}
        # Their values stand under other keys now, and need not be stored twice.
        whole = [r.each if isinstance(r, _Questions) else r for r in self._rules.values()]
        self._moved = {
            rule.columns[0].name for rule in whole if isinstance(rule, _Text) and _is_column(rule)
        }

    def __bool__(self) -> bool:
        return bool(self._rules)

    def apply(self, record: Any) -> Any:
        """A record with the keys of the map; what is no object stays what it is.

        Raises Unusable("missing_column") where it lacks a column.
        """
        if not self._rules or not isinstance(record, Mapping):
            return record
        made = {key: _value(key, rule, record) for key, rule in self._rules.items()}
        kept = {k: v for k, v in record.items() if k not in self._moved and k not in made}
        return kept | {key: value for key, value in made.items() if value is not None}

    def check(self, path: str, records: Sequence[Any]) -> None:
        """Raises AnnotationError for columns that none of the first records has.

        records: of the file `path`, those that could be parsed.
        """
        records = [record for record in records if isinstance(record, Mapping)]
        if not records:
            return
        for key, rule in self._rules.items():
            if isinstance(rule, _Questions):
                _check(path, f"{key}.each", rule.each, records)
                items: list[Mapping[str, Any]] = []
                for record in records:
                    with contextlib.suppress(Unusable):
                        items += _items(key, rule, record)
                for part in (rule.question, rule.answer) if items else ():
                    _check(path, key, part, items)
            else:
                for text in rule if isinstance(rule, list) else [rule]:
                    if isinstance(text, _Text):
                        _check(path, key, text, records)


def reads(columns: Mapping[str, Any], record: Mapping[str, Any]) -> bool:
    """Whether a record has every column that the map needs."""
    try:
        ColumnMap(columns).apply(record)
    except Unusable:
        return False
    return True


# --- What a map says ----------------------------------------------------------------------------


def _rule(key: str, value: Any) -> _Rule:
    if key == QUESTIONS:
        if not isinstance(value, Mapping) or set(value) != set(_PARTS):
            raise AnnotationError(
                f'"columns": "{QUESTIONS}" must be {{"each": "{{column of a list}}", '
                f'"question": …, "answer": …}}, found {value!r:.200}'
            )
        return _Questions(*(_text(f"{key}.{part}", value[part]) for part in _PARTS))
    if isinstance(value, list | tuple):
        return [_text(key, item) for item in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    text = _text(key, value)
    if key in MEDIA_KEYS and not text.columns:
        raise AnnotationError(
            f'"columns": "{key}": "{value}" is the same file for every record: name a column in '
            f'braces, as in "{{{value}}}"'
        )
    return text


def _text(key: str, value: Any) -> _Text:
    if not isinstance(value, str):
        raise AnnotationError(
            f'"columns": "{key}" must be a text with columns in braces, as in "{{video_id}}.mp4", '
            f"found {value!r:.200}"
        )
    try:
        parsed = list(string.Formatter().parse(value))
    except ValueError as error:
        raise AnnotationError(f'"columns": "{key}": "{value}": {error}') from error
    pieces = []
    for before, name, form, conversion in parsed:
        if form or conversion or (name is not None and not name.removesuffix("?")):
            raise AnnotationError(
                f'"columns": "{key}": "{value}": braces hold the name of a column, nothing else'
            )
        column = None if name is None else _Column(name.removesuffix("?"), name.endswith("?"))
        pieces.append((before, column))
    return _Text(value, tuple(pieces))


def _is_column(text: _Text) -> bool:
    """Whether a text is one column and nothing else."""
    return len(text.pieces) == 1 and not text.pieces[0][0] and text.pieces[0][1] is not None


# --- Of a record --------------------------------------------------------------------------------


def _value(key: str, rule: _Rule, record: Mapping[str, Any]) -> Any:
    """What stands under a key; None for nothing."""
    if isinstance(rule, _Text):
        return _filled(key, rule, record)
    if isinstance(rule, list):
        found = [_filled(key, text, record) for text in rule]
        return [value for value in found if value is not None]
    if isinstance(rule, _Questions):
        parts = {"question": rule.question, "answer": rule.answer}
        return [
            {name: _filled(f"{key}.{name}", text, item) for name, text in parts.items()}
            for item in _items(key, rule, record)
        ] or None
    return rule


def _filled(key: str, text: _Text, record: Mapping[str, Any]) -> Any:
    if _is_column(text):
        return _looked_up(key, text, text.columns[0], record)
    pieces, found = [], not text.columns
    for before, column in text.pieces:
        value = _looked_up(key, text, column, record) if column else None
        found = found or value is not None
        pieces += [before, "" if value is None else _as_text(key, text, value)]
    return "".join(pieces) if found else None


def _looked_up(key: str, text: _Text, column: _Column, record: Mapping[str, Any]) -> Any:
    value = _find(record, column.name)
    if value is None and not column.optional:
        raise Unusable(
            "missing_column",
            f'"columns": "{key}": "{text.written}": the record has no "{column.name}"',
        )
    return value


def _find(record: Mapping[str, Any], name: str) -> Any:
    """The value of a column; None where there is none, or an empty text."""
    value: Any = record
    for step in (name,) if name in record else name.split("."):
        value = from_text(value)
        if isinstance(value, Mapping):
            value = value.get(step)
        elif isinstance(value, list):
            value = _item(value, step)
        else:
            return None
    return None if value == "" else value


def _item(values: list[Any], step: str) -> Any:
    """The item of a list at a place, or the first with "field=value"."""
    if step.removeprefix("-").isdigit():
        place = int(step)
        return values[place] if -len(values) <= place < len(values) else None
    field, equals, wanted = step.partition("=")
    fields = (item for item in values if equals and isinstance(item, Mapping))
    return next((item for item in fields if str(item.get(field)) == wanted), None)


def _items(key: str, rule: _Questions, record: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The items of a list that becomes turns; a list's own items go by their places."""
    values = from_text(_filled(f"{key}.each", rule.each, record))
    if values is not None and not isinstance(values, list):
        raise Unusable("bad_turn", f'"{rule.each.written}" must be a list, found {values!r:.200}')
    for item in values or ():
        item = from_text(item)
        if isinstance(item, list):
            item = {str(place): value for place, value in enumerate(item)}
        if not isinstance(item, Mapping):
            raise Unusable("bad_turn", f'"{rule.each.written}" holds {item!r:.200}')
        yield item


def _as_text(key: str, text: _Text, value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        return str(int(value))  # a column of integers in which one is missing
    if isinstance(value, InRecord) or not isinstance(value, str | int | float):
        raise Unusable(
            "missing_column",
            f'"columns": "{key}": "{text.written}" wants texts and numbers, found {value!r:.200}',
        )
    return str(value)


# --- Of a file ----------------------------------------------------------------------------------


def _check(path: str, key: str, text: _Text, records: Sequence[Mapping[str, Any]]) -> None:
    """Raises AnnotationError for a text whose columns these records do not have."""
    keys = list(dict.fromkeys(name for record in records for name in record))
    where = f'annotation file {path}: "columns": "{key}": "{text.written}"'
    if not text.columns and text.written in keys:
        raise AnnotationError(
            f'{where} is this text, not the column: write "{{{text.written}}}" for that'
        )
    for name, optional in text.columns:
        if any(_find(record, name) is not None for record in records):
            continue
        near = difflib.get_close_matches(name, [k for k in keys if k != name], 1, _NEAR)
        if not optional or (near and not any(name in record for record in records)):
            inner = [
                f"{outer}.{field}"
                for outer, value in records[0].items()
                if isinstance(fields := from_text(value), Mapping)
                for field in fields
            ]
            known = ", ".join(keys[:_SHOWN_KEYS])
            raise AnnotationError(
                f"{where} names a column that none of the first {len(records)} records has"
                f"{did_you_mean(name, [*keys, *inner])}\nThere are: {known}"
            )
