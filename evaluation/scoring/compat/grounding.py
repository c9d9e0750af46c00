"""Charades-STA: the first stretch of time of an answer, turned round where it ends before it
begins."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from evaluation.scoring.compat.reasoning import visible

_NUMBER = r"(\d+(?:\.\d+)?)"
_CLOCK = r"(\d{1,2}:\d{2}(?::\d{2})?)"
_EXAMPLE = "a specific example is : 20.8 - 30.0 seconds"  # of another prompt


def charades_sta(said: str, meta: Mapping[str, Any]) -> float:
    """The overlap (intersection over union) with the right stretch; 0 where none is read.

    "to" is a dash wherever it stands. Lines that speak of a start, an end or of happening are read,
    where there are such, else all.
    """
    found = next(_stretches(visible(said)), None)
    if found is None:
        return 0.0
    (start, end), (begin, stop) = sorted(found), meta["span"]
    covered = max(end, stop) - min(start, begin)
    return max(min(end, stop) - max(start, begin), 0.0) / covered if covered > 0 else 0.0


def _stretches(said: str) -> Iterator[tuple[float, float]]:
    """By the surest form first: clock times with a dash between them, numbers with a dash, two
    clock times anywhere, the first number of each of two lines, numbers with an "s" behind."""
    text = said.lower().replace(_EXAMPLE, "").replace("to", "-")
    lines = re.split(r"[!?\n]", text)
    telling = [line for line in lines if re.search("start|end|happen", line)]
    lines = telling or lines
    dash = r"\s*[–-]\s*"
    for line in lines:
        for pair in re.findall(rf"\b{_CLOCK}{dash}{_CLOCK}\b", line):
            yield _seconds(pair[0]), _seconds(pair[1])
    for line in lines:
        for pair in re.findall(f"{_NUMBER}{dash}{_NUMBER}", line):
            yield float(pair[0]), float(pair[1])
    clocks = [_seconds(time) for line in lines for time in re.findall(rf"\b{_CLOCK}\b", line)]
    numbers = [float(each[1]) for line in lines if (each := re.search(rf"\b{_NUMBER}\b", line))]
    for times in (clocks, numbers):
        if len(times) > 1:
            yield times[0], times[1]
    for line in lines:
        for pair in re.findall(rf"{_NUMBER}\s*s?{dash}{_NUMBER}\s*s?", line):
            yield float(pair[0]), float(pair[1])


def _seconds(clock: str) -> float:
    found = 0.0
    for part in clock.split(":"):
        found = 60 * found + float(part)
    return found
