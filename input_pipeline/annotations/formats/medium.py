"""One medium as a record names it: where it is, and what the record says of it in numbers."""

import dataclasses
import itertools
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from input_pipeline.annotations.records import InRecord
from input_pipeline.annotations.rejected import Unusable
from input_pipeline.examples import MediaKind

MEDIA_KEYS: dict[str, MediaKind] = {
    "image": "image",
    "images": "image",
    "video": "video",
    "videos": "video",
}
# A clip of a video, from its first frame: seconds, or "00:01:20".
CLIP_KEYS = (("video_start", "video_end"), ("start", "end"), ("start_time", "end_time"))
# Of its frames and sizes. The rates are those of pictures in a folder or list, of a file how many
# frames a second are to be shown; "timestamps" are the times of listed pictures, or a clip.
NUMBER_KEYS = ("fps", "sample_fps", "timestamps", "nframes", "min_pixels", "max_pixels")

_PICTURE = re.compile(r".+\.(?:jpe?g|png|webp|bmp)", re.IGNORECASE | re.DOTALL)
_CLOCK = re.compile(r"\s*(?:(\d{1,3}):)?(\d{1,3}):(\d{1,2}(?:[.,]\d+)?)\s*")
_MOST_SECONDS = 1e7
_MOST_FRAMES = 2_000_000
_MOST_PIXELS = 2**31

_Span = tuple[float | None, float | None]


@dataclasses.dataclass(frozen=True)
class Medium:
    """An image or video as a record names it.

    path: as written, or a reference to bytes inside the record; "" for a list of frames.
    start_s, end_s: a clip, in seconds. fps: of a folder of frames; of a file, of those to show.
    frames, times: a video as a list of pictures, and their times in seconds.
    nframes, min_pixels, max_pixels: see `MediaRef`.
    """

    kind: MediaKind
    path: str
    start_s: float | None = None
    end_s: float | None = None
    fps: float | None = None
    frames: tuple[str, ...] = ()
    times: tuple[float, ...] = ()
    nframes: int | None = None
    min_pixels: int | None = None
    max_pixels: int | None = None


def record_media(record: Mapping[str, Any]) -> tuple[list[Medium], frozenset[str]]:
    """The media that a record names beside its text, and the keys that were used.

    "image", "images", "video" and "videos" hold one medium or a list; a list of pictures under
    "video", or in the list under "videos", is one video. The clip keys (see `clip_of`) say which
    part of the video; for several videos "clip" is a list of [start, end].
    """
    named = [
        (kind, value)
        for key, kind in MEDIA_KEYS.items()
        if record.get(key) is not None
        for value in _listed(kind, record[key])
    ]
    used = frozenset(MEDIA_KEYS)
    videos = sum(kind == "video" for kind, _ in named)
    clips = _clips(_cutting(record, [value for _, value in named]), videos) if videos else []
    if any(clip != (None, None) for clip in clips):
        used |= {"clip", "timestamps", *itertools.chain(*CLIP_KEYS)}
    spans = iter(clips)
    media = [
        _medium(kind, value, record, next(spans) if kind == "video" else (None, None))
        for kind, value in named
    ]
    return media, used | {"timestamps"} if any(each.times for each in media) else used


def part_medium(kind: MediaKind, value: Any, part: Mapping[str, Any]) -> Medium:
    """The medium of one content part, whose other keys may cut a clip out of it."""
    span = clip_of(_cutting(part, [value])) if kind == "video" else (None, None)
    return _medium(kind, value, part, span)


def _cutting(fields: Mapping[str, Any], media: Sequence[Any]) -> Mapping[str, Any]:
    """What may cut a clip: not the timestamps of listed pictures."""
    return {**fields, "timestamps": None} if any(map(_is_frames, media)) else fields


def _listed(kind: str, value: Any) -> list[Any]:
    """The media under a key."""
    if not isinstance(value, list):
        return [value]
    return [value] if kind == "video" and _is_frames(value) else value


