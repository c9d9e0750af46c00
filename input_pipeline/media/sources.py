"""Where the bytes of a medium come from: a local file, a record, a remote file, a frame folder.

Everything is read through a seekable binary file, never through a temporary one, and nothing is
read that is larger than its bound. `MediaRef` says how a source is written.
"""

import collections
import contextlib
import dataclasses
import hashlib
import io
import os
import re
import stat
import threading
from collections.abc import Iterator
from typing import BinaryIO

from input_pipeline.media.errors import MediaError

# A file: or a chained URL would lead around the data set's media root.
REMOTE_SCHEMES = frozenset({"gs", "gcs", "s3", "http", "https", "hf", "az", "abfs"})
RECORD_PREFIX = "record:"
DEFAULT_FOLDER_FPS = 1.0
FOLDER_ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
MAX_FOLDER_FILES = 2_000_000

_WHOLE_BYTES = 16 * 2**20  # a remote file up to this size is fetched in one piece, and kept
_KEPT_BYTES = 128 * 2**20  # of such files, in one process
_BLOCK_BYTES = 4 * 2**20  # larger ones are read in blocks where they are needed
_KEPT_BLOCKS = 16
_FINGERPRINT_BYTES = 2**16  # at either end


@dataclasses.dataclass(frozen=True)
class FrameFolder:
    """The pictures of a clip as files, in the natural order of their names ("9" before "10")."""

    files: tuple[str, ...]
    fps: float


@contextlib.contextmanager
def open_source(path: str, max_bytes: int) -> Iterator[BinaryIO]:
    """A medium's bytes as a seekable file, at its beginning.

    Raises MediaError when they are not there, cannot be read or are more than `max_bytes`.
    """
    if path.startswith(RECORD_PREFIX):
        data = _read_record(path)
        _check_size(path, len(data), max_bytes)
        yield io.BytesIO(data)
    elif "://" in path:
        with _open_remote(path, max_bytes) as file:
            yield file
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


def size_of(file: BinaryIO) -> int:
    """Bytes of a seekable file; leaves it at its beginning."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    return size


def fingerprint(path: str, max_bytes: int) -> str:
    """Hexadecimal digest of what a medium is: size, both ends and time of change of a local file;
    all bytes of what has no time and comes in one piece; size and both ends of the rest.

    Raises MediaError.
    """
    digest = hashlib.blake2b(digest_size=16)
    with open_source(path, max_bytes) as file:
        try:
            size = size_of(file)
            whole = not is_local(path) and size <= _WHOLE_BYTES
            head = size if whole else _FINGERPRINT_BYTES
            digest.update(str(size).encode() + b" " + file.read(head))
            if size > head:
                file.seek(max(head, size - head))
                digest.update(file.read(head))
        except OSError as error:
            raise MediaError(path, "unreadable", str(error)) from error
    if is_local(path):
        digest.update(str(os.stat(path).st_mtime_ns).encode())
    return digest.hexdigest()


# ── Local files and folders. ────────────────────────────────────────────────────────────────────


def is_local(path: str) -> bool:
    """Whether the source is a file or folder of this machine's file system."""
    return "://" not in path and not path.startswith(RECORD_PREFIX)


def is_frame_folder(path: str) -> bool:
    """Whether the source is a folder, with or without a frame rate."""
    return is_local(path) and os.path.isdir(_split_rate(path)[0])


def frame_folder(path: str) -> FrameFolder:
    """The pictures of a frame folder: its files with the endings of pictures, but for hidden ones.

    path: "<folder>" or "<folder>?fps=<frames a second>". Raises MediaError.
    """
    folder, fps = _split_rate(path)
    try:
        names = [name for name in os.listdir(folder) if _is_picture_name(name)]
    except OSError as error:
        raise MediaError(path, "unreadable", str(error)) from error
    if not names:
        raise MediaError(path, "no_frames", f"a folder without {FOLDER_ENDINGS} files")
    if len(names) > MAX_FOLDER_FILES:
        raise MediaError(path, "too_long", f"more than {MAX_FOLDER_FILES} files")
    names.sort(key=natural_order)
    return FrameFolder(tuple(os.path.join(folder, name) for name in names), fps)


def natural_order(name: str) -> list[tuple[int, str]]:
    """Sort key that reads runs of digits as numbers."""
    pieces = re.split(r"(\d+)", name)
    return [(int(p), p) if p.isdecimal() and p.isascii() else (-1, p) for p in pieces]


def _is_picture_name(name: str) -> bool:
    return name.lower().endswith(FOLDER_ENDINGS) and not name.startswith(".")


