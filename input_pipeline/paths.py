"""Where a path leads: to a place of this machine's file system, or to an address."""

import json
import os
import posixpath
import re
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import unquote

_IN_ARCHIVE = re.compile(r"(.+?\.(?:zip|tar)(?:\.[\w.]+)?)::(.+)", re.IGNORECASE | re.DOTALL)

_FRAME_LIST = "frames:"
_MOST_DECODINGS = 8  # "%2525252e" is decoded four times until it is a dot; nobody means more


def is_remote(path: str) -> bool:
    """Whether a path is an address such as gs://bucket/file."""
    return "://" in path


def user_cache() -> Path:
    """Where this program keeps what is its user's: in the user's cache, as the XDG base directory
    specification has it."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vsft-jax"


def located(path: str, root: str | Path) -> str:
    """Where a path of a config leads: an address or an absolute path.

    path: an address or an absolute path stays what it is; a relative path starts at the root.
    root: an absolute path or an address.
    """
    if is_remote(path):
        return path
    if is_remote(str(root)) and not Path(path).is_absolute():
        return f"{str(root).rstrip('/')}/{path}" if path else str(root)
    return str((Path(root) / path).absolute())


def below(path: str, root: str) -> str:
    """Where a path of a record leads, which must be below `root`: relative to it, or whole.

    root: an absolute path or an address. An address must stay below it however much a server or a
    library between decodes and normalises: percent signs, also repeated, backslashes, look-alikes
    of dots and slashes, parameters behind ";".

    Raises ValueError where it leads out.
    """
    if not is_remote(root):
        full = os.path.normpath(os.path.join(root, path))
        if os.path.commonpath([root, full]) != root or full == root:
            raise ValueError(f"{path!r} leads out of {root}")
        return full
    scheme, _, top = root.partition("://")
    top = posixpath.normpath(top)
    inside = path.removeprefix(f"{scheme}://") if is_remote(path) else f"{top}/{path}"
    tops = set(_readings(top))
    for reading in _readings(inside):
        if is_remote(inside) or not any(reading.startswith(f"{each}/") for each in tops):
            raise ValueError(f"{path!r} leads out of {root}")
    return f"{scheme}://{posixpath.normpath(inside)}"


def _readings(place: str) -> Iterator[str]:
    """An address without its scheme as anyone may read it, normalised: as it is written, and after
    each decoding. Raises ValueError where there is no end to them."""
    for _ in range(_MOST_DECODINGS):
        yield posixpath.normpath(place)
        plain = unicodedata.normalize("NFKC", re.sub(r"[\0-\x1f\x7f]", "", place))
        yield posixpath.normpath(re.sub(r";[^/]*", "", plain.replace("\\", "/")))
        decoded = unquote(plain)
        if decoded == place:
            return
        place = decoded
    raise ValueError(f"{place[:100]!r} is encoded more than {_MOST_DECODINGS} times")


def in_archive(path: str) -> tuple[str, str] | None:
    """(archive, member) of "<archive>::<member>", as in "clips.zip::data/a.mp4"; None for a path of
    any other form. Archives are files of this machine."""
    found = None if is_remote(path) else _IN_ARCHIVE.fullmatch(path)
    return (found[1], found[2]) if found else None


def frame_list(files: Sequence[str], times: Sequence[float]) -> str:
    """The path of a video that is a list of pictures: each a path of its own, with its time in
    seconds."""
    return _FRAME_LIST + json.dumps([list(files), list(times)], ensure_ascii=False)


def in_frame_list(path: str) -> tuple[list[str], list[float]] | None:
    """(files, times) of what `frame_list` made; None for a path of any other form."""
    if not path.startswith(_FRAME_LIST):
        return None
    files, times = json.loads(path.removeprefix(_FRAME_LIST))
    return files, times