def _is_frames(value: Any) -> bool:
    """Whether this is a list of pictures' names: the frames of one video."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(name, str) and _PICTURE.fullmatch(name) for name in value)
    )


def _medium(kind: MediaKind, value: Any, fields: Mapping[str, Any], span: _Span) -> Medium:
    """fields: of the record or part that names the medium."""
    nframes, low, high = _wanted(fields)
    if kind == "image":
        return Medium(kind, location(kind, value), min_pixels=low, max_pixels=high)
    whole = Medium(kind, "", *span, nframes=nframes, min_pixels=low, max_pixels=high)
    rate = _rate(fields)
    if not _is_frames(value):
        return dataclasses.replace(whole, path=location(kind, value), fps=rate)
    frames = tuple(location(kind, name) for name in value)
    times = _times(fields.get("timestamps"), len(frames), rate or 1.0)
    return dataclasses.replace(whole, frames=frames, times=times)


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


# ── Clips. ──────────────────────────────────────────────────────────────────────────────────────


def clip_of(fields: Mapping[str, Any]) -> _Span:
    """(start, end) in seconds of "clip": [start, end], of the first of `CLIP_KEYS` that is there,
    or of two "timestamps"; None where a side is open.

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
    return _pair(fields) or (None, None)


def _pair(fields: Mapping[str, Any]) -> _Span | None:
    """Two timestamps, which cut a clip out of a video; others are about it."""
    found = fields.get("timestamps")
    if isinstance(found, list) and len(found) == 2 and not any(isinstance(t, list) for t in found):
        return _span(*found)
    return None


def _clips(record: Mapping[str, Any], videos: int) -> list[_Span]:
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


def _span(start: Any, end: Any) -> _Span:
    first, last = _seconds(start), _seconds(end)
    if first is not None and last is not None and last <= first:
        raise Unusable("bad_clip", f"a clip from {start} s to {end} s has no length")
    return first, last


# ── Numbers: all that a record says of a medium is read here, within bounds. ────────────────────


def _number(value: Any) -> float | None:
    """A finite number, also where it is written as text; None for whatever else JSON may hold,
    integers beyond all floats too."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (OverflowError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _seconds(value: Any) -> float | None:
    if value is None:
        return None
    seconds = _number(value)
    if isinstance(value, str) and (clock := _CLOCK.fullmatch(value)):
        hours, minutes, rest = clock.groups()
        seconds = 3600 * int(hours or 0) + 60 * int(minutes) + float(rest.replace(",", "."))
    if seconds is None or not 0 <= seconds <= _MOST_SECONDS:
        found = f'a time is in seconds >= 0, or as "00:01:20", found {value!r}'
        raise Unusable("bad_clip", found[:200])
    return seconds


def _rate(fields: Mapping[str, Any]) -> float | None:
    rates = (_number(fields.get(key)) for key in ("sample_fps", "fps"))
    return next((rate for rate in rates if rate is not None and rate > 0), None)


def _times(stamps: Any, count: int, rate: float) -> tuple[float, ...]:
    """Seconds of so many listed pictures: their timestamps, or at a rate. Raises Unusable."""
    if stamps is None:
        return tuple(place / rate for place in range(count))
    if not isinstance(stamps, Sequence) or isinstance(stamps, str) or len(stamps) != count:
        raise Unusable("bad_media", f'"timestamps" must be {count} times, found {stamps!r:.100}')
    times = tuple(_seconds(stamp) or 0.0 for stamp in stamps)
    if any(late <= early for early, late in itertools.pairwise(times)):
        raise Unusable("bad_media", f'"timestamps" must rise, found {stamps!r:.100}')
    return times


def _wanted(fields: Mapping[str, Any]) -> tuple[int | None, int | None, int | None]:
    """nframes, min_pixels and max_pixels. Raises Unusable("bad_media")."""
    nframes = _whole(fields, "nframes", _MOST_FRAMES)
    low, high = (_whole(fields, key, _MOST_PIXELS) for key in ("min_pixels", "max_pixels"))
    if low and high and low > high:
        raise Unusable("bad_media", f"min_pixels {low} is more than max_pixels {high}")
    return nframes, low, high


def _whole(fields: Mapping[str, Any], key: str, most: int) -> int | None:
    if fields.get(key) is None:
        return None
    number = _number(fields[key])
    if number is None or not 1 <= number <= most or number != int(number):
        raise Unusable(
            "bad_media", f'"{key}" must be a whole number from 1 to {most}, found {fields[key]!r}'
        )
    return int(number)
