"""Video-MMMU: letters, and open answers that contain the right one."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from evaluation.scoring.compat.letters import letter
from evaluation.scoring.compat.reasoning import visible

# What is behind one of these is taken for the answer, the shortest such tail of a line.
_BEFORE = (
    *("could be ", "so ", "is ", "thus ", "therefore ", "final ", "answer ", "result ", "are "),
    *("in total ", "total ", "identify ", "recognize ", "calculated as ", "counted as "),
    *("measured as ", "observed as ", "concluded as ", "found to be ", "equals "),
    *("determined to be ", "number of ", "value is ", "adds up to ", "have ", "has "),
)
_NUMBERS = (
    r"-?\b\d{1,3}(?:,\d{3})+\b",
    r"-?\d+(?:\.\d+)?[eE][+-]?\d+",
    r"-?(?:\d+\.\d+|\.\d+|\d+\b)(?![eE][+-]?\d+)(?![,\d])",
)


def videommmu(said: str, meta: Mapping[str, Any]) -> float | None:
    """Of options as `letters` reads it. An open answer is right where the text of the right one
    stands in the end of one of its lines, or a number there is equal to two places; an empty one is
    left out of the count."""
    text = visible(said)
    if meta["choices"]:
        return float(letter(text, list(meta["choices"])) == meta["answer"])
    if not text or text == "API Error":
        return None
    tails = _tails(text)
    numbers = [number for tail in tails for form in _NUMBERS for number in re.findall(form, tail)]
    given = [value for part in (*tails, *numbers) for value in _values(part)]
    right = _values(meta["answer"])
    return float(
        any(
            value in right
            if isinstance(value, float)
            else any(isinstance(each, str) and each in value for each in right)
            for value in given
        )
    )


def _tails(text: str) -> list[str]:
    text = text.strip().strip(".").lower()
    lines = text.split("\n")
    found = []
    for place, line in enumerate(lines):
        words = _BEFORE if place < len(lines) - 1 else (*_BEFORE, "=")
        shortest = ""
        for tail in _behind(line, words):
            if not shortest or len(tail) < len(shortest):
                shortest = tail
        if shortest and shortest not in tuple(":,.!?;'"):
            found.append(shortest)
    return found or [text]


def _behind(line: str, words: Sequence[str]) -> Iterator[str]:
    return (line.rpartition(word)[2].strip() for word in words if word in line)


def _values(text: str) -> list[str | float]:
    """A number rounded to two places, or small letters; a single letter only beside a space."""
    text = text.strip()
    try:
        return [round(float(text.replace(",", "")), 2)]
    except ValueError:
        text = text.lower()
        return [f" {text}", f"{text} "] if len(text) == 1 else [text]
