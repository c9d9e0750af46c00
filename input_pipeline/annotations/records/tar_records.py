"""Records of a WebDataset tar: neighbouring members whose names are alike up to the first dot.

    000017.json   000017.mp4   000018.json   000018.0.jpg   000018.1.jpg

The fields of the .json are the record's. Texts (.txt, .cls) stand under their endings, as does all
else, whose bytes stay where they are; of these, clips are the record's "video" and pictures its
"image", in the order of the tar. A reference says where in the tar a member begins, so that none is
searched for: the tar is gone through once, when it is prepared.
"""

import functools
import hashlib
import json
import os
import re
import sys
import tarfile
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

from input_pipeline.annotations.records.json_records import MAX_RECORD_BYTES
from input_pipeline.annotations.records.opening import open_binary
from input_pipeline.annotations.records.reference import InRecord, make_reference
from input_pipeline.annotations.rejected import AnnotationError, Rejected
from input_pipeline.paths import is_remote

_HEADER_BYTES = tarfile.BLOCKSIZE
_MAGIC = slice(257, 262)  # "ustar", in all but the oldest tars
_TEXTS = re.compile(r"(?:.*\.)?(?:txt|text|caption|cls|id|transcript)")
_MEDIA = {
    "video": re.compile(r"(?:.*\.)?(?:mp4|m4v|mov|mkv|webm|avi|mpe?g|flv|ogv|gif)"),
    "image": re.compile(r"(?:.*\.)?(?:jpe?g|png|webp|bmp)"),
}


class _Member(NamedTuple):
    """ending: behind the first dot of its name. offset, size: of its bytes in the tar."""

    ending: str
    offset: int
    size: int


def is_tar(start: bytes) -> bool:
    """Whether a file is a tar, by its first header."""
    return len(start) >= _HEADER_BYTES and start[_MAGIC] == b"ustar"


def read(path: str) -> Iterator[tuple[int, Any]]:
    """(record from 1, its fields or Rejected) in the order of the tar. Raises AnnotationError."""
    with open_binary(path) as file:
        for row, (key, members) in enumerate(_groups(path)):
            yield row + 1, _record(file, path, row, key, members)


def count(path: str) -> int:
    """The number of records. Raises AnnotationError."""
    return len(_groups(path))


def fingerprint(path: str) -> str:
    """A hash of place, size and time of change: the content is terabytes of media."""
    if is_remote(path):
        with open_binary(path) as file:
            stamp = f"{path} {file.seek(0, os.SEEK_END)}"
    else:
        status = os.stat(path)
        stamp = f"{os.path.abspath(path)} {status.st_size} {status.st_mtime_ns}"
    return hashlib.sha256(stamp.encode()).hexdigest()


def unit(path: str) -> str:
    """What one record is called."""
    return "sample"


def read_bytes(path: str, row: int, column: tuple[str, ...]) -> bytes:
    """The bytes of a member, whose reference has its place. Raises OSError or LookupError."""
    try:
        name, offset, size = column[0], int(column[1]), int(column[2])
    except (IndexError, ValueError):
        raise LookupError(f"{path}: {'/'.join(column)!r} is no <ending>/<offset>/<size>") from None
    try:
        with open_binary(path) as file:
            file.seek(offset - _HEADER_BYTES)
            header = file.read(_HEADER_BYTES)
            data = file.read(size)
    except AnnotationError as error:
        raise OSError(str(error)) from error
    if header[_MAGIC] != b"ustar" or len(data) < size:
        raise LookupError(f"{path}, sample {row + 1}: no {name} at byte {offset}; it has changed")
    return data


def _groups(path: str) -> list[tuple[str, list[_Member]]]:
    """Keys and members of the records, once for counting and reading."""
    return _scanned(path, fingerprint(path))


@functools.lru_cache(maxsize=1)
def _scanned(path: str, stamp: str) -> list[tuple[str, list[_Member]]]:
    groups: list[tuple[str, list[_Member]]] = []
    with open_binary(path) as file:
        try:
            with tarfile.open(fileobj=file, mode="r:") as tar:
                for member in tar:
                    # tarfile keeps them all, at a kilobyte each
                    tar.members = []  # type: ignore[attr-defined]
                    folder, name = os.path.split(member.name)
                    stem, _, ending = name.partition(".")
                    if not member.isreg() or not stem:  # ".DS_Store" and the like
                        continue
                    key = os.path.join(folder, stem)
                    if not groups or groups[-1][0] != key:
                        groups.append((key, []))
                    found = _Member(sys.intern(ending.lower()), member.offset_data, member.size)
                    groups[-1][1].append(found)
        except tarfile.TarError as error:
            raise AnnotationError(
                f"annotation file {path} is not a whole tar ({error}): fetch it again"
            ) from error
    return groups


def _record(file: BinaryIO, path: str, row: int, key: str, members: list[_Member]) -> Any:
    fields: dict[str, Any] = {}
    media: dict[str, list[InRecord]] = {kind: [] for kind in _MEDIA}
    for ending, offset, size in members:
        if ending.endswith("json") or _TEXTS.fullmatch(ending):
            value = _text(file, offset, size)
            if isinstance(value, str) and ending.endswith("json"):
                value = _parsed(value)
            if value is None:
                detail = f"{path}, sample {row + 1} ({key}): its .{ending} cannot be read"
                return Rejected(row + 1, key, "bad_json", detail, path)
            fields |= value if ending == "json" and isinstance(value, dict) else {ending: value}
            continue
        reference = make_reference(path, row, (ending, str(offset), str(size)))
        kind = next((kind for kind, form in _MEDIA.items() if form.fullmatch(ending)), None)
        if kind:
            media[kind].append(reference)
        else:
            fields[ending] = reference
    for kind, found in media.items():
        if found:
            fields.pop(f"{kind}s", None)  # where they lay before they were packed
            fields[kind] = found[0] if len(found) == 1 else found
    return {"id": key} | fields


def _text(file: BinaryIO, offset: int, size: int) -> str | None:
    if size > MAX_RECORD_BYTES:
        return None
    file.seek(offset)
    try:
        return file.read(size).decode("utf-8-sig")
    except UnicodeDecodeError:
        return None


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
