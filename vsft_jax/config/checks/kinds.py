"""What may stand under a key: one check for each kind of value."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from input_pipeline import frame_budget
from input_pipeline.annotations import AnnotationError, columns_of
from vsft_jax.errors import ConfigError
from vsft_jax.parameters import PRESETS, selector


@dataclasses.dataclass(frozen=True)
class Check:
    """find: value → what is wrong with it, None where nothing is. optional: whether the key may be
    left out."""

    find: Callable[[Any], str | None]
    optional: bool = False


def optional(check: Check) -> Check:
    """The same check for a key that may be left out."""
    return dataclasses.replace(check, optional=True)


def expect(what: str, holds: Callable[[Any], bool]) -> Check:
    """A check that says what it expects."""
    return Check(lambda value: None if holds(value) else f"expected {what}")


def integer(least: int | None = None, most: int | None = None) -> Check:
    """A whole number within limits; True and 2.0 are none."""
    words = "an integer"
    if least is not None:
        words += f" >= {least}" if most is None else f" from {least} to {most}"

    def holds(value: Any) -> bool:
        return (
            isinstance(value, int)
            and not isinstance(value, bool)
            and (least is None or value >= least)
            and (most is None or value <= most)
        )

    return expect(words, holds)


def number(
    *,
    above: float | None = None,
    least: float | None = None,
    below: float | None = None,
    most: float | None = None,
) -> Check:
    """A finite number within limits."""
    limits = {"above": above, "at least": least, "below": below, "at most": most}
    given = [f"{word} {limit:g}" for word, limit in limits.items() if limit is not None]

    def holds(value: Any) -> bool:
        return (
            isinstance(value, int | float)
            and not isinstance(value, bool)
            and math.isfinite(value)
            and (above is None or value > above)
            and (least is None or value >= least)
            and (below is None or value < below)
            and (most is None or value <= most)
        )

    return expect(" ".join(["a number", " and ".join(given)]).strip(), holds)


def yes_or_no() -> Check:
    """True or False."""
    return expect("True or False", lambda value: isinstance(value, bool))


def one_of(*choices: str) -> Check:
    """One of a few words."""
    words = ", ".join(f'"{choice}"' for choice in choices)
    return expect(f"one of {words}", lambda value: isinstance(value, str) and value in choices)


def frame_words() -> Check:
    """Names of frame policies for an evaluation, joined by +."""

    def right(value: Any) -> bool:
        words = value.split("+") if isinstance(value, str) else [""]
        return all(
            word in ("checkpoint", "config") or (word.isdecimal() and int(word) > 0)
            for word in words
        )

    return expect('"checkpoint", "config" or numbers of frames, joined by +', right)


def text() -> Check:
    """Any string."""
    return expect("a string", lambda value: isinstance(value, str))


def name() -> Check:
    """A string that says something."""
    return expect(
        "a string that is not empty", lambda value: isinstance(value, str) and value != ""
    )


def local_path() -> Check:
    """A path of this machine, "" for none."""

    def find(value: Any) -> str | None:
        if not isinstance(value, str):
            return "expected a path, or an empty string"
        if "://" in value:
            return "is an address: mount the bucket and name the folder"
        return None

    return Check(find)


def parameters() -> Check:
    """A choice of parameters, see `parameters.selector`."""
    words = f"expected one of {', '.join(PRESETS)}, or a regular expression for parameter paths"

    def find(value: Any) -> str | None:
        try:
            selector(value, "")
        except ConfigError:
            return words
        return None if isinstance(value, str) else words

    return Check(find)


def mesh_axis() -> Check:
    """Devices along an axis."""
    devices = integer(1)
    return expect(
        "an integer >= 1, or -1 for the devices that are left",
        lambda value: devices.find(value) is None or integer(-1, -1).find(value) is None,
    )


def section() -> Check:
    """Keys and values."""
    return expect("a mapping from keys to values", lambda value: isinstance(value, Mapping))


def options() -> Check:
    """Names and plain values."""

    def holds(value: Any) -> bool:
        return isinstance(value, Mapping) and all(
            isinstance(name, str) and isinstance(each, str | bool | int | float)
            for name, each in value.items()
        )

    return expect("a mapping from names to strings, numbers, True or False", holds)


def listing(each: Check, what: str, *, distinct: bool = False) -> Check:
    """A list of which `each` checks the entries; what: the entries, in words."""

    def holds(value: Any) -> bool:
        return (
            isinstance(value, Sequence)
            and not isinstance(value, str)
            and not any(each.find(entry) for entry in value)
            and (not distinct or len(set(value)) == len(value))
        )

    return expect(f"a list of {what}", holds)


def column_map() -> Check:
    """A column map of a data set, see input_pipeline/annotations/columns.py."""

    def find(value: Any) -> str | None:
        if not isinstance(value, Mapping):
            return 'expected a mapping such as {"video": "{video_id}.mp4"}'
        try:
            columns_of({"columns": value})
        except AnnotationError as error:
            return str(error).removeprefix('"columns": ')
        return None

    return Check(find)


def frame_policy() -> Check:
    """A frame-budget spec."""

    def find(value: Any) -> str | None:
        try:
            frame_budget.canonical_spec(value)
        except ValueError as error:
            return without_prefix(error)
        return None

    return Check(find)


def without_prefix(error: ValueError) -> str:
    """What a frame-budget spec's error says, for behind the key it stands under."""
    return str(error).removeprefix("frame budget: ")
