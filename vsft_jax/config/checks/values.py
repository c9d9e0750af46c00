"""Values against their checks: unknown keys, missing ones, wrong ones."""

import reprlib
from collections.abc import Iterator, Mapping
from typing import Any

from input_pipeline.errors import did_you_mean
from vsft_jax.config.checks.keys import KEYS
from vsft_jax.config.checks.kinds import Check

Checks = Mapping[str, Any]  # of a section: key → Check, or the section below it


def wrong_values(values: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with a config's values taken one by one; see `wrong_in`."""
    return wrong_in(values, _SECTIONS, "config")


def wrong_in(values: Any, checks: Check | Checks, path: str) -> Iterator[str]:
    """What is wrong in a part of a config, a line each with key, value and what is expected.

    values: plain values. checks: of that part; the section under "*" is that of any name.
    path: where the part stands, such as "config.train".
    """
    if isinstance(checks, Check):
        if wrong := checks.find(values):
            # A section's values say nothing beside what is wrong with one of them.
            shown = "" if isinstance(values, Mapping) else f" = {_SHORT.repr(values)}"
            yield f"{path}{shown}: {wrong}"
    elif not isinstance(values, Mapping):
        yield f"{path} = {_SHORT.repr(values)}: expected a mapping from keys to values"
    elif "*" in checks:
        for name, value in values.items():
            yield from wrong_in(value, checks["*"], f"{path}.{name}")
    else:
        for name in values:
            if name not in checks:
                yield f"{path}.{name}: there is no such key{_instead(f'{path}.{name}', checks)}"
        for name, check in checks.items():
            if name in values:
                yield from wrong_in(values[name], check, f"{path}.{name}")
            elif not _may_be_left_out(check):
                yield f"{path}.{name} is missing"


def _instead(path: str, checks: Checks) -> str:
    """Which key may have been meant: one beside it, one elsewhere, or one of those there are."""
    section, _, name = path.rpartition(".")
    elsewhere = [f"config.{key}" for key in KEYS if "*" not in key]
    return (
        did_you_mean(name, checks)
        or did_you_mean(name, elsewhere)
        or f"; {section} has {', '.join(checks)}"
    )


def _may_be_left_out(checks: Check | Checks) -> bool:
    return isinstance(checks, Check) and checks.optional


def _sections(keys: Mapping[str, Check]) -> Checks:
    """{"train.steps": check, …} as {"train": {"steps": check, …}, …}."""
    whole: dict[str, Any] = {}
    for key, check in keys.items():
        *path, last = key.split(".")
        place = whole
        for name in path:
            place = place.setdefault(name, {})
        place[last] = check
    return whole


_SECTIONS = _sections(KEYS)
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 80
