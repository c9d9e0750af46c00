"""From a parsed record to an `Example`: the checks that every annotation format shares."""

import math
import os
import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from input_pipeline.annotations.endings import with_ending
from input_pipeline.annotations.formats import Medium, Parsed
from input_pipeline.annotations.records import InRecord, is_record
from input_pipeline.annotations.records.reference import make_reference, parse_reference
from input_pipeline.annotations.rejected import Unusable
from input_pipeline.errors import UserError
from input_pipeline.examples import Example, MediaRef, Role, Turn
from input_pipeline.paths import below, frame_list, is_remote

_M = TypeVar("_M", Medium, MediaRef)

MAX_DEPTH = 32  # nested lists and objects in one record
MEDIA_TAG = re.compile(r"(<image>|<video>)")
# Special tokens of the chat templates. Inside a text they would open turns or claim media.
CONTROL_TOKEN = re.compile(r"<\|[^<>|\s]{1,64}\|>")
_LINE_BREAK_FIRST, _LINE_BREAK_LAST = re.compile(r"\A\r?\n"), re.compile(r"\r?\n\Z")


class _Split(NamedTuple):
    """A turn's texts, and what stands between them: media, and tags that wait for one."""

    texts: list[str]
    between: list[str | Medium]


def to_example(
    parsed: Parsed, record: Mapping[str, Any], id: str, source: str, media_root: str
) -> Example:
    """The example that a parsed record stands for.

    media_root: absolute folder or address that its media must lie under.

    Raises Unusable with one of the reasons of `Rejected`.
    """
    turns = [
        (role, _checked_text(place, role, pieces))
        for place, (role, pieces) in enumerate(parsed.turns, start=1)
    ]
    for place, text in parsed.reasoning.items():
        _checked_text(place + 1, "assistant", [text])
    _check_order([role for role, _ in turns])
    waiting = _waiting_media([split for _, split in turns], parsed.media)
    meta = {
        key: value
        for key, value in record.items()
        if key not in parsed.used and key != "id" and not isinstance(value, InRecord)
    }
    if not isinstance(asked := meta.get("frame_question"), str | None):
        raise Unusable("bad_record", f"frame_question is no text: {asked!r:.80}")
    return Example(
        id,
        source,
        tuple(
            Turn(
                role,
                _parts(split if parsed.exact else _stripped(split), waiting, media_root),
                parsed.reasoning.get(place, ""),
            )
            for place, (role, split) in enumerate(turns)
        ),
        meta | dict(parsed.meta),
    )


def place_media(text: str, media: Sequence[MediaRef]) -> tuple[str | MediaRef, ...]:
    """A user's words with the media in the place of their tags, as records have them; before the
    words where there is no tag. Raises UserError where tags and media do not match."""
    first, *rest = MEDIA_TAG.split(text)
    if not rest:
        return (*media, text)
    split = _stripped(_Split([first, *rest[1::2]], list(rest[0::2])))
    try:
        waiting = _waiting_media([split], media)
    except Unusable as error:
        raise UserError(
            f"{text[:60]!r}: {error.detail}; without a tag the media come before the words"
        ) from error
    parts: list[str | MediaRef] = [split.texts[0]]
    for tag, words in zip(rest[0::2], split.texts[1:], strict=True):
        parts += [next(waiting[tag]), words]
    return tuple(part for part in parts if part)


def check_values(record: Mapping[str, Any]) -> None:
    """Raises Unusable for what cannot be stored again: too deep, text that is not Unicode, NaN,
    infinity."""
    stack: list[tuple[Any, int]] = [(record, 1)]
    while stack:
        value, depth = stack.pop()
        if isinstance(value, str):
            if not value.isascii():
                try:
                    value.encode()
                except UnicodeEncodeError as error:
                    raise Unusable("bad_record", f"text that is not Unicode: {error}") from error
        elif isinstance(value, dict | list):
            if depth > MAX_DEPTH:
                raise Unusable("too_deep", f"nested deeper than {MAX_DEPTH} levels")
            inner = [*value.keys(), *value.values()] if isinstance(value, dict) else value
            stack.extend((item, depth + 1) for item in inner)
        elif isinstance(value, float) and not math.isfinite(value):
            raise Unusable("bad_record", f"{value} is not a JSON number")


