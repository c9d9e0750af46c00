"""Opens local files and remote ones alike; what gzip packed is unpacked while it is read."""

import contextlib
import gzip
import io
import zlib
from collections.abc import Iterator
from typing import BinaryIO, TextIO, cast

from input_pipeline.annotations.rejected import AnnotationError
from input_pipeline.paths import is_remote

_GZIP = b"\x1f\x8b"


def open_binary(path: str) -> BinaryIO:
    """A file opened for reading bytes. Raises AnnotationError where it cannot be opened."""
    try:
        file = _open_remote(path) if is_remote(path) else open(path, "rb")  # noqa: SIM115
        if file.read(len(_GZIP)) == _GZIP:
            file.seek(0)
            return cast(BinaryIO, gzip.GzipFile(fileobj=file))
        file.seek(0)
        return file
    except OSError as error:
        reason = error.strerror or error
        raise AnnotationError(f"annotation file {path} cannot be read: {reason}") from error


def open_text(path: str, encoding: str, newline: str | None = None) -> TextIO:
    """A file opened for reading text. Raises AnnotationError where it cannot be opened."""
    return io.TextIOWrapper(open_binary(path), encoding, newline=newline)


@contextlib.contextmanager
def whole(path: str) -> Iterator[None]:
    """Raises AnnotationError for a file that turns out to be damaged while it is read."""
    try:
        yield
    except (EOFError, OSError, zlib.error) as error:
        raise AnnotationError(f"annotation file {path} is damaged: {error}") from error


def _open_remote(path: str) -> BinaryIO:
    try:
        import fsspec

        return fsspec.open(path, "rb").open()
    except (ImportError, ValueError) as error:  # fsspec, or its file system for this address
        raise AnnotationError(
            f"annotation file {path} cannot be read: {error}; install fsspec and the package for "
            f"{path.split(':')[0]}:// (gcsfs for gs://, s3fs for s3://)"
        ) from error