def _split_rate(path: str) -> tuple[str, float]:
    folder, mark, rate = path.rpartition("?fps=")
    if not mark:
        return path, DEFAULT_FOLDER_FPS
    try:
        fps = float(rate)
    except ValueError:
        fps = 0.0
    if not 0 < fps <= 1000:
        raise MediaError(path, "bad_source", f"fps={rate}: wanted a number in (0, 1000]")
    return folder, fps


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
    _check_size(path, status.st_size, max_bytes)
    if not os.access(path, os.R_OK):
        raise MediaError(path, "unreadable", "no permission to read the file")


def _check_size(path: str, size: int, max_bytes: int) -> None:
    if size == 0:
        raise MediaError(path, "empty", "there are no bytes")
    if size > max_bytes:
        raise MediaError(path, "too_large", f"{size} bytes, the bound is {max_bytes} bytes")


def _read_record(path: str) -> bytes:
    # Not at the top: a decoder process starts in half the time without pyarrow.
    from input_pipeline.annotations.records import read_record_bytes
    from input_pipeline.annotations.rejected import AnnotationError

    try:
        return read_record_bytes(path)
    except (OSError, AnnotationError) as error:
        raise MediaError(path, "unreadable", str(error)) from error
    except LookupError as error:
        raise MediaError(path, "bad_record", str(error)) from error
    except ValueError as error:
        raise MediaError(path, "bad_source", str(error)) from error


# ── Remote files. ───────────────────────────────────────────────────────────────────────────────


@contextlib.contextmanager
def _open_remote(path: str, max_bytes: int) -> Iterator[BinaryIO]:
    """A remote file: whole from memory if it is small, else in blocks as they are asked for."""
    kept = _small_files.get(path)
    if kept is not None:
        _check_size(path, len(kept), max_bytes)
        yield io.BytesIO(kept)
        return
    with contextlib.ExitStack() as stack:
        with _remote_errors(path):
            file = stack.enter_context(_connect(path))
            size = file.size if file.seekable() else None
            if size is not None:
                _check_size(path, size, max_bytes)
            whole = size is None or size <= _WHOLE_BYTES
            data = file.read(max_bytes + 1 if size is None else size) if whole else b""
        if not whole:
            yield _RemoteFile(file)
            return
        _check_size(path, len(data), max_bytes)
        if len(data) <= _WHOLE_BYTES:
            _small_files.put(path, data)
    yield io.BytesIO(data)


def _connect(path: str):
    """An fsspec file; only connections of known kinds are made."""
    scheme = path.partition("://")[0]
    if scheme not in REMOTE_SCHEMES or "::" in path:
        known = ", ".join(sorted(REMOTE_SCHEMES))
        raise MediaError(path, "bad_source", f"remote files are read from {known} alone")
    try:
        import fsspec  # not at the top: most data is local
    except ImportError as error:
        raise MediaError(path, "missing_package", "remote files need `pip install fsspec`") from (
            error
        )
    system, place = fsspec.core.url_to_fs(path)
    options = {"maxblocks": _KEPT_BLOCKS}
    return system.open(
        place, "rb", block_size=_BLOCK_BYTES, cache_type="blockcache", cache_options=options
    )


@contextlib.contextmanager
def _remote_errors(path: str) -> Iterator[None]:
    """Whatever a storage library raises becomes a MediaError."""
    try:
        yield
    except MediaError:
        raise
    except ImportError as error:  # of fsspec: which package the scheme needs
        raise MediaError(path, "missing_package", str(error)) from error
    except (FileNotFoundError, IsADirectoryError) as error:
        raise MediaError(path, "missing", str(error) or "no such object") from error
    except Exception as error:
        raise MediaError(path, "unreadable", f"{type(error).__name__}: {error}") from error


class _RemoteFile(io.RawIOBase):
    """An open remote file whose errors are OSErrors, whatever the storage library raises."""

    def __init__(self, file):
        self._file = file

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        try:
            return self._file.read(size)
        except OSError:
            raise
        except Exception as error:
            raise OSError(f"{type(error).__name__}: {error}") from error

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


class _KeptFiles:
    """Contents of the last small remote files, up to a number of bytes; safe to share."""

    def __init__(self, max_bytes: int):
        self._max_bytes = max_bytes
        self._files: collections.OrderedDict[str, bytes] = collections.OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def get(self, path: str) -> bytes | None:
        with self._lock:
            if path in self._files:
                self._files.move_to_end(path)
            return self._files.get(path)

    def put(self, path: str, data: bytes) -> None:
        with self._lock:
            self._bytes += len(data) - len(self._files.pop(path, b""))
            self._files[path] = data
            while self._bytes > self._max_bytes:
                self._bytes -= len(self._files.popitem(last=False)[1])


_small_files = _KeptFiles(_KEPT_BYTES)
