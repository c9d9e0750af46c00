"""The answers to one benchmark as they come, so that an interrupted evaluation goes on.

The first line of <benchmark>.answers.jsonl says how was asked; each other one is an answer. Lines
are only ever appended, so a killed process leaves whole ones and at most a part of one, which is
cut off. Scores do not stand here: they are made of the answers when all are there, by the scorers
of that moment.
"""

import dataclasses
import json
import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from absl import logging

from input_pipeline.files import append, naming, write_atomically

SUFFIX = ".answers.jsonl"


@dataclasses.dataclass(frozen=True)
class Reply:
    """What was said to the question `id`. failure: why it could not be asked, else ""."""

    id: str
    text: str
    failure: str = ""


def journal_path(folder: Path, benchmark: str) -> Path:
    """Where the answers to a benchmark are kept."""
    return folder / f"{benchmark}{SUFFIX}"


def resume(path: Path, asked: Mapping[str, Any], ids: Collection[str]) -> dict[str, Reply]:
    """The answers that are there, by id; the file is then ready for more.

    asked: JSON values, all that answers depend on; what was answered otherwise is dropped. ids: of
    all questions. What could not be asked is asked again once everything else is answered: a file
    may have been repaired meanwhile.
    """
    replies, end = _read(path, _head(asked))
    if replies is None:
        if path.exists():
            logging.info("%s: was asked with other settings; all questions are asked anew", path)
        write_atomically(path, _head(asked))
        return {}
    if end < path.stat().st_size:
        os.truncate(path, end)
    if replies.keys() >= set(ids) and any(reply.failure for reply in replies.values()):
        replies = {name: reply for name, reply in replies.items() if not reply.failure}
        write_atomically(path, _head(asked) + "".join(map(_line, replies.values())))
    if replies:
        logging.info("%s: %d of %d questions are answered already", path, len(replies), len(ids))
    return replies


class Appended:
    """Adds answers to a file that `resume` made ready. Use as a context manager."""

    def __init__(self, path: Path):
        self._path = path

    def __enter__(self) -> "Appended":
        self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        return self

    def __exit__(self, *_: object) -> None:
        try:
            os.fsync(self._file)
        finally:
            os.close(self._file)

    def __call__(self, reply: Reply) -> None:
        """One write a line: a process that is killed in it leaves at most a part of this line."""
        with naming(self._path):
            append(self._file, _line(reply).encode())


def _head(asked: Mapping[str, Any]) -> str:
    return json.dumps({"asked": asked}, ensure_ascii=False, sort_keys=True) + "\n"


def _line(reply: Reply) -> str:
    return json.dumps(dataclasses.asdict(reply), ensure_ascii=False) + "\n"


def _read(path: Path, head: str) -> tuple[dict[str, Reply] | None, int]:
    """The answers, None where there are none or they were asked for otherwise; and how many bytes
    of the file can be used."""
    if not path.is_file():
        return None, 0
    lines = _whole_lines(path.read_bytes())
    first = next(lines, None)
    if first is None or first != head.encode():
        return None, 0
    replies, end = {}, len(first)
    for line in lines:
        try:
            reply = Reply(**json.loads(line))
        except (ValueError, TypeError):  # also of a disk that lost what was written last
            break
        replies[reply.id] = reply
        end += len(line)
    return replies, end


def _whole_lines(content: bytes) -> Iterator[bytes]:
    """The lines with their ends; not the last one where it has none."""
    start = 0
    while (stop := content.find(b"\n", start) + 1) > 0:
        yield content[start:stop]
        start = stop
