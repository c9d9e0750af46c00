"""Where the bytes of a medium come from: a local file, a record, an archive, a remote file.

Everything is read through a seekable binary file, never through a temporary one, and nothing is
read that is larger than its bound. `MediaRef` says how a source is written.
"""

import contextlib
import hashlib
import io
import os
import stat
from collections.abc import Iterator
from typing import Protocol

from input_pipeline.media.archives import archive_stamp, open_member
from input_pipeline.media.bounds import check_bytes
from input_pipeline.media.errors import MediaError
from input_pipeline.media.remote import WHOLE_BYTES, open_remote
from input_pipeline.paths import in_archive

RECORD_PREFIX = "record:"

_FINGERPRINT_BYTES = 2**16  # at either end


class SeekableFile(Protocol):
    """What is used of a binary file that is open for reading."""

    def read(self, size: int = -1, /) -> bytes: ...
    def seek(self, offset: int, whence: int = 0, /) -> int: ...
    def tell(self) -> int: ...


@contextlib.contextmanager
def open_source(path: str, max_bytes: int) -> Iterator[SeekableFile]:
    """A medium's bytes as a seekable file, at its beginning.

    Raises MediaError when they are not there, cannot be read or are more than `max_bytes`.
    """
    if path.startswith(RECORD_PREFIX):
        data = _read_record(path)
        check_bytes(path, len(data), max_bytes)
        yield io.BytesIO(data)
    elif "://" in path:
        with open_remote(path, max_bytes) as remote:
            yield remote
    elif in_archive(path):
        with open_member(path, max_bytes) as member:
            yield member
    else:
        _check_file(path, max_bytes)
        try:
            file = open(path, "rb")  # noqa: SIM115 (closed below; only the opening is guarded)
        except OSError as error:
            raise MediaError(path, "unreadable", str(error)) from error
        with file:
            yield file


def read_source(path: str, max_bytes: int) -> bytes:
    """All bytes of a medium. Raises MediaError."""
    with open_source(path, max_bytes) as file:
        try:
            return file.read()
        except OSError as error:
            raise MediaError(path, "unreadable", str(error)) from error


def size_of(file: SeekableFile) -> int:
    """Bytes of a seekable file; leaves it at its beginning."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    return size


def fingerprint(path: str, max_bytes: int) -> str:
    """Hexadecimal digest of what a medium is: size, both ends and time of change of a local file,
    or of the archive that it lies in;
    all bytes of what has no time and comes in one piece; size and both ends of the rest.

    Raises MediaError.
    """
    digest = hashlib.blake2b(digest_size=16)
    with open_source(path, max_bytes) as file:
        try:
            size = size_of(file)
            whole = not is_local(path) and size <= WHOLE_BYTES
            head = size if whole else _FINGERPRINT_BYTES
            digest.update(str(size).encode() + b" " + file.read(head))
            if size > head:
                file.seek(max(head, size - head))
                digest.update(file.read(head))
        except OSError as error:
            raise MediaError(path, "unreadable", str(error)) from error
    if is_local(path):
        digest.update(str(os.stat(path).st_mtime_ns).encode())
    elif in_archive(path):
        digest.update(archive_stamp(path).encode())
    return digest.hexdigest()


def is_local(path: str) -> bool:
    """Whether the source is a file or folder of this machine's file system."""
    return "://" not in path and not path.startswith(RECORD_PREFIX) and not in_archive(path)


def _check_file(path: str, max_bytes: int) -> None:
    """Raises MediaError unless `path` is a readable, non-empty regular file within the bound."""
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise MediaError(path, "missing", "no such file") from error
    except (OSError, ValueError) as error:
        raise MediaError(path, "unreadable", str(error)) from error
    if stat.S_ISDIR(status.st_mode):
        raise MediaError(path, "directory", "a directory where a media file was expected")
    if not stat.S_ISREG(status.st_mode):
        raise MediaError(path, "not_a_file", "a device, pipe or socket; reading it could hang")
    check_bytes(path, status.st_size, max_bytes)
    if not os.access(path, os.R_OK):
        raise MediaError(path, "unreadable", "no permission to read the file")


def _read_record(path: str) -> bytes:
    # Not at the top: a decoder process starts in half the time without pyarrow.
    from input_pipeline.annotations import AnnotationError, read_record_bytes

    try:
        return read_record_bytes(path)
    except (OSError, AnnotationError) as error:
        raise MediaError(path, "unreadable", str(error)) from error
    except LookupError as error:
        raise MediaError(path, "bad_record", str(error)) from error
    except ValueError as error:
        raise MediaError(path, "bad_source", str(error)) from error
