"""What is wrong with a checkpoint, in the words of this program."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import jax

from input_pipeline.errors import UserError


class CheckpointError(UserError):
    """A checkpoint is missing, damaged, cannot be written or does not fit the model."""


@contextlib.contextmanager
def named(folder: Path, what: str, remedy: str = "") -> Iterator[None]:
    """Raises what Orbax, TensorStore and the system raise inside as a CheckpointError that names
    the checkpoint's folder. what: happens there, such as "cannot be read"."""
    try:
        yield
    except (UserError, jax.errors.JaxRuntimeError, MemoryError):  # of devices: not the checkpoint's
        raise
    except Exception as error:
        said = " ".join(str(error).split())[:300]
        raise CheckpointError(f"{folder} {what}: {type(error).__name__}: {said}{remedy}") from error
