"""Reads LLaVA-format annotations (a JSON list, or JSONL) into examples.

A record is

    {"id": "k7", "video": "clips/k7.mp4", "conversations": [
        {"from": "human", "value": "<video>\nHow many times does the ball bounce?"},
        {"from": "gpt",   "value": "Three times."}], "task": "counting"}

with "image" and/or "video" (a path or a list of paths under the media root), an optional first
"system" turn, and any further keys, which become `Example.meta`. A record that cannot be used is
returned as `Rejected`, never dropped and never repaired by guessing.
"""

import dataclasses
import itertools
import json
import math
import os
import re
from collections.abc import Iterator
from typing import Any

from input_pipeline.examples import Example, MediaRef, Turn

# Bounds on what the outside world may hand us.
MAX_LIST_BYTES = 4 * 2**30  # a JSON list is parsed as a whole; make it JSONL beyond this
MAX_LINE_BYTES = 16 * 2**20
MAX_DEPTH = 32  # nested lists and objects in one record
SNIFFED_RECORDS = 20  # looked at to tell what a file is

ROLES = {"system": "system", "human": "user", "gpt": "assistant"}
OWN_KEYS = frozenset({"id", "image", "video", "conversations"})
MEDIA_TAG = re.compile(r"(<image>|<video>)")
# Special tokens of the chat templates. Inside a text they would open turns or claim media.
CONTROL_TOKEN = re.compile(r"<\|[^<>|\s]{1,64}\|>")


class AnnotationError(Exception):
    """A whole annotation file cannot be used. The message names the file and the place in it."""


@dataclasses.dataclass(frozen=True)
class Rejected:
    """One record that cannot be used, and why.

    record: line number in JSONL, position in a JSON list, from 1; None where it is not known.
    id: the record's id where it could be read, else "". detail: for people.
    path: the file at fault, here the annotation file. stage: where it was found.
    reason: one word for counting; one of
        bad_json, bad_record, too_large, too_deep                      (the record itself)
        bad_id, duplicate, bad_media, path_outside_root                (its fields)
        bad_turn, unknown_role, turn_order, empty_question, empty_answer, control_token
        tag_without_media, media_without_tag, misplaced_tag            (media and their tags)
    """

    record: int | None
    id: str
    reason: str
    detail: str
    path: str | None = None
    stage: str = "read"


class _Unusable(Exception):
    """Raised inside to reject the record at hand."""

    def __init__(self, reason: str, detail: str):
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail


def read_annotations(
    path: str | os.PathLike, media_root: str | os.PathLike, source: str
) -> Iterator[Example | Rejected]:
    """Yields one Example or Rejected for each record, in file order.

    path: the annotation file; whether it is a JSON list or JSONL is told from its content.
    media_root: the folder that media paths are relative to and must stay under.
    source: the data set's name; examples without an id get f"{source}-{record number}".

    An id may occur again with other content (public LLaVA mixtures have one id an image and many
    conversations about it): the later ones become "id#2", "id#3", …. The same id with the same
    turns is rejected as "duplicate".

    Raises AnnotationError when the file as a whole cannot be used: missing, too large, neither a
    JSON list nor JSONL, a list that does not parse, or records of another format.
    """
    path = os.fspath(path)
    records = _read_records(path)
    first = list(itertools.islice(records, SNIFFED_RECORDS))
    _check_format(path, [value for _, value in first if not isinstance(value, Rejected)])
    root = os.path.abspath(media_root)
    used_ids: dict[str, int] = {}  # id -> how often it occurred
    seen: set[int] = set()
    for number, value in itertools.chain(first, records):
        if isinstance(value, Rejected):
            yield value
            continue
        try:
            example = _to_example(value, number, root, source)
            content = hash((example.id, example.turns))
            if content in seen:
                raise _Unusable("duplicate", "a record before it has the same id and turns")
            seen.add(content)
        except _Unusable as error:
            yield Rejected(number, _shown_id(value), error.reason, error.detail, path)
            continue
        yield _with_unused_id(example, used_ids)


def _with_unused_id(example: Example, used_ids: dict[str, int]) -> Example:
    base = example.id
    count = used_ids.get(base, 0) + 1
    if count > 1:
        while f"{base}#{count}" in used_ids:
            count += 1
        example = dataclasses.replace(example, id=f"{base}#{count}")
        used_ids[example.id] = 1
    used_ids[base] = count
    return example


# --- the file -----------------------------------------------------------------------------------