def _checked_text(place: int, role: Role, pieces: Sequence[str | Medium]) -> _Split:
    texts = [piece for piece in pieces if isinstance(piece, str)]
    if len(texts) == len(pieces) and not "".join(texts).strip():
        reason = "empty_answer" if role == "assistant" else "empty_question"
        raise Unusable(reason, f"turn {place} ({role}) has no text")
    if token := CONTROL_TOKEN.search("".join(texts)):
        raise Unusable("control_token", f"turn {place} contains {token.group()}")
    split = _Split([""], [])
    for piece in pieces:
        if isinstance(piece, str):
            first, *rest = MEDIA_TAG.split(piece)
            split.texts[-1] += first
            split.between.extend(rest[0::2])
            split.texts.extend(rest[1::2])
        else:
            split.between.append(piece)
            split.texts.append("")
    if role != "user" and split.between:
        found = split.between[0]
        found = found if isinstance(found, str) else found.kind
        raise Unusable("misplaced_tag", f"turn {place} ({role}) contains {found}")
    return split


def _check_order(roles: Sequence[Role]) -> None:
    talk = roles[1:] if roles[0] == "system" else roles
    if len(talk) % 2 or talk != ["user", "assistant"] * (len(talk) // 2) or not talk:
        raise Unusable(
            "turn_order",
            "wanted user, assistant, user, assistant, … ending with assistant, after at most one "
            f"system turn; found {', '.join(roles[:8])}",
        )


def _waiting_media(turns: Sequence[_Split], media: Sequence[_M]) -> dict[str, Iterator[_M]]:
    """The record's media by the tag that takes them."""
    tags = [each for split in turns for each in split.between if isinstance(each, str)]
    by_tag = {
        "<image>": [medium for medium in media if medium.kind == "image"],
        "<video>": [medium for medium in media if medium.kind == "video"],
    }
    if by_tag["<video>"] and not by_tag["<image>"] and "<video>" not in tags and "<image>" in tags:
        # LLaVA-Video-178K writes <image> in front of its videos.
        by_tag = {"<image>": by_tag["<video>"], "<video>": []}
    for tag, waiting in by_tag.items():
        if (count := tags.count(tag)) != len(waiting):
            raise Unusable(
                "tag_without_media" if count > len(waiting) else "media_without_tag",
                f"{count} {tag} in the user's turns for {len(waiting)} media of the record",
            )
    return {tag: iter(waiting) for tag, waiting in by_tag.items()}


def _stripped(split: _Split) -> _Split:
    """Without the space around the turn; the line break beside a medium belongs to the medium."""
    last = len(split.texts) - 1
    # Where the turn begins or ends with a medium, the line break beside it goes, nothing else.
    texts = []
    for place, text in enumerate(split.texts):
        text = _LINE_BREAK_FIRST.sub("", text) if place else text.lstrip()
        texts.append(_LINE_BREAK_LAST.sub("", text) if place < last else text.rstrip())
    return split._replace(texts=texts)


def _parts(
    split: _Split, waiting: Mapping[str, Iterator[Medium]], root: str
) -> tuple[str | MediaRef, ...]:
    """Texts and media in reading order."""
    first, *rest = split.texts
    parts: list[str | MediaRef] = [first]
    for found, text in zip(split.between, rest, strict=True):
        medium = next(waiting[found]) if isinstance(found, str) else found
        parts += [_resolved(medium, root), text]
    return tuple(part for part in parts if part)


def _resolved(medium: Medium, root: str) -> MediaRef:
    """The medium under its root; symbolic links inside the root may lead elsewhere."""
    numbers = (medium.nframes, medium.min_pixels, medium.max_pixels)
    span, fps = (medium.start_s, medium.end_s), medium.fps
    if medium.frames:
        files = [_placed(file, root) for file in medium.frames]
        return MediaRef(medium.kind, frame_list(files, medium.times), *span, None, *numbers)
    path = _placed(medium.path, root)
    if fps and medium.kind == "video" and not is_record(path) and _may_be_folder(path):
        path, fps = f"{path}?fps={fps:g}", None  # of its pictures
    return MediaRef(medium.kind, path, *span, fps, *numbers)


def _placed(path: str, root: str) -> str:
    """Where a path of the annotations leads."""
    if isinstance(path, InRecord):
        return path
    return _record_below(path, root) if is_record(path) else with_ending(_below(path, root))


def _record_below(path: str, root: str) -> str:
    """A reference into a record that an annotation file spells out."""
    try:
        file, row, column = parse_reference(path)
    except ValueError as error:
        raise Unusable("bad_media", str(error)) from error
    return make_reference(_below(file, root), row, column)


def _may_be_folder(path: str) -> bool:
    """What is there decides; where that is not known here, a name without an extension."""
    if not is_remote(path) and os.path.exists(path):
        return os.path.isdir(path)
    return not posixpath.splitext(path)[1]


def _below(path: str, root: str) -> str:
    if is_remote(path) and not is_remote(root):
        raise Unusable(
            "bad_media", f"{path!r} is an address, but the media root {root} is a folder"
        )
    try:
        return below(path, root)
    except ValueError as error:
        raise Unusable("path_outside_root", f"{error}, the media root") from error
