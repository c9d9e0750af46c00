"""Where a path leads: to a place of this machine's file system, or to an address."""

from pathlib import Path


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