def _read_records(path: str) -> Iterator[tuple[int, Any]]:
    """(record number, parsed JSON or Rejected) for each record."""
    try:
        with open(path, "rb") as file:
            start = file.read(4096).removeprefix(b"\xef\xbb\xbf").lstrip()
            size = os.fstat(file.fileno()).st_size
    except OSError as error:
        raise AnnotationError(f"annotation file {path} cannot be read: {error.strerror}") from error
    if not start:
        raise AnnotationError(f"annotation file {path} is empty")
    if start.startswith(b"["):
        yield from enumerate(_read_list(path, size), start=1)
    elif start.startswith(b"{"):
        yield from _read_lines(path)
    else:
        raise AnnotationError(
            f"annotation file {path} is neither a JSON list nor JSONL: it starts with "
            f"{start[:40]!r}"
        )


def _read_list(path: str, size: int) -> list[Any]:
    if size > MAX_LIST_BYTES:
        raise AnnotationError(
            f"annotation file {path} is a JSON list of {size} bytes, the bound is {MAX_LIST_BYTES}:"
            " write it as JSONL, which is read line by line"
        )
    try:
        with open(path, encoding="utf-8-sig") as file:
            return json.load(file)
    except json.JSONDecodeError as error:
        raise AnnotationError(
            f"annotation file {path} does not parse at line {error.lineno}, column {error.colno}: "
            f"{error.msg}"
        ) from error
    except UnicodeDecodeError as error:
        raise AnnotationError(f"annotation file {path} is not UTF-8: {error}") from error
    except RecursionError as error:
        raise AnnotationError(f"annotation file {path} is nested too deep to parse") from error
    except ValueError as error:  # an integer of thousands of digits
        raise AnnotationError(f"annotation file {path} does not parse: {error}") from error


def _read_lines(path: str) -> Iterator[tuple[int, Any]]:
    with open(path, "rb") as file:
        number = 0
        while line := file.readline(MAX_LINE_BYTES + 1):
            number += 1
            if len(line) > MAX_LINE_BYTES:
                while line and not line.endswith(b"\n"):
                    line = file.readline(MAX_LINE_BYTES)
                detail = f"{path}, line {number}: longer than {MAX_LINE_BYTES} bytes"
                yield number, Rejected(number, "", "too_large", detail, path)
            elif line.strip():
                yield number, _parse_line(line, path, number)


def _parse_line(line: bytes, path: str, number: int) -> Any:
    try:
        return json.loads(line.decode("utf-8-sig"))
    except RecursionError:
        detail = f"{path}, line {number}: nested too deep to parse"
        return Rejected(number, "", "too_deep", detail, path)
    except json.JSONDecodeError as error:
        detail = f"{path}, line {number}, column {error.colno}: {error.msg}"
    except ValueError as error:  # not UTF-8, or an integer of thousands of digits
        detail = f"{path}, line {number}: {error}"
    return Rejected(number, "", "bad_json", detail, path)


def _check_format(path: str, records: list[Any]) -> None:
    """Raises AnnotationError when none of the first records is a LLaVA record."""
    if any(isinstance(record, dict) and "conversations" in record for record in records):
        return
    objects = [record for record in records if isinstance(record, dict)]
    if objects:
        found = f"objects with the keys {sorted(objects[0])[:12]}"
    else:
        found = "no JSON object (JSONL has one whole object on each line)"
    raise AnnotationError(
        f'annotation file {path} is not in LLaVA format: wanted records with "conversations", '
        f"found {found}"
    )


# --- one record ---------------------------------------------------------------------------------


def _shown_id(record: Any) -> str:
    value = record.get("id", "") if isinstance(record, dict) else ""
    return str(value)[:200] if isinstance(value, str | int) else ""


def _to_example(record: Any, number: int, root: str, source: str) -> Example:
    if not isinstance(record, dict):
        raise _Unusable("bad_record", f"an object was expected, found {type(record).__name__}")
    _check_values(record)
    images = _media_refs(record, "image", root)
    videos = _media_refs(record, "video", root)
    turns = _turns(record.get("conversations"), images, videos)
    meta = {key: value for key, value in record.items() if key not in OWN_KEYS}
    return Example(_record_id(record, number, source), source, turns, meta)


def _check_values(record: dict) -> None:
    """Rejects what cannot be stored again: too deep, text that is not Unicode, NaN, infinity."""
    stack: list[tuple[Any, int]] = [(record, 1)]
    while stack:
        value, depth = stack.pop()
        if isinstance(value, dict | list):
            if depth > MAX_DEPTH:
                raise _Unusable("too_deep", f"nested deeper than {MAX_DEPTH} levels")
            inner = [*value.keys(), *value.values()] if isinstance(value, dict) else value
            stack.extend((item, depth + 1) for item in inner)
        elif isinstance(value, float) and not math.isfinite(value):
            raise _Unusable("bad_record", f"{value} is not a JSON number")
        elif isinstance(value, str) and not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError as error:
                raise _Unusable("bad_record", f"text that is not Unicode: {error}") from error


