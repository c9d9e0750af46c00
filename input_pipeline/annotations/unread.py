"""Keys that nothing reads although they look as if something should: "vidoe", "video_id", "imgs".

What else a record carries is metadata. But an example whose clip stands under another name would
be trained on as text, without a word.
"""

import difflib
import functools
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from input_pipeline.annotations.records import InRecord


def _all(words: str) -> frozenset[str]:
    return frozenset(words.split())


# A key names a medium when it is such a word, with an adjective before it and words for a name
# behind it: "video", "source_video", "imgs", "videoID", "clip_path", "frames_dir". Anything else
# is about the record: "video_duration", "num_frames", "image_width".
_VIDEO, _IMAGE = ("video",), ("image",)
_KINDS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(_all("video videos vid vids clip clips gif gifs frame frames"), _VIDEO),
    **dict.fromkeys(_all("mp4 webm youtube yt"), _VIDEO),
    **dict.fromkeys(_all("image images img imgs picture pictures pic pics"), _IMAGE),
    **dict.fromkeys(_all("photo photos jpg jpeg png"), _IMAGE),
    "media": (*_VIDEO, *_IMAGE),
}
# Of a record without media these may name one, and may be about its text as well.
_VAGUE = _all("scene scenes segment segments visual visuals footage recording path file filename")
_VAGUE |= _all("filepath")
_ADJECTIVES = _all("source src input original orig raw local yt youtube")
_IDS = _all("id ids uid uids uuid key")
_PLACES = _all("idx index")  # names where they are texts: EgoSchema's "video_idx"
_NAMES = _IDS | _all(
    "path paths file files filename filenames name names url urls uri link dir folder list bytes "
    "data"
)
_MEDIA_FILE = re.compile(
    r"[^\n]*[^\s./]\.(?:(?P<image>jpe?g|jfif|png|apng|webp|bmp|avif|hei[cf]|tiff?)"
    r"|mp4|m4v|mov|mkv|webm|avi|mpe?g|wmv|flv|ogv|gif|3gp|m2ts|mxf|vob)(\?\S*)?"
    r"|https?://(www\.|m\.)?(youtube\.com/watch|youtu\.be/)\S+",
    re.IGNORECASE,
)
_ENDINGS = {"video": (".mp4", ".mkv", ".webm", ".avi", ".mov"), "image": (".jpg", ".png", ".jpeg")}
_FORMS = ["video{}.mp4", "v_{}.mp4", "v_{}.mkv", "v_{}.webm", "{}"]  # of MSR-VTT, of ActivityNet
# What other formats call the keys that are read here.
_OTHER_NAMES = {
    "conversations": "dialog dialogue dialogs dialogues turns chat chats talk",
    "question": "query q prompt instruction",
    "answer": "response a output answers label",
    "options": "option alternatives",
    "start": "start_time start_s start_sec start_second begin",
    "end": "end_time end_s end_sec end_second",
    "timestamps": "frame_timestamps frame_times times time_stamps",
}
_UNHEEDED = _all("resized_height resized_width total_pixels min_frames max_frames")
_MEDIA_WORDS = frozenset({"video", "videos", "image", "images"})
_READ_AS = {name: key for key, names in _OTHER_NAMES.items() for name in names.split()}
_TYPO = 0.8  # likeness of "vidoe" and "video"


class Unread(NamedTuple):
    """A field that nothing reads. key: the way to it, as in "meta.video_path". wanted: the keys
    that it may stand for."""

    key: str
    value: Any
    wanted: tuple[str, ...]

    def __str__(self) -> str:
        wanted = " or ".join(f'"{key}"' for key in self.wanted)
        value = "" if isinstance(self.value, list | dict) else f": {self.value!r:.80}"
        return f'"{self.key}"{value} is not read, did you mean {wanted}?'


def unread_medium(fields: Mapping[str, Any], vague: bool = False) -> Unread | None:
    """The first of these fields, or of those inside them, that names a medium: by its key and a
    value that can be a name, by a value that looks like a media file's, or because it is bytes.

    vague: keys count too that name other things as well, such as "scene" and "path".
    """
    for way, key, value in _walk(fields, (), ""):
        kinds = _kinds_of_key(key) if _can_name(value, key) else ()
        if kinds := kinds or _kinds_of_value(value) or (_vague(key, value) if vague else ()):
            return Unread(".".join(way), value, kinds)
    return None


def unheeded(record: Mapping[str, Any]) -> set[str]:
    """The keys in a record, or in what is inside it, that qwen-vl-utils reads of a medium and
    nothing here does."""
    return {key for _, key, _ in _walk(record, (), "")} & _UNHEEDED


def map_for(field: Unread, root: str) -> str:
    """The column map that reads such a field, for people: "columns": {"video": "{video_id}.mp4"}.

    root: of the media. A file there tells how their names are made of the field; without one the
    usual ending is taken.
    """
    kind = field.wanted[0]
    whole = re.sub(r"(\.\d+)+\Z", "", field.key)  # of a list all, not its first
    column = text = f"{{{whole}}}"
    if whole != field.key:
        return f'"columns": {{"{kind}": "{text}"}}'
    if not _kinds_of_value(field.value):
        forms = [f"{{}}{ending}" for ending in _ENDINGS[kind]] + _FORMS
        names = [(form, form.format(field.value)) for form in forms]
        there = (form for form, name in names if os.path.isfile(os.path.join(root, name)))
        text = next(there, forms[0]).format(column)
    return f'"columns": {{"{kind}": "{text}"}}'


