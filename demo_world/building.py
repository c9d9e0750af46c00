"""A folder of generated files that is there whole or not at all, and is built once."""

import glob
import hashlib
import json
import os
import shutil
import socket
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

SUMMARY = "world.json"  # what a folder holds: how it was described, and a hash over its files


def build_whole(
    directory: str | os.PathLike[str],
    what: str,
    described: Mapping[str, Any],
    build: Callable[[Path], Mapping[str, Any]],
) -> Path:
    """The folder that is `described`: the one that is there, or what `build` writes anew.

    Built in a sibling directory and renamed when complete, so a half-built folder is never seen;
    what a killed build left there goes when the next one begins on the same host. A folder that is
    described otherwise, or is damaged, is replaced.

    what: how messages call it. described: JSON values that decide every file. build: fills the
    folder that it is given, and returns what else the summary says.

    Raises FileExistsError when `directory` holds something else.
    """
    root = Path(directory).absolute()
    if _is_complete(root, described):
        return root
    if root.exists() and not (root / SUMMARY).exists() and any(root.iterdir()):
        raise FileExistsError(f"{root} is not empty and not a {what}: choose another")
    root.parent.mkdir(parents=True, exist_ok=True)
    begun = f".{root.name}.building-{socket.gethostname()}-"
    _remove_left(root.parent, begun)
    building = root.parent / f"{begun}{os.getpid()}"
    try:
        found = build(building)
        summary = {**described, **found, "sha256": _content_hash(building)}
        (building / SUMMARY).write_text(json.dumps(summary, indent=2) + "\n")
        _swap_in(building, root, described)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return root


def write_annotations(path: Path, records: Sequence[Mapping[str, Any]]) -> None:
    """A JSON list where the path ends in .json, else JSON lines."""
    lines = [json.dumps(record, ensure_ascii=False) for record in records]
    text = "\n".join(lines) + "\n" if lines else ""
    if path.suffix == ".json":
        text = "[\n" + ",\n".join(lines) + "\n]\n"
    path.write_text(text, encoding="utf-8")


def _content_hash(root: Path) -> str:
    """sha256 over the names and bytes of everything but the summary."""
    digest = hashlib.sha256()
    for path in sorted(p for p in root.rglob("*") if p.is_file() and p != root / SUMMARY):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0")
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _is_complete(root: Path, described: Mapping[str, Any]) -> bool:
    if not (root / SUMMARY).is_file():
        return False
    try:
        summary = json.loads((root / SUMMARY).read_bytes())
    except ValueError:  # damaged
        return False
    same = all(summary.get(key) == value for key, value in described.items())
    return same and summary.get("sha256") == _content_hash(root)


def _remove_left(folder: Path, begun: str) -> None:
    """Removes what builds of this host that were killed have left."""
    for left in folder.glob(f"{glob.escape(begun)}*"):
        process = left.name[len(begun) :].partition("-")[0]
        if process == str(os.getpid()) or process.isdecimal() and _has_ended(int(process)):
            shutil.rmtree(left, ignore_errors=True)


def _has_ended(process: int) -> bool:
    try:
        os.kill(process, 0)
    except OSError as error:  # or it runs, as another user
        return isinstance(error, ProcessLookupError)
    return False


def _swap_in(building: Path, root: Path, described: Mapping[str, Any]) -> None:
    """Renames the built folder into place, moving an old one out of the way first."""
    old = building.with_name(building.name + "-old")
    if root.exists():
        os.rename(root, old)
    try:
        os.rename(building, root)
    except OSError:
        # Another process may have put the same folder there in the meantime.
        if not _is_complete(root, described):
            raise
    shutil.rmtree(old, ignore_errors=True)
