"""What may stand in a frame budget spec: one check for each kind of value.

A check takes (key, value), returns the value in its canonical JSON form and raises ValueError that
names the key.
"""

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any, TypeVar

from input_pipeline.frame_budget.instruction_rules import DEMANDS

Number = TypeVar("Number", int, float)


def integer(key: str, value: Any, least: int) -> int:
    """An integer that is not below `least`."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise ValueError(f"frame budget: {key!r} must be an integer >= {least}, got {value!r}")
    return int(value)


def seed(key: str, value: Any) -> int:
    """An integer from 0."""
    return integer(key, value, 0)


def preview_frames(key: str, value: Any) -> int:
    """How many previews: two or more, since neighbours are compared."""
    return integer(key, value, 2)


def frame_count(key: str, value: Any) -> int:
    """A number of frames."""
    return integer(key, value, 1)


def number(key: str, value: Any) -> float:
    """A finite number above 0."""
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 < float(value) < math.inf:
        raise ValueError(f"frame budget: {key!r} must be a finite number > 0, got {value!r}")
    return float(value)


def sequence(key: str, value: Any) -> Sequence[Any]:
    """A list with something in it."""
    if isinstance(value, str) or not isinstance(value, Sequence) or not value:
        raise ValueError(f"frame budget: {key!r} must be a non-empty list, got {value!r}")
    return value


def increasing(key: str, values: list[Number]) -> list[Number]:
    """The values as they are, each above the one before."""
    if any(b <= a for a, b in zip(values, values[1:], strict=False)):
        raise ValueError(f"frame budget: {key!r} must be increasing, got {values!r}")
    return values


def candidates(key: str, value: Any) -> list[int]:
    """The numbers of frames that a policy chooses among, rising."""
    return increasing(key, [frame_count(key, v) for v in sequence(key, value)])


def optional_candidates(key: str, value: Any) -> list[int] | None:
    """As `candidates`, or None."""
    return None if value is None else candidates(key, value)


def probability(key: str, value: Any) -> float:
    """A number above 0 and below 1."""
    found = number(key, value)
    if found >= 1:
        raise ValueError(f"frame budget: {key!r} must be a probability below 1, got {value!r}")
    return found


def required_text(key: str, value: Any) -> str:
    """A string with something in it."""
    if not text(key, value):
        raise ValueError(f"frame budget: {key!r} must not be empty")
    return value


def thresholds(key: str, value: Any) -> list[float] | None:
    """Rising numbers, or None."""
    if value is None:
        return None
    return increasing(key, [number(key, v) for v in sequence(key, value)])


def optional_rate(key: str, value: Any) -> float | None:
    """A number above 0, or None."""
    return None if value is None else number(key, value)


def gap_seconds(key: str, value: Any) -> dict[str, float]:
    """Seconds between frames for each demand, never longer for a higher one."""
    if not isinstance(value, Mapping) or set(value) != set(DEMANDS):
        raise ValueError(
            f"frame budget: {key!r} must give seconds for each of {list(DEMANDS)}, got {value!r}"
        )
    gaps = {demand: number(f"{key}.{demand}", value[demand]) for demand in DEMANDS}
    if any(gaps[b] > gaps[a] for a, b in zip(DEMANDS, DEMANDS[1:], strict=False)):
        raise ValueError(f"frame budget: {key!r} must not rise with demand, got {gaps!r}")
    return gaps


def histogram(key: str, value: Any) -> dict[str, Any] | None:
    """How many clips got so many frames, {"8": 5761, …}, or a table of that by the frames that
    clips have, {"13": {"8": 20, "13": 7}, …}. Ascending; keys may be given as integers."""
    if value is None:
        return None
    if isinstance(value, Mapping) and any(isinstance(row, Mapping) for row in value.values()):
        return _by_frames(key, value, _counts)
    return _counts(key, value)


def cuts(key: str, value: Any) -> dict[str, dict[str, list[list[int]]]]:
    """{kind of question: {frames that clips have: [[end, frames shown], …]}}, ends rising: what
    `controls.deal` makes."""
    if not isinstance(value, Mapping) or not value:
        raise ValueError(f"frame budget: {key!r} must map kinds of questions to rows")
    return {
        text(key, kind): _by_frames(f"{key}.{kind}", rows, _line) for kind, rows in value.items()
    }


def _line(key: str, value: Any) -> list[list[int]]:
    pairs = [sequence(key, pair) for pair in sequence(key, value)]
    if any(len(pair) != 2 for pair in pairs):
        raise ValueError(f"frame budget: {key!r} must hold pairs of an end and frames")
    ends = increasing(key, [integer(key, end, 0) for end, _ in pairs])
    return [[end, frame_count(key, frames)] for end, (_, frames) in zip(ends, pairs, strict=True)]


def _counts(key: str, value: Any) -> dict[str, int]:
    return _by_frames(key, value, at_least(1))


def _by_frames(key: str, value: Any, check: Callable[[str, Any], Any]) -> dict[str, Any]:
    if not isinstance(value, Mapping) or not value:
        raise ValueError(
            f"frame budget: {key!r} must map frames to numbers of clips, got {value!r}"
        )
    try:
        found = {int(frames): each for frames, each in value.items()}
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"frame budget: {key!r} has a key that is no frame count: {value!r}"
        ) from error
    return {
        str(integer(f"{key} frames", frames, 1)): check(f"{key}.{frames}", found[frames])
        for frames in sorted(found)
    }


def label(value: Any) -> str:
    """A name for tables that can also be a folder's."""
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._()-]{0,63}", value):
        raise ValueError(
            "frame budget: 'label' must be up to 64 letters, digits and . _ ( ) -, since it names "
            f"a folder, got {value!r}"
        )
    return value


def one_of(*choices: str) -> Callable[[str, Any], str]:
    """A check for one of a few words."""

    def check(key: str, value: Any) -> str:
        if value not in choices:
            raise ValueError(f"frame budget: {key!r} must be one of {choices}, got {value!r}")
        return value

    return check


def at_least(least: int) -> Callable[[str, Any], int]:
    """A check for an integer that is not below `least`."""
    return lambda key, value: integer(key, value, least)


def rate(key: str, value: Any) -> float:
    """A number, 0 for no limit."""
    return 0.0 if not isinstance(value, bool) and value == 0 else number(key, value)


def text(key: str, value: Any) -> str:
    """A string."""
    if not isinstance(value, str):
        raise ValueError(f"frame budget: {key!r} must be a string, got {value!r}")
    return value


def url(key: str, value: Any) -> str:
    """An http(s) address, or an empty string."""
    if text(key, value) and not re.match(r"https?://[^/\s]", value):
        raise ValueError(
            f"frame budget: {key!r} must begin with http:// or https://, like "
            f"'http://localhost:8000/v1', got {value!r}"
        )
    return value


def environment_variable(key: str, value: Any) -> str:
    """The name of one. Whatever cannot be a name may be the secret itself: it is not repeated."""
    if text(key, value) and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,63}", value):
        raise ValueError(
            f"frame budget: {key!r} must be the name of an environment variable that holds the "
            "key, such as 'OPENAI_API_KEY', not the key itself"
        )
    return value


def json_object(key: str, value: Any) -> dict[str, Any]:
    """A mapping that JSON can hold."""
    try:
        if isinstance(value, Mapping):
            return json.loads(json.dumps(dict(value), allow_nan=False))
    except (TypeError, ValueError):
        pass
    raise ValueError(f"frame budget: {key!r} must be a JSON object, got {value!r}")
