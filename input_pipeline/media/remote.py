"""Remote files, of whatever storage fsspec knows: the small ones whole and kept, the large ones in
blocks where they are needed.

What may be gone a moment later (a server that is busy, a connection that breaks, fewer bytes than
were announced) is tried again, and is an error of the server, never of the file.
"""

import collections
import contextlib
import fnmatch
import io
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeVar

from input_pipeline.media import bounds
from input_pipeline.media.errors import MediaError

if TYPE_CHECKING:
    import aiohttp
    from fsspec.spec import AbstractBufferedFile

# A file: or a chained URL would lead around the data set's media root.
REMOTE_SCHEMES = frozenset({"gs", "gcs", "s3", "http", "https", "hf", "az", "abfs"})
WHOLE_BYTES = 16 * 2**20  # a remote file up to this size is fetched in one piece, and kept

_KEPT_BYTES = 128 * 2**20  # of such files, in one process
_BLOCK_BYTES = 4 * 2**20  # larger ones are read in blocks where they are needed
_KEPT_BLOCKS = 16
_MAX_UNTOLD_BYTES = 2**30  # of a file whose server does not say how large it is: it is all read
_WAITS_S = (0.5, 2.0)  # before a second and a third try
_MAX_REDIRECTS = 5
_PASSING_STATUS = frozenset({408, 425, 429})  # and all from 500 on

# Where files of public data sets lie that Hugging Face hands out under its own address.
REDIRECT_HOSTS = ("*.hf.co", "*.huggingface.co")
_allowed_hosts: Sequence[str] = REDIRECT_HOSTS

Result = TypeVar("Result")


def allow_redirects(hosts: Sequence[str]) -> None:
    """Which hosts, beside its own, a web server may send this process on to. hosts: names, with *
    for any part of one. Holds until it is called again."""
    global _allowed_hosts
    _allowed_hosts = tuple(host.lower() for host in hosts)


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
    with _remote_errors(path):
        found = _try_again(lambda: _fetch(path, max_bytes))
    if isinstance(found, bytes):
        bounds.check_bytes(path, len(found), max_bytes)
        if len(found) <= WHOLE_BYTES:
            _small_files.put(path, found)
        yield io.BytesIO(found)
        return
    with contextlib.closing(_RemoteFile(found, path)) as remote:
        try:
            yield remote
        except MediaError as error:
            # What a decoder says of a file that it could not read is not to be believed.
            if remote.failure:
                raise MediaError(path, "unreadable", remote.failure) from error
            raise
        if remote.failure:
            raise MediaError(path, "unreadable", remote.failure)


def _fetch(path: str, max_bytes: int) -> "bytes | AbstractBufferedFile":
    """A small file's bytes; a large one open. Of what has no size, all of it."""
    file = _connect(path)
    size = file.size if file.seekable() else None
    if size is not None:
        bounds.check_bytes(path, size, max_bytes)
        if size > WHOLE_BYTES:
            return file
    if size is not None:
        with _connect(path, in_blocks=False) if _is_web(path) else file as stream:
            return _exactly(stream, size)
    most = min(max_bytes, _MAX_UNTOLD_BYTES)
    with file:
        data = _read_up_to(file, most + 1)
    if most < len(data) <= max_bytes:
        detail = f"over {most} bytes, and its server does not tell how many (Content-Length)"
        raise MediaError(path, "too_large", detail)
    return data


def _read_up_to(file: "AbstractBufferedFile | io.BytesIO", most: int) -> bytes:
    """A file's first `most` bytes, fewer only where it has no more; one that is still coming gives
    what is there, piece by piece."""
    data = bytearray()
    while len(data) < most and (piece := file.read(most - len(data))):
        data += piece
    return bytes(data)


def _exactly(file: "AbstractBufferedFile | io.BytesIO", size: int) -> bytes:
    """The next `size` bytes. Raises OSError for fewer."""
    data = _read_up_to(file, size)
    if len(data) < size:
        raise OSError(f"{len(data)} of {size} bytes came")
    return data


def _connect(path: str, in_blocks: bool = True) -> "AbstractBufferedFile":
    """An fsspec file; only connections of known kinds are made. in_blocks: it may be asked for any
    part; else it is read from its beginning, which every web server can do."""
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
    web = _is_web(path)
    client = {"get_client": _web_client, "max_redirects": _MAX_REDIRECTS} if web else {}
    system, place = fsspec.core.url_to_fs(path, **client)
    if web and not in_blocks:
        return system.open(place, "rb", block_size=0)
    options = {"maxblocks": _KEPT_BLOCKS}
    return system.open(
        place, "rb", block_size=_BLOCK_BYTES, cache_type="blockcache", cache_options=options
    )


def _is_web(path: str) -> bool:
    return path.startswith(("http://", "https://"))