def _record_id(record: dict, number: int, source: str) -> str:
    value = record.get("id")
    if value is None or value == "":
        return f"{source}-{number}"
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise _Unusable("bad_id", f"id must be a string or an integer, found {value!r}"[:200])
    return str(value)


def _media_refs(record: dict, kind: str, root: str) -> list[MediaRef]:
    value = record.get(kind)
    paths = [] if value is None else value if isinstance(value, list) else [value]
    return [MediaRef(kind, _resolve(kind, path, root)) for path in paths]


def _resolve(kind: str, path: Any, root: str) -> str:
    """The absolute path of a medium; symbolic links inside the root may lead elsewhere."""
    if not isinstance(path, str) or not path.strip() or "\0" in path:
        raise _Unusable("bad_media", f'"{kind}" must be a path or a list of paths, found {path!r}')
    if "://" in path:
        raise _Unusable("bad_media", f"URLs are not fetched: {path!r}")
    full = os.path.normpath(os.path.join(root, path))
    if os.path.commonpath([root, full]) != root or full == root:
        raise _Unusable("path_outside_root", f"{path!r} leads out of the media root {root}")
    return full


def _turns(conversations: Any, images: list[MediaRef], videos: list[MediaRef]) -> tuple[Turn, ...]:
    if not isinstance(conversations, list) or not conversations:
        raise _Unusable("bad_turn", '"conversations" must be a non-empty list')
    spoken = [_checked_turn(place, turn) for place, turn in enumerate(conversations, start=1)]
    _check_order([role for role, _ in spoken])
    tags = [tag for role, text in spoken if role == "user" for tag in MEDIA_TAG.findall(text)]
    if videos and not images and "<video>" not in tags:
        # LLaVA-Video-178K writes <image> in front of its videos.
        waiting = {"<image>": iter(videos), "<video>": iter(())}
        _check_counts({"<image>": tags.count("<image>")}, {"<image>": len(videos)})
    else:
        waiting = {"<image>": iter(images), "<video>": iter(videos)}
        _check_counts(
            {tag: tags.count(tag) for tag in waiting},
            {"<image>": len(images), "<video>": len(videos)},
        )
    return tuple(Turn(role, _parts(role, text, waiting)) for role, text in spoken)


def _checked_turn(place: int, turn: Any) -> tuple[str, str]:
    """(role, text) of turn number `place`."""
    if not isinstance(turn, dict) or not isinstance(turn.get("value"), str):
        raise _Unusable("bad_turn", f'turn {place} must be {{"from": …, "value": text}}')
    role = ROLES.get(turn["from"]) if isinstance(turn.get("from"), str) else None
    if role is None:
        raise _Unusable(
            "unknown_role", f"turn {place} is from {turn.get('from')!r}, known: {sorted(ROLES)}"
        )
    text = turn["value"]
    if not text.strip():
        reason = "empty_answer" if role == "assistant" else "empty_question"
        raise _Unusable(reason, f"turn {place} ({turn['from']}) has no text")
    if token := CONTROL_TOKEN.search(text):
        raise _Unusable("control_token", f"turn {place} contains {token.group()}")
    if role != "user" and (tag := MEDIA_TAG.search(text)):
        raise _Unusable("misplaced_tag", f"turn {place} ({turn['from']}) contains {tag.group()}")
    return role, text


def _check_order(roles: list[str]) -> None:
    talk = roles[1:] if roles[0] == "system" else roles
    if len(talk) % 2 or talk != ["user", "assistant"] * (len(talk) // 2) or not talk:
        raise _Unusable(
            "turn_order",
            "wanted human, gpt, human, gpt, … ending with gpt, after at most one system turn; "
            f"found {', '.join(roles[:8])}",
        )


def _check_counts(tags: dict[str, int], media: dict[str, int]) -> None:
    for tag, count in tags.items():
        if count > media[tag]:
            raise _Unusable("tag_without_media", f"{count} {tag} tags, {media[tag]} media")
        if count < media[tag]:
            raise _Unusable("media_without_tag", f"{count} {tag} tags, {media[tag]} media")


def _parts(role: str, text: str, waiting: dict[str, Iterator[MediaRef]]) -> tuple:
    """Text pieces and media in reading order; the line break beside a tag belongs to the tag."""
    if role != "user":
        return (text.strip(),)
    pieces = MEDIA_TAG.split(text.strip())
    parts: list[str | MediaRef] = []
    for place, piece in enumerate(pieces):
        if piece in waiting and place % 2:
            parts.append(next(waiting[piece]))
            continue
        if place:
            piece = piece.removeprefix("\n")
        if place < len(pieces) - 1:
            piece = piece.removesuffix("\n")
        if piece:
            parts.append(piece)
    return tuple(parts)
