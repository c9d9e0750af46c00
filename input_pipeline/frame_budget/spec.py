"""Frame budget specs: plain data that names a policy completely.

A spec is a JSON object with a "kind". `canonical_spec` checks it and fills in every default, so two
spellings of one policy become the same object, the same hash and the same label.
"""

import collections
import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any

from input_pipeline.frame_budget.instruction_rules import DEMANDS

REQUIRED = object()  # marks a key that has no default
DEFAULT_CANDIDATES = (8, 16, 32, 64)


def _integer(key: str, value: Any, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise ValueError(f"frame budget: {key!r} must be an integer >= {least}, got {value!r}")
    return int(value)


def _seed(key: str, value: Any) -> int:
    return _integer(key, value, 0)


def _preview_frames(key: str, value: Any) -> int:
    return _integer(key, value, 2)


def _frame_count(key: str, value: Any) -> int:
    if _integer(key, value, 2) % 2:
        raise ValueError(f"frame budget: {key!r} must be even (frames go in pairs), got {value!r}")
    return int(value)


def _number(key: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 < value < float("inf"):
        raise ValueError(f"frame budget: {key!r} must be a finite number > 0, got {value!r}")
    return float(value)


def _sequence(key: str, value: Any) -> Sequence:
    if isinstance(value, str) or not isinstance(value, Sequence) or not value:
        raise ValueError(f"frame budget: {key!r} must be a non-empty list, got {value!r}")
    return value


def _increasing(key: str, values: list) -> list:
    if any(b <= a for a, b in zip(values, values[1:], strict=False)):
        raise ValueError(f"frame budget: {key!r} must be increasing, got {values!r}")
    return values


def _candidates(key: str, value: Any) -> list[int]:
    return _increasing(key, [_frame_count(key, v) for v in _sequence(key, value)])


def _thresholds(key: str, value: Any) -> list[float] | None:
    if value is None:
        return None
    return _increasing(key, [_number(key, v) for v in _sequence(key, value)])


def _optional_rate(key: str, value: Any) -> float | None:
    return None if value is None else _number(key, value)


def _gap_seconds(key: str, value: Any) -> dict[str, float]:
    if not isinstance(value, Mapping) or set(value) != set(DEMANDS):
        raise ValueError(
            f"frame budget: {key!r} must give seconds for each of {list(DEMANDS)}, got {value!r}"
        )
    gaps = {demand: _number(f"{key}.{demand}", value[demand]) for demand in DEMANDS}
    if any(gaps[b] > gaps[a] for a, b in zip(DEMANDS, DEMANDS[1:], strict=False)):
        raise ValueError(f"frame budget: {key!r} must not rise with demand, got {gaps!r}")
    return gaps


def _histogram(key: str, value: Any) -> dict[str, int] | None:
    """{"8": 5761, …} with frames ascending; keys may be given as integers."""
    if value is None:
        return None
    if not isinstance(value, Mapping) or not value:
        raise ValueError(
            f"frame budget: {key!r} must map frames to numbers of examples, got {value!r}"
        )
    try:
        counts = {int(frames): n for frames, n in value.items()}
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"frame budget: {key!r} has a key that is no frame count: {value!r}"
        ) from (error)
    return {
        str(_integer(f"{key} frames", frames, 1)): _integer(f"{key}.{frames}", counts[frames], 1)
        for frames in sorted(counts)
    }


def _other_policy(key: str, value: Any) -> dict | None:
    if value is None:
        return None
    spec = canonical_spec(value)
    if spec["kind"] == "random_matched":
        raise ValueError(f"frame budget: {key!r} must be another kind than random_matched")
    return spec


def _label(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._()-]{0,63}", value):
        raise ValueError(
            "frame budget: 'label' must be up to 64 letters, digits and . _ ( ) -, since it names "
            f"a folder, got {value!r}"
        )
    return value


_NOVELTY = {
    "preview_frames": (8, _preview_frames),
    "novelty_low": (0.1, _number),
    "novelty_high": (0.4, _number),
}
_CANDIDATES = {"candidates": (DEFAULT_CANDIDATES, _candidates)}

SCHEMAS: dict[str, dict[str, tuple[Any, Callable[[str, Any], Any]]]] = {
    "fixed": {"frames": (REQUIRED, _frame_count)},
    "fps": {
        "frames_per_second": (REQUIRED, _number),
        "min_frames": (4, _frame_count),
        "max_frames": (64, _frame_count),
    },
    "duration": _CANDIDATES
    | {"thresholds": (None, _thresholds), "frames_per_second": (None, _optional_rate)},
    "instruction": _CANDIDATES,
    "similarity": _CANDIDATES | _NOVELTY,
    "hybrid": _CANDIDATES
    | _NOVELTY
    | {
        "gap_seconds": (
            {"low": 15.0, "low-medium": 4.0, "medium": 2.0, "high": 1.0},
            _gap_seconds,
        )
    },
    "random_matched": {
        "of": (None, _other_policy),
        "histogram": (None, _histogram),
        "seed": (0, _seed),
    },
}
"""kind → key → (default, check). A check returns the canonical JSON value or raises ValueError."""


def canonical_spec(spec: Mapping[str, Any]) -> dict[str, Any]:
    """`spec` with every default filled in and values in JSON types; `canonical(canonical(s))` is
    `canonical(s)`.

    Raises ValueError naming an unknown kind, an unknown or missing key, or a bad value.
    """
    if not isinstance(spec, Mapping) or "kind" not in spec:
        raise ValueError(f'frame budget: a spec is a mapping with a "kind", got {spec!r}')
    kind = spec["kind"]
    if kind not in SCHEMAS:
        raise ValueError(f"frame budget: unknown kind {kind!r}; known: {', '.join(SCHEMAS)}")
    schema = SCHEMAS[kind]
    for key in spec:
        if key not in ("kind", "label") and key not in schema:
            raise ValueError(
                f"frame budget: kind {kind!r} has no key {key!r}; known: {', '.join(schema)}, label"
            )
    result: dict[str, Any] = {"kind": kind}
    if spec.get("label") is not None:
        result["label"] = _label(spec["label"])
    for key, (default, check) in schema.items():
        value = spec.get(key, default)
        if value is REQUIRED:
            raise ValueError(f"frame budget: kind {kind!r} needs the key {key!r}")
        result[key] = check(key, value)
    return _checked_together(result)


def _checked_together(spec: dict[str, Any]) -> dict[str, Any]:
    """The rules that involve more than one key."""
    kind = spec["kind"]
    if kind == "fps" and spec["min_frames"] > spec["max_frames"]:
        raise ValueError(
            f"frame budget: 'min_frames' {spec['min_frames']} exceeds 'max_frames' "
            f"{spec['max_frames']}"
        )
    if kind == "duration":
        thresholds, rate = spec["thresholds"], spec["frames_per_second"]
        if thresholds is not None and rate is not None:
            raise ValueError(
                "frame budget: kind 'duration' takes 'thresholds' or 'frames_per_second', not both"
            )
        if thresholds is None and rate is None:
            spec["frames_per_second"] = 1.0
        if thresholds is not None and len(thresholds) != len(spec["candidates"]) - 1:
            raise ValueError(
                f"frame budget: {len(spec['candidates'])} candidates need "
                f"{len(spec['candidates']) - 1} 'thresholds' (seconds), got {thresholds!r}"
            )
    if "novelty_low" in spec and spec["novelty_low"] >= spec["novelty_high"]:
        raise ValueError(
            f"frame budget: 'novelty_low' {spec['novelty_low']} must be below 'novelty_high' "
            f"{spec['novelty_high']}"
        )
    if kind == "random_matched" and spec["of"] is None and spec["histogram"] is None:
        raise ValueError("frame budget: kind 'random_matched' needs the key 'of' or 'histogram'")
    return spec


def spec_hash(spec: Mapping[str, Any]) -> str:
    """12 hex digits, equal for every spelling of one policy, on every machine.

    The label is a name and no part of the policy.
    """
    text = json.dumps(_unlabelled(canonical_spec(spec)), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _unlabelled(spec: dict[str, Any]) -> dict[str, Any]:
    spec = {key: value for key, value in spec.items() if key != "label"}
    if spec.get("of"):
        spec["of"] = _unlabelled(spec["of"])
    return spec


def spec_label(spec: Mapping[str, Any]) -> str:
    """A short name for tables and file names: "fixed-8", "fps-1", "hybrid", "hybrid-4-16".

    A spec's own "label" is taken as it is.
    Two different policies get different labels: what the words do not say is added as the first
    four digits of the hash ("hybrid~3f2a").
    """
    spec = canonical_spec(spec)
    if "label" in spec:
        return spec["label"]
    kind = spec["kind"]
    if kind == "fixed":
        return f"fixed-{spec['frames']}"
    if kind == "random_matched":
        of = spec["of"] and spec_label(spec["of"])
        histogram = spec["histogram"] and spec_hash({"kind": kind, "histogram": spec["histogram"]})
        label = f"random-matched({of or histogram[:4]})"
        return label + (f"-s{spec['seed']}" if spec["seed"] else "")
    label, said = kind, {"kind": kind}
    if kind == "fps":
        said["frames_per_second"] = spec["frames_per_second"]
        label = f"fps-{spec['frames_per_second']:g}"
    elif spec["candidates"] != list(DEFAULT_CANDIDATES):
        said["candidates"] = spec["candidates"]
        label = f"{kind}-{'-'.join(map(str, spec['candidates']))}"
    return label if canonical_spec(said) == spec else f"{label}~{spec_hash(spec)[:4]}"


def resolve_spec(
    spec: Mapping[str, Any], budgets: Callable[[Mapping[str, Any]], Sequence[int]]
) -> dict[str, Any]:
    """A spec that can be made into a policy without looking at the data again.

    budgets(other) -> the frames that policy `other` gives to each example of the data set. It is
    called only for a random_matched spec without a histogram, which comes back with the histogram
    of those frames; any other spec comes back as it is. Budgets below 2 belong to images, text and
    single-frame clips, where no policy has a choice: they stay out of the histogram.
    """
    if not isinstance(spec, Mapping) or spec.get("kind") != "random_matched":
        return dict(spec)
    spec = canonical_spec(spec)
    if spec["histogram"] is None:
        counts = collections.Counter(int(frames) for frames in budgets(spec["of"]) if frames > 1)
        if not counts:
            raise ValueError("frame budget: random_matched found no video to take a histogram of")
        spec["histogram"] = _histogram("histogram", counts)
    return spec