# ── Redirects. ──────────────────────────────────────────────────────────────────────────────────


class _Redirected(Exception):
    """A web server sends on to a host that is not allowed."""


async def _web_client(**options: Any) -> "aiohttp.ClientSession":
    """fsspec's client, which looks at every redirect before it is followed."""
    import aiohttp

    trace = aiohttp.TraceConfig()
    trace.on_request_redirect.append(_check_redirect)
    return aiohttp.ClientSession(trace_configs=[trace], **options)


async def _check_redirect(
    session: "aiohttp.ClientSession",
    context: SimpleNamespace,
    redirect: "aiohttp.TraceRequestRedirectParams",
) -> None:
    """Raises _Redirected unless it leads to the same host, at the same or the usual port, or to one
    of those that are allowed."""
    import yarl

    headers = redirect.response.headers
    here, there = redirect.url, yarl.URL(headers.get("Location") or headers.get("URI") or "")
    if not there.absolute:
        there = here.join(there)
    host = (there.host or "").lower()
    usual = there.port == here.port or there.is_default_port()
    if not (host == here.host and usual) and not any(
        fnmatch.fnmatchcase(host, pattern) for pattern in _allowed_hosts
    ):
        raise _Redirected(
            f"{here.host} sends on to {host}:{there.port}; if its files lie there, add "
            f"{host!r} to config.data.redirect_hosts, which is {list(_allowed_hosts)}"
        )


# ── What goes wrong. ────────────────────────────────────────────────────────────────────────────


def _try_again(attempt: Callable[[], Result]) -> Result:
    """attempt(), and again a little later where what it raises may have passed by then."""
    for wait in _WAITS_S:
        try:
            return attempt()
        except Exception as error:
            if not _may_pass(_cause(error)):
                raise
        time.sleep(wait)
    return attempt()


def _may_pass(error: BaseException) -> bool:
    if isinstance(error, MediaError | ImportError | ValueError | _Redirected):
        return False
    if isinstance(error, FileNotFoundError | IsADirectoryError | PermissionError):
        return False
    status = getattr(error, "status", None)  # aiohttp's
    return not isinstance(status, int) or status in _PASSING_STATUS or status >= 500


def _cause(error: BaseException) -> BaseException:
    """Of "not found", what fsspec met when it asked; else the error itself."""
    missing = isinstance(error, FileNotFoundError)
    return error.__cause__ if missing and error.__cause__ is not None else error


@contextlib.contextmanager
def _remote_errors(path: str) -> Iterator[None]:
    """Whatever a storage library raises becomes a MediaError."""
    try:
        yield
    except MediaError:
        raise
    except ImportError as error:  # of fsspec: which package the scheme needs
        raise MediaError(path, "missing_package", str(error)) from error
    except Exception as error:
        cause = _cause(error)
        if isinstance(cause, _Redirected):
            raise MediaError(path, "redirected", str(cause)) from error
        absent = isinstance(cause, FileNotFoundError | IsADirectoryError)
        if absent or getattr(cause, "status", None) in (404, 410):
            raise MediaError(path, "missing", str(cause) or "no such object") from error
        raise MediaError(path, "unreadable", f"{type(cause).__name__}: {cause}") from error


class _RemoteFile(io.RawIOBase):
    """An open remote file.

    failure: of a read that came to nothing, "" for none. That read and those after it give no
    bytes; an exception would go through FFmpeg, which has no use for it.
    """

    def __init__(self, file: "AbstractBufferedFile", path: str):
        self._file: AbstractBufferedFile | io.BytesIO = file
        self._size, self._path = file.size, path
        self.failure = ""

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        place = self._file.tell()
        left = max(self._size - place, 0)
        wanted = left if size < 0 else min(size, left)

        def attempt() -> bytes:
            try:
                return _exactly(self._file, wanted)
            except Exception as error:
                parts = not isinstance(error, ValueError)  # fsspec's, of a server that has no parts
                # Anew: a block that came in part would be kept.
                self._file = _connect(self._path) if parts else self._whole()
                self._file.seek(place)
                if parts:
                    raise
                return _exactly(self._file, wanted)

        if self.failure:
            return b""
        try:
            return _try_again(attempt)
        except Exception as error:
            self.failure = f"{type(error).__name__}: {error}"
            return b""

    def _whole(self) -> io.BytesIO:
        """All of a file whose server gives nothing but all of it."""
        if self._size > _MAX_UNTOLD_BYTES:
            raise OSError(f"{self._size} bytes from a server that serves no parts of files (Range)")
        with _connect(self._path, in_blocks=False) as stream:
            return io.BytesIO(_exactly(stream, self._size))

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def close(self) -> None:
        self._file.close()
        super().close()


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