def lookalikes(
    record: Mapping[str, Any], known: Collection[str], vague: bool = False
) -> Iterator[Unread]:
    """The record's top keys that are not known and may stand for a known key that it does not have.

    known: the keys that are read. vague: see `unread_medium`.
    """
    if vague:
        for key in record.keys() - known:
            if wanted := _vague(key, record[key]):
                yield Unread(key, record[key], wanted)
    suspects = _suspects(tuple(record), frozenset(known))
    absent = [name for name in known if record.get(name) is None] if suspects else []
    for key in suspects:
        value = record[key]
        if value is None or value == "":
            continue
        if wanted := _likely(key, value, absent):
            yield Unread(key, value, wanted)


@functools.lru_cache(4096)  # of millions of records most have the same keys
def _suspects(keys: tuple[str, ...], known: frozenset[str]) -> tuple[str, ...]:
    """The keys of which any value could stand for a known key."""
    return tuple(
        key
        for key in keys
        if key not in known
        and (_kinds_of_key(key) or "_".join(_words(key)) in _READ_AS or _typo_of(key, known))
    )


def _likely(key: str, value: Any, known: Collection[str]) -> tuple[str, ...]:
    kinds = _kinds_of_key(key)
    if kinds and _can_name(_first(value), key) and set(kinds).issubset(known):
        return kinds
    other = _READ_AS.get("_".join(_words(key)))
    if other and other in known:
        return (other,)
    near = _typo_of(key, frozenset(known))
    return (near,) if near else ()


@functools.lru_cache(4096)  # of millions of records most have the same keys
def _typo_of(key: str, known: frozenset[str]) -> str | None:
    """The known key that this one is likely to be a slip of the fingers for."""
    if len(words := _words(key)) > 1 and words[-1] in _IDS:
        return None  # "question_id" is no slip for "questions"
    plain = key.lower()
    swapped = [name for name in known if sorted(name) == sorted(plain)]
    near = swapped or difflib.get_close_matches(plain, sorted(known), 1, _TYPO)
    return near[0] if near and abs(len(near[0]) - len(key)) <= 2 else None


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, list) and value else value


def _walk(value: Any, way: tuple[str, ...], key: str) -> Iterator[tuple[tuple[str, ...], str, Any]]:
    """(way, nearest key, value) of every field; a list's items are fields of the list's key."""
    items: Iterable[tuple[str, str, Any]] = ()
    if isinstance(value, Mapping):
        items = ((str(k), str(k), v) for k, v in value.items())
    elif isinstance(value, list):
        items = ((str(i), key, v) for i, v in enumerate(value))
    for step, name, inner in items:
        yield (*way, step), name, inner
        yield from _walk(inner, (*way, step), name)


@functools.lru_cache(4096)
def _words(key: str) -> tuple[str, ...]:
    """ "videoID" and "video_id" → ("video", "id")."""
    spaced = re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", key)
    return tuple(word.lower() for word in re.split(r"[^A-Za-z0-9]+", spaced) if word)


@functools.lru_cache(4096)
def _kinds_of_key(key: str) -> tuple[str, ...]:
    """The keys that would have been read for a key that names a medium; none for other keys."""
    words = list(_words(key))
    while len(words) > 1 and words[0] in _ADJECTIVES and words[1] in _KINDS:
        del words[0]
    if not words:
        return ()
    first, *rest = words
    if not rest and first not in _KINDS:  # "videoid", "image1"
        for word in _KINDS:
            tail = first.removeprefix(word)
            if tail != first and (tail in _NAMES or tail.isdigit()):
                return _KINDS[word]
    if first in _KINDS:
        named = all(word in _NAMES | _PLACES or word.isdigit() for word in rest)
        return _KINDS[first] if named and (rest or first != "media") else ()
    near = None if rest else _typo_of(first, _MEDIA_WORDS)
    return _KINDS[near] if near else ()


def _vague(key: str, value: Any) -> tuple[str, ...]:
    """The keys that would have been read for a name under a vague key; none for other keys, and
    for a value that is no single word."""
    first, *rest = _words(key) or ("",)
    named = first in _VAGUE and all(word in _NAMES or word.isdigit() for word in rest)
    if not named or not _can_name(value, key) or len(str(value).split()) > 1:
        return ()
    return (*_VIDEO, *_IMAGE)


def _can_name(value: Any, key: str) -> bool:
    """Whether a value can be the name of a medium: a text, or a number under a key of ids."""
    if isinstance(value, str):
        return bool(value.strip())
    if isinstance(value, int) and not isinstance(value, bool):
        return bool(_IDS.intersection(_words(key))) or key.lower().endswith("id")
    return False


def _kinds_of_value(value: Any) -> tuple[str, ...]:
    """The same for a value: bytes, or the name of a media file or page."""
    if isinstance(value, InRecord):
        return (*_VIDEO, *_IMAGE)
    if isinstance(value, str) and (file := _MEDIA_FILE.fullmatch(value.strip())):
        return _IMAGE if file["image"] else _VIDEO
    return ()
