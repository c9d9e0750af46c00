"""Records of a JSON list or of JSONL, one at a time however long the file is.

A list may be the value of a key of one object, {"info": …, "data": [{…}, …]}, as SQuAD and many
video data sets write it.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from input_pipeline.annotations.records.opening import open_binary, open_text
from input_pipeline.annotations.rejected import AnnotationError, Rejected

MAX_RECORD_BYTES = 16 * 2**20  # a bound on what the outside world may hand us
_READ_CHARACTERS = 2**20
_NO_SPACE = re.compile(r"[^ \t\n\r]")
_START_BYTES = 2**16  # tell what a file is
# The keys that hold the records of such an object; before it stand plain values and flat ones.
_WRAPPED = re.compile(
    rb"""\s*\{(?:\s*"[^"\\]*"\s*:\s*(?:"(?:[^"\\]|\\.)*"|[-+.\w]+"""
    rb"""|\{[^{}\[\]]*\}|\[[^{}\[\]]*\])\s*,)*"""
    rb"""\s*"(?:data|annotations|records|samples|items|rows|train|val|test)"\s*:\s*"""
    rb"""(?=\[\s*\{)"""
)
_DELIMITED = re.compile(r"[ \t\n\r]*[,\]]")


def read(path: str) -> Iterator[tuple[int, Any]]:
    """(record number from 1, parsed JSON or Rejected). Numbers are lines in JSONL.

    Raises AnnotationError for a file that is neither, and for a list that does not parse.
    """
    if _is_list(path):
        yield from enumerate(_read_list(path), start=1)
    else:
        yield from _read_lines(path)


def count(path: str) -> int:
    """The number of records: lines in JSONL, so an upper bound there. Raises AnnotationError."""
    if _is_list(path):
        return sum(1 for _ in _read_list(path))
    with open_binary(path) as file:
        lines, last = 0, b"\n"
        while block := file.read(2**22):
            lines, last = lines + block.count(b"\n"), block[-1:]
    return lines + (last != b"\n")


def fingerprint(path: str) -> str:
    """A hash of the content."""
    digest = hashlib.sha256()
    with open_binary(path) as file:
        while block := file.read(2**22):
            digest.update(block)
    return digest.hexdigest()


def unit(path: str) -> str:
    """What one record is called: a line of JSONL; of a list, whose lines are anything, a record."""
    return "record" if _is_list(path) else "line"


def _is_list(path: str) -> bool:
    return _start_of_list(path) is not None


def _start_of_list(path: str) -> int | None:
    """Where the list of records begins, in characters; None for JSONL."""
    with open_binary(path) as file:
        start = file.read(_START_BYTES).removeprefix(b"\xef\xbb\xbf").lstrip()
    if not start:
        raise AnnotationError(f"annotation file {path} is empty")
    if start[:1] not in (b"[", b"{"):
        raise AnnotationError(
            f"annotation file {path} is neither a JSON list nor JSONL, nor Parquet or TFDS: it "
            f"starts with {start[:40]!r}"
        )
    if start.startswith(b"["):
        return 0
    wrapped = _WRAPPED.match(start)
    return None if not wrapped or _has_more_lines(path) else len(wrapped[0].decode())


def _has_more_lines(path: str) -> bool:
    """Whether a first line that is an object is followed by more: then each is a record."""
    with open_binary(path) as file:
        line = file.readline(MAX_RECORD_BYTES + 1)
        try:
            json.loads(line.decode("utf-8-sig"))
        except (ValueError, RecursionError):
            return False  # it goes on
        return bool(file.read(_START_BYTES).strip())


# --- JSONL --------------------------------------------------------------------------------------


def _read_lines(path: str) -> Iterator[tuple[int, Any]]:
    with open_binary(path) as file:
        number = 0
        while line := file.readline(MAX_RECORD_BYTES + 1):
            number += 1
            if len(line) > MAX_RECORD_BYTES:
                _skip_line(file, line)
                detail = f"{path}, line {number}: longer than {MAX_RECORD_BYTES} bytes"
                yield number, Rejected(number, "", "too_large", detail, path)
            elif line.strip():
                yield number, _parse_line(line, path, number)


def _skip_line(file: BinaryIO, line: bytes) -> None:
    while line and not line.endswith(b"\n"):
        line = file.readline(MAX_RECORD_BYTES)


def _parse_line(line: bytes, path: str, number: int) -> Any:
    try:
        return json.loads(line.decode("utf-8-sig"))
    except RecursionError:
        detail = f"{path}, line {number}: nested too deep to parse"
        return Rejected(number, "", "too_deep", detail, path)
    except json.JSONDecodeError as error:
        detail = f"{path}, line {number}, column {error.colno}: {error.msg}"
    except ValueError as error:  # not UTF-8, or an integer of thousands of digits
        detail = f"{path}, line {number}: {error}"
    return Rejected(number, "", "bad_json", detail, path)


# --- A JSON list --------------------------------------------------------------------------------


def _read_list(path: str) -> Iterator[Any]:
    try:
        yield from _ListReader(path)
    except UnicodeDecodeError as error:
        raise AnnotationError(f"annotation file {path} is not UTF-8: {error}") from error
    except RecursionError as error:
        raise AnnotationError(f"annotation file {path} is nested too deep to parse") from error


class _ListReader:
    """The elements of a JSON list from a window of text that moves over the file.

    The window grows until it holds the next element whole, at most to the bound on a record.
    """

    def __init__(self, path: str):
        self._path = path
        self._start = _start_of_list(path) or 0
        self._text, self._at = "", 0
        self._ended = False
        self._line, self._column = 1, 1  # of the window's first character

    def __iter__(self) -> Iterator[Any]:
        scan = json.JSONDecoder().raw_decode
        with open_text(self._path, "utf-8-sig") as self._file:
            self._peek()
            wrapped = self._text[self._at] == "{"
            self._at += self._start
            self._expect("[")
            if self._peek() == "]":
                self._at += 1
            else:
                while True:
                    self._peek()
                    yield self._element(scan)
                    if self._expect(",]") == "]":
                        break
            if self._peek() and not (wrapped and self._peek() in ",}"):
                self._fail("Extra data", self._at)

    def _element(self, scan: Callable[[str, int], tuple[Any, int]]) -> Any:
        while True:
            try:
                value, end = scan(self._text, self._at)
                # Unless a delimiter follows, a number may go on behind the window: 12 of 12.5.
                if self._ended or _DELIMITED.match(self._text, end):
                    self._at = end
                    return value
            except json.JSONDecodeError as error:
                if self._ended or len(self._text) - self._at > MAX_RECORD_BYTES:
                    self._fail(error.msg, error.pos)
            except RecursionError:
                raise
            except ValueError as error:  # an integer of thousands of digits
                self._fail(str(error), self._at)
            self._read(max(_READ_CHARACTERS, len(self._text) - self._at))

    def _expect(self, wanted: str) -> str:
        """Steps over the next character, which must be one of `wanted`."""
        found = self._peek()
        if not found or found not in wanted:
            what = "Expecting ',' delimiter" if "," in wanted else f"Expecting '{wanted}'"
            self._fail(what, self._at)
        self._at += 1
        return found

    def _peek(self) -> str:
        """The next character that is not space, "" at the end of the file."""
        while True:
            if found := _NO_SPACE.search(self._text, self._at):
                self._at = found.start()
                return found.group()
            self._at = len(self._text)
            if self._ended:
                return ""
            self._read(_READ_CHARACTERS)

    def _read(self, characters: int) -> None:
        """Drops what is done with and appends more of the file to the window."""
        self._line, self._column = self._place(self._at)
        more = self._file.read(characters)
        self._ended = not more
        self._text, self._at = self._text[self._at :] + more, 0

    def _place(self, position: int) -> tuple[int, int]:
        """(line, column) from 1 of a position in the window."""
        newlines = self._text.count("\n", 0, position)
        if not newlines:
            return self._line, self._column + position
        return self._line + newlines, position - self._text.rfind("\n", 0, position)

    def _fail(self, message: str, position: int) -> None:
        line, column = self._place(position)
        raise AnnotationError(
            f"annotation file {self._path} does not parse at line {line}, column {column}: "
            f"{message}"
        )
