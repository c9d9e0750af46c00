"""Opens local files and remote ones alike."""

import io
from typing import BinaryIO, TextIO

from input_pipeline.annotations.rejected import AnnotationError
from input_pipeline.paths import is_remote


def open_binary(path: str) -> BinaryIO:
    """A file opened for reading bytes. Raises AnnotationError where it cannot be opened."""
    try:
        return _open_remote(path) if is_remote(path) else open(path, "rb")  # noqa: SIM115
    except OSError as error:
        reason = error.strerror or error
        raise AnnotationError(f"annotation file {path} cannot be read: {reason}") from error


def open_text(path: str, encoding: str) -> TextIO:
    """A file opened for reading text. Raises AnnotationError where it cannot be opened."""
    return io.TextIOWrapper(open_binary(path), encoding)


def _open_remote(path: str) -> BinaryIO:
    try:
        import fsspec

        return fsspec.open(path, "rb").open()
    except (ImportError, ValueError) as error:  # fsspec, or its file system for this address
        raise AnnotationError(
            f"annotation file {path} cannot be read: {error}; install fsspec and the package for "
            f"{path.split(':')[0]}:// (gcsfs for gs://, s3fs for s3://)"
        ) from error
