"""Subtitles in SRT files."""

import html
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

MOMENTS = 32  # whose lines a question is prepared with where its frames decide
NOTHING = "No subtitles available"
INTRODUCED = "This video's subtitles are listed below:\n"
_SPOKEN = re.compile(
    r"(\d+):(\d\d):(\d\d)[,.](\d+)\s*-->\s*(\d+):(\d\d):(\d\d)[,.](\d+)[^\n]*\n(.*?)(?=\n\s*\n|\Z)",
    re.DOTALL,
)


class Line(NamedTuple):
    """What is said from one second to another."""

    start: float
    end: float
    words: str


def read_srt(text: str) -> list[Line]:
    """The lines of a file, without marks, each one line long."""
    return [
        Line(_seconds(*found[:4]), _seconds(*found[4:8]), _words(found[8]))
        for found in _SPOKEN.findall(text.replace("\r\n", "\n").lstrip("\ufeff"))
    ]


def said_at(lines: Sequence[Line], moments: Iterable[float]) -> str:
    """What is said at these seconds, as `listed`."""
    seconds = list(moments)
    return listed(line for line in lines if any(line.start <= s <= line.end for s in seconds))


def said_evenly(lines: Sequence[Line], count: int) -> str:
    """What is said at so many evenly spaced moments up to the last line, as `listed`."""
    last = lines[-1].end if lines else 0.0
    return said_at(lines, (last * (i + 0.5) / count for i in range(count)))


def listed(lines: Iterable[Line]) -> str:
    """A line each, repeated ones once."""
    return "\n".join(dict.fromkeys(line.words for line in lines if line.words))


def _seconds(hours: str, minutes: str, seconds: str, fraction: str) -> float:
    return 3600 * int(hours) + 60 * int(minutes) + float(f"{seconds}.{fraction}")


def _words(text: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]*>", "", text)).split())
