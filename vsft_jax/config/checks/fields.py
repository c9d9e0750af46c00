"""The fields of a model's config classes as checks, from their types and defaults."""

import dataclasses
import functools
import typing
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any, Literal

from vsft_jax.config.checks.kinds import (
    Check,
    expect,
    integer,
    number,
    one_of,
    optional,
    text,
    yes_or_no,
)


@functools.cache
def field_checks(kind: type) -> Mapping[str, Check]:
    """field → check of a dataclass. A number of the architecture is positive, unless its default
    is not (a layer counted from the last)."""
    hints = typing.get_type_hints(kind)
    return {
        field.name: optional(_check(hints[field.name], field.default))
        for field in dataclasses.fields(kind)
    }


def _check(hint: Any, default: Any) -> Check:
    if typing.get_origin(hint) is Literal:
        return one_of(*typing.get_args(hint))
    if hint is bool:
        return yes_or_no()
    if hint is int:
        return integer() if isinstance(default, int) and default < 0 else integer(1)
    if hint is float:
        return number(above=0)
    if hint is str:
        return text()
    return expect("a list of numbers", _numbers)


def _numbers(value: Any) -> bool:
    """Whether a value is a list of numbers, or of lists of them."""
    return (
        isinstance(value, Sequence)
        and not isinstance(value, str)
        and all(isinstance(each, Real) or _numbers(each) for each in value)
    )
