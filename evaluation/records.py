"""JSON files read into dataclasses, with errors that name the file and what is wrong in it."""

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from input_pipeline.errors import UserError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")


class ResultError(UserError, ValueError):
    """A result file that cannot be used; the message names the file and what is wrong."""


def read_object(path: str | Path) -> dict[str, Any]:
    """The JSON object in a file. Raises ResultError if there is no file or no object in it."""
    try:
        record = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ResultError(f"{path}: no such result file") from None
    except ValueError as error:
        raise ResultError(f"{path}: not JSON: {error}") from error
    if not isinstance(record, dict):
        raise ResultError(f"{path}: expected an object, found {type(record).__name__}")
    return record


def from_record(cls: type[T], record: Any, where: str) -> T:
    """A dataclass from an object with its fields; those with a default may be absent.

    where: the file and place, for the error. Raises ResultError naming missing and unknown keys.
    """
    if not isinstance(record, dict):
        raise ResultError(f"{where}: expected an object, found {record!r}")
    fields = dataclasses.fields(cls)
    required = {f.name for f in fields if f.default is dataclasses.MISSING}
    if missing := sorted(required - set(record)):
        raise ResultError(f"{where}: missing {', '.join(missing)}")
    if unknown := sorted(set(record) - {f.name for f in fields}):
        raise ResultError(f"{where}: unknown {', '.join(unknown)}")
    return cls(**record)
