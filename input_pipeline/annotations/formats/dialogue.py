"""Turns of a conversation as public data sets write them: from/value or role/content.

A turn's content is a text, which may hold <image> and <video> tags, or a list of OpenAI content
parts: {"type": "text", "text": …}, {"type": "image_url", "image_url": {"url": …}},
{"type": "video", "video": …}, … A part without its medium is a tag.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from input_pipeline.annotations.formats.medium import Medium, part_medium, record_media
from input_pipeline.annotations.formats.parsed import Parsed
from input_pipeline.annotations.nested import from_text
from input_pipeline.annotations.rejected import Unusable
from input_pipeline.examples import MediaKind, Role

ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
}
# Of an answer, the first that is there; the names that transformers gives to templates.
REASONING_KEYS = ("reasoning_content", "thinking", "reasoning")
# What would change which answers are taught, or what: nothing does that.
_CALLS = ("tool_calls", "function_call")
_CHOICES = ("loss", "weight", "train")
_PART_KINDS: dict[str, MediaKind] = {
    "image": "image",
    "image_url": "image",
    "video": "video",
    "video_url": "video",
}


def has_turns(record: Mapping[str, Any], key: str) -> bool:
    """Whether a record keeps its conversation under `key`."""
    return record.get(key) is not None


def parse_turns(record: Mapping[str, Any], key: str) -> Parsed:
    """A record whose conversation is the list `record[key]`, which a column of a table may hold as
    text, with an optional "system" text."""
    turns = from_text(record.get(key))
    if not isinstance(turns, list) or not turns:
        raise Unusable("bad_turn", f'"{key}" must be a non-empty list')
    found = [_turn(place, turn) for place, turn in enumerate(turns, start=1)]
    thoughts = [_reasoning(place, role, turns[place]) for place, (role, _) in enumerate(found)]
    unread = {
        f"{key}.{i}.{name}": value for i, turn in enumerate(turns) for name, value in _rest(turn)
    }
    used = {key}
    system = record.get("system")
    if isinstance(system, str) and system.strip() and found[0][0] != "system":
        found.insert(0, ("system", [system]))
        thoughts.insert(0, "")
        used.add("system")
    media, media_keys = record_media(record)
    reasoning = {place: text for place, text in enumerate(thoughts) if text}
    return Parsed(found, media, media_keys | used, unread=unread, reasoning=reasoning)


def _turn(place: int, turn: Any) -> tuple[Role, list[str | Medium]]:
    shape = f'turn {place} must be {{"from": …, "value": text}} or {{"role": …, "content": …}}'
    if not isinstance(turn, dict):
        raise Unusable("bad_turn", shape)
    who, said = ("role", "content") if turn.get("content") is not None else ("from", "value")
    content = turn.get(said)
    if not isinstance(content, str | list):
        raise Unusable("bad_turn", shape)
    speaker = turn.get(who)
    role = ROLES.get(speaker) if isinstance(speaker, str) else None
    if role is None:
        raise Unusable("unknown_role", f"turn {place} is from {speaker!r}, known: {sorted(ROLES)}")
    if role == "assistant":
        _check_taught(place, turn)
    if isinstance(content, str):
        return role, [content]
    return role, [_part(place, part) for part in content]


def _check_taught(place: int, turn: Mapping[str, Any]) -> None:
    """Raises Unusable for an answer that calls tools, and for one that is not to be taught."""
    if key := next((key for key in _CALLS if turn.get(key)), None):
        raise Unusable("bad_turn", f'turn {place} has "{key}", which would be left out')
    for key in _CHOICES:
        value = turn.get(key)
        if isinstance(value, int | float) and value == 0:
            raise Unusable(
                "bad_turn",
                f'turn {place} has "{key}": {value}, but every answer of a record is taught; take '
                "the key away where that is meant",
            )


def _reasoning(place: int, role: Role, turn: Mapping[str, Any]) -> str:
    if role != "assistant":
        return ""
    found = next((turn[key] for key in REASONING_KEYS if turn.get(key)), "")
    if not isinstance(found, str):
        raise Unusable("bad_turn", f"turn {place + 1}: its reasoning is no text: {found!r}"[:200])
    return found.strip()


def _rest(turn: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """What a turn and its texts carry beside role and text."""
    for name, value in turn.items():
        if name not in ("from", "value", "role", "content", *REASONING_KEYS):
            yield name, value
    content = turn.get("content") if turn.get("content") is not None else turn.get("value")
    for part in content if isinstance(content, list) else ():
        if isinstance(part, dict) and part.get("type") == "text":
            yield from ((k, value) for k, value in part.items() if k not in ("type", "text"))


def _part(place: int, part: Any) -> str | Medium:
    if isinstance(part, str):
        return part
    kind = part.get("type") if isinstance(part, dict) else None
    if kind == "text" and isinstance(part.get("text"), str):
        return part["text"]
    if isinstance(kind, str) and kind in _PART_KINDS:
        values = (part.get(key) for key in (kind, "path", "url"))
        value = next((value for value in values if value is not None), None)
        if value is None:
            return f"<{_PART_KINDS[kind]}>"
        return part_medium(_PART_KINDS[kind], value, part)
    raise Unusable(
        "bad_turn",
        f"turn {place} has a content part that is neither text nor one of {sorted(_PART_KINDS)}: "
        f"{part!r}"[:300],
    )
