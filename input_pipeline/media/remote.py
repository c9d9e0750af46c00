"""Remote files, of whatever storage fsspec knows: the small ones whole and kept, the large ones in
blocks where they are needed."""

import collections
import contextlib
import io
import os
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

from input_pipeline.media import bounds
from input_pipeline.media.errors import MediaError

if TYPE_CHECKING:
    from fsspec.spec import AbstractBufferedFile

# A file: or a chained URL would lead around the data set's media root.
REMOTE_SCHEMES = frozenset({"gs", "gcs", "s3", "http", "https", "hf", "az", "abfs"})
WHOLE_BYTES = 16 * 2**20  # a remote file up to this size is fetched in one piece, and kept

_KEPT_BYTES = 128 * 2**20  # of such files, in one process
_BLOCK_BYTES = 4 * 2**20  # larger ones are read in blocks where they are needed
_KEPT_BLOCKS = 16


@contextlib.contextmanager
def open_remote(path: str, max_bytes: int) -> Iterator["io.BytesIO | _RemoteFile"]:
    """A remote file: whole from memory if it is small, else in blocks as they are asked for.

    Raises MediaError.
    """
    kept = _small_files.get(path)
    if kept is not None:
        bounds.check_bytes(path, len(kept), max_bytes)
        yield io.BytesIO(kept)
        return
    with contextlib.ExitStack() as stack:
        with _remote_errors(path):
            file = stack.enter_context(_connect(path))
            size = file.size if file.seekable() else None
            if size is not None:
                bounds.check_bytes(path, size, max_bytes)
            whole = size is None or size <= WHOLE_BYTES
            data = file.read(max_bytes + 1 if size is None else size) if whole else b""
        if not whole:
            yield _RemoteFile(file)
            return
        bounds.check_bytes(path, len(data), max_bytes)
        if len(data) <= WHOLE_BYTES:
            _small_files.put(path, data)
    yield io.BytesIO(data)


def _connect(path: str) -> "AbstractBufferedFile":
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

    def __init__(self, file: "AbstractBufferedFile"):
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
