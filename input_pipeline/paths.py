"""Where a path leads: to a place of this machine's file system, or to an address."""

import re
from pathlib import Path

_IN_ARCHIVE = re.compile(r"(.+?\.(?:zip|tar)(?:\.[\w.]+)?)::(.+)", re.IGNORECASE | re.DOTALL)


def is_remote(path: str) -> bool:
    """Whether a path is an address such as gs://bucket/file."""
    return "://" in path


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


def in_archive(path: str) -> tuple[str, str] | None:
    """(archive, member) of "<archive>::<member>", as in "clips.zip::data/a.mp4"; None for a path of
    any other form. Archives are files of this machine."""
    found = None if is_remote(path) else _IN_ARCHIVE.fullmatch(path)
    return (found[1], found[2]) if found else None
