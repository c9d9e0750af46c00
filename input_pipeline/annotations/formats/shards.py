"""Self-contained records that `input_pipeline.tfds_builder` writes.

{"examples": [Example JSON, …], "media": [bytes, …], "problems": [text, …]}: all examples over the
same media, which they name as "media/0", "media/1", …; a medium without bytes has a problem.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from input_pipeline.annotations.formats.medium import Medium
from input_pipeline.annotations.formats.parsed import Parsed
from input_pipeline.annotations.rejected import Unusable
from input_pipeline.examples import Example, MediaRef

WANTED = '"examples": [Example JSON, …], "media": [bytes, …]'
KEYS = frozenset({"examples", "media", "problems"})
_PREFIX = "media/"


def recognises(record: Mapping[str, Any]) -> bool:
    """Whether a record is of this format."""
    return isinstance(record.get("examples"), list) and isinstance(record.get("media"), list)


def split(record: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """One record for each example, with the example's own id."""
    for text in record["examples"]:
        example = {**record, "examples": None, "example": text}
        try:
            yield example | {"id": json.loads(text)["id"]}
        except (ValueError, KeyError, TypeError):
            yield example  # rejected when it is parsed


def parse(record: Mapping[str, Any]) -> Parsed:
    """Raises Unusable."""
    try:
        example = Example.from_json(record["example"])
    except (ValueError, KeyError, TypeError) as error:
        raise Unusable("bad_record", f"not an example: {error}") from error
    turns = [(turn.role, [_piece(part, record) for part in turn.parts]) for turn in example.turns]
    reasoning = {i: turn.reasoning for i, turn in enumerate(example.turns) if turn.reasoning}
    used = frozenset(record)
    return Parsed(turns, [], used, example.meta, exact=True, reasoning=reasoning)


def medium_name(index: int) -> str:
    """How an example names medium number `index` of its record."""
    return f"{_PREFIX}{index}"


def _piece(part: str | MediaRef, record: Mapping[str, Any]) -> str | Medium:
    if isinstance(part, str):
        return part
    media, number = record["media"], part.path.removeprefix(_PREFIX)
    if not number.isdigit() or int(number) >= len(media):
        raise Unusable("bad_media", f"{part.path!r} is not among the record's {len(media)} media")
    if media[int(number)] is None:
        raise Unusable("bad_media", f"left out of the record: {record['problems'][int(number)]}")
    return Medium(
        *(part.kind, media[int(number)], part.start_s, part.end_s, part.fps),
        nframes=part.nframes,
        min_pixels=part.min_pixels,
        max_pixels=part.max_pixels,
    )
