"""Answers in numbers: a number, a stretch of time."""

import re
import unicodedata
from collections.abc import Mapping
from typing import Any

from evaluation.scoring.scored import UNPARSED, Scored
from evaluation.scoring.text import normalise

_TIME = r"(?:\d{1,2}:)?\d{1,3}:\d{2}(?:\.\d+)?|\d+(?:\.\d+)?"
_UNIT = r"\s*(?:s|secs?|seconds?)?\b\.?"
_STRETCH = re.compile(rf"({_TIME}){_UNIT}\s*(?:-|–|—|~|to|until|till)\s*({_TIME})", re.I)
_ANY_TIME = re.compile(rf"(?<![\w.:])(?:{_TIME})(?![\d:])")


def score_number(prediction: str, meta: Mapping[str, Any]) -> Scored:
    """Right where it is the answer, give or take "tolerance".

    meta: "answer" is a number as text; "tolerance" may be left out. One number is read from what
    was said, as digits or as a word; two different ones are none.
    """
    answer = _number(str(meta.get("answer", "")))
    if answer is None:
        raise ValueError(f"meta.answer: {meta.get('answer')!r} is not a number")
    given = _number(prediction)
    if given is None:
        return UNPARSED
    return Scored(float(abs(given - answer) <= float(meta.get("tolerance", 0.0))), True)


def score_interval(prediction: str, meta: Mapping[str, Any]) -> Scored:
    """How far two stretches of time are the same: what they share over what they cover together.

    meta: "span" is [start, end] in seconds. See `parse_interval` for what can be read.
    """
    span = meta.get("span")
    if not (isinstance(span, list | tuple) and len(span) == 2 and span[0] < span[1]):
        raise ValueError(f"meta.span: expected [start, end] in seconds, got {span!r}")
    given = parse_interval(prediction)
    if given is None:
        return UNPARSED
    shared = min(given[1], span[1]) - max(given[0], span[0])
    covered = max(given[1], span[1]) - min(given[0], span[0])
    return Scored(max(shared, 0.0) / covered, True)


def parse_interval(prediction: str) -> tuple[float, float] | None:
    """(start, end) in seconds of the one stretch that is stated: "24.3 - 30.4 seconds", "from 24.3s
    to 30.4s", "00:24 to 00:30", or exactly two times in the text. None where there is none, several
    different ones, or one that does not end after it begins."""
    text = unicodedata.normalize("NFKC", prediction)
    found = {(_seconds(start), _seconds(end)) for start, end in _STRETCH.findall(text)}
    if not found and len(times := _ANY_TIME.findall(text)) == 2:
        found = {(_seconds(times[0]), _seconds(times[1]))}
    if len(found) != 1:
        return None
    start, end = found.pop()
    return (start, end) if start < end else None


def _seconds(text: str) -> float:
    seconds = 0.0
    for part in text.split(":"):
        seconds = 60 * seconds + float(part)
    return seconds


def _number(text: str) -> float | None:
    words = re.findall(r"(?<!\S)-?\d+(?:\.\d+)?(?=%?(?!\S))", normalise(text))
    numbers = {float(word) for word in words}
    return numbers.pop() if len(numbers) == 1 else None
