"""What every annotation format is read into, before it is checked: `Parsed`."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from input_pipeline.annotations.records import InRecord
from input_pipeline.annotations.rejected import Unusable
from input_pipeline.examples import MediaKind, Role

MEDIA_KEYS: dict[str, MediaKind] = {
    "image": "image",
    "images": "image",
    "video": "video",
    "videos": "video",
}
# A clip of a video, in seconds from its first frame.
CLIP_KEYS = (("video_start", "video_end"), ("start", "end"))


@dataclasses.dataclass(frozen=True)
class Medium:
    """An image or video as a record names it.

    path: as written, or a reference to bytes inside the record. fps: of a folder of frames.
    """

    kind: MediaKind
    path: str
    start_s: float | None = None
    end_s: float | None = None
    fps: float | None = None


@dataclasses.dataclass(frozen=True)
class Parsed:
    """A record as its format understands it.

    turns: (role, pieces); a text may hold <image> and <video> tags.
    media: those of the record, which go to the tags of their kind in order.
    used:  the record's keys that are accounted for; the others become metadata.
    meta:  further metadata.
    exact: the texts have been stripped of the space around media before.
    unread: what turns and their content parts carry and nothing reads, by the way to it.
    reasoning: what answers think before their text, by the place of the turn from 0.
    """

    turns: list[tuple[Role, list[str | Medium]]]
    media: list[Medium]
    used: frozenset[str]
    meta: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    exact: bool = False
    unread: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    reasoning: Mapping[int, str] = dataclasses.field(default_factory=dict)


def record_media(record: Mapping[str, Any]) -> tuple[list[Medium], frozenset[str]]:
    """The media that a record names beside its text, and the keys that were used.

    "image", "images", "video" and "videos" hold one medium or a list. The clip keys (see
    `clip_of`) say which part of the video; for several videos "clip" is a list of [start, end].
    """
    named = [
        (kind, value)
        for key, kind in MEDIA_KEYS.items()
        if record.get(key) is not None
        for value in (record[key] if isinstance(record[key], list) else [record[key]])
    ]
    used = frozenset(MEDIA_KEYS)
    videos = sum(kind == "video" for kind, _ in named)
    clips = _clips(record, videos) if videos else []
    if any(clip != (None, None) for clip in clips):
        used |= {"clip", *(key for pair in CLIP_KEYS for key in pair)}
    spans = iter(clips)
    fps = _fps(record)
    return [
        Medium(kind, location(kind, value), *next(spans), fps)
        if kind == "video"
        else Medium(kind, location(kind, value))
        for kind, value in named
    ], used


def part_medium(kind: MediaKind, value: Any, part: Mapping[str, Any]) -> Medium:
    """The medium of one content part, whose other keys may cut a clip out of it."""
    if kind == "image":
        return Medium(kind, location(kind, value))
    return Medium(kind, location(kind, value), *clip_of(part), _fps(part))


def location(kind: str, value: Any) -> str:
    """The path or reference of a medium: a string, or {"bytes", "path"} as Hugging Face data sets
    have it, or {"url"} as in OpenAI messages.

    Raises Unusable("bad_media").
    """
    if isinstance(value, Mapping):
        inside = value.get("bytes")
        value = inside if isinstance(inside, InRecord) else value.get("path") or value.get("url")
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise Unusable(
            "bad_media", f'"{kind}" must be a path or a list of paths, found {value!r}'[:300]
        )
    if value.startswith("data:"):
        raise Unusable(
            "bad_media",
            f"{value[:40]!r}… holds the bytes themselves: save them as files, or use Parquet",
        )
    return value if isinstance(value, InRecord) else value.removeprefix("file://")


def clip_of(fields: Mapping[str, Any]) -> tuple[float | None, float | None]:
    """(start, end) in seconds of "clip": [start, end], "video_start" and "video_end", or "start"
    and "end"; None where a side is open.

    Raises Unusable("bad_clip").
    """
    if fields.get("clip") is not None:
        clip = fields["clip"]
        if not isinstance(clip, list) or len(clip) != 2:
            raise Unusable("bad_clip", f'"clip" must be [start, end] in seconds, found {clip!r}')
        return _span(*clip)
    for start, end in CLIP_KEYS:
        if fields.get(start) is not None or fields.get(end) is not None:
            return _span(fields.get(start), fields.get(end))
    return None, None


def _clips(record: Mapping[str, Any], videos: int) -> list[tuple[float | None, float | None]]:
    clip = record.get("clip")
    if isinstance(clip, list) and clip and all(isinstance(item, list) for item in clip):
        if len(clip) != videos:
            raise Unusable("bad_clip", f"{len(clip)} clips for {videos} videos")
        return [clip_of({"clip": item}) for item in clip]
    found = clip_of(record)
    if videos > 1 and found != (None, None):
        raise Unusable(
            "bad_clip", f'one clip for {videos} videos: write "clip": [[start, end], …], one each'
        )
    return [found] * videos


def _span(start: Any, end: Any) -> tuple[float | None, float | None]:
    span = _seconds(start), _seconds(end)
    if start is not None and end is not None and end <= start:
        raise Unusable("bad_clip", f"a clip from {start} s to {end} s has no length")
    return span


def _seconds(value: Any) -> float | None:
    seconds = _finite(value)
    if value is not None and (seconds is None or seconds < 0):
        found = f"a clip's start and end are seconds >= 0, found {value!r}"
        raise Unusable("bad_clip", found[:200])
    return seconds


def _fps(fields: Mapping[str, Any]) -> float | None:
    rate = _finite(fields.get("fps"))
    return rate if rate is not None and rate > 0 else None


def _finite(value: Any) -> float | None:
    """A finite number; None for whatever else JSON may hold, integers beyond all floats too."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
