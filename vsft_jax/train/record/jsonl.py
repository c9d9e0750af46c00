"""train.jsonl: what happened in a run, a JSON object a line."""

import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from absl import logging

from input_pipeline.errors import UserError
from input_pipeline.files import append, write_atomically


class RecordError(UserError):
    """The record of a run cannot be read or written."""


class Record:
    """Appends rows to <workdir>/train.jsonl.

    The rows after the step that a run goes on from are dropped, so that the file is that of a run
    which was never interrupted. Lines that are no rows are left out, with a warning. A step has a
    row of its training and, where it was evaluated, another with the scores.
    """

    def __init__(self, workdir: str | Path, *, resume_step: int = 0):
        """Raises RecordError where the file cannot be written."""
        self.path = Path(workdir) / "train.jsonl"
        rows = [row for row in _readable_rows(self.path) if row["step"] <= resume_step]
        self._file = -1
        try:
            write_atomically(self.path, "".join(map(_line, rows)))
            self._file = os.open(self.path, os.O_WRONLY | os.O_APPEND)
        except OSError as error:
            raise self._cannot_be_written(error) from error

    def write(self, step: int, scalars: Mapping[str, float | None]) -> None:
        """Appends a row, which is on disk when this returns. What is not finite becomes null.

        Raises RecordError where that fails: a run without a record must not go on."""
        try:
            append(self._file, _line({"step": step, **scalars}).encode())
            os.fsync(self._file)
        except OSError as error:
            raise self._cannot_be_written(error) from error

    def close(self) -> None:
        """Nothing is left to write."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _cannot_be_written(self, error: OSError) -> RecordError:
        return RecordError(
            f"{self.path} cannot be written: {error.strerror or error}. Training stops, since this "
            "is its record; make room and start again: it goes on from its newest checkpoint"
        )


def read_jsonl(path: str | Path) -> list[dict]:
    """Rows of a JSON-lines file; a last line cut off by a kill is left out, with a warning.

    Raises ValueError for another line that is not JSON.
    """
    rows = []
    lines = Path(path).read_bytes().splitlines()
    for number, line in enumerate(lines, 1):
        try:
            rows.append(json.loads(line))
        except ValueError:  # also of what is no UTF-8
            if number < len(lines):
                raise ValueError(f"{path}, line {number}: not JSON") from None
            logging.warning("%s: last line is incomplete and was left out", path)
    return rows


def is_evaluated(workdir: Path, step: int) -> bool:
    """Whether the record holds the scores of a step."""
    rows = _readable_rows(Path(workdir) / "train.jsonl")
    return any(row["step"] == step and any(map(_is_score, row)) for row in rows)


def _is_score(name: str) -> bool:
    return name.startswith("eval/")


def _readable_rows(path: Path) -> Iterator[dict[str, Any]]:
    if not path.exists():
        return
    lines = path.read_bytes().splitlines()
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
            row["step"] = int(row["step"])
            yield row
        except (ValueError, KeyError, TypeError):
            what = "is incomplete" if number == len(lines) else "is not a row"
            logging.warning("%s: line %d %s and was left out", path, number, what)


def _line(row: Mapping[str, Any]) -> str:
    return json.dumps({name: _finite(value) for name, value in row.items()}) + "\n"


def _finite(value: Any) -> Any:
    """JSON has no NaN and no infinity."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
