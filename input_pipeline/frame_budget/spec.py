"""Frame budget specs: plain data that names a policy completely.

A spec is a JSON object with a "kind". `canonical_spec` checks it and fills in every default, so two
spellings of one policy become the same object, the same hash and the same label.
"""

import collections
import hashlib
import json
import re
from collections.abc import Callable, Mapping, Set
from pathlib import PurePath
from typing import Any

import numpy as np

from input_pipeline.frame_budget import spec_values as values

REQUIRED = object()  # marks a key that has no default
DEFAULT_CANDIDATES = (8, 16, 32, 64)
FEATURES = ("pixel", "dinov2")
CONSENSUS_RULES = ("median", "max", "vote")

# Where and how fast a judge is asked, and what a policy is called: not what it decides.
_NO_PART = frozenset(
    {
        *("label", "url", "api_key_env", "requests_per_minute"),
        *("concurrency", "timeout_s", "attempts"),
    }
)

# What gives another policy's budgets to other clips.
_CONTROLS = frozenset({"random_matched", "type_matched", "dealt"})

Spec = dict[str, Any]  # in canonical form


def _other_policy(key: str, value: Any) -> Spec | None:
    if value is None:
        return None
    return _checked_kind(key, canonical_spec(value), _CONTROLS)


def _control(key: str, value: Any) -> Spec:
    spec = canonical_spec(value)
    if spec["kind"] not in _CONTROLS - {"dealt"} or spec["of"] is None:
        raise ValueError(f"frame budget: {key!r} must be a control of another policy")
    return spec


def _policies(key: str, value: Any) -> list[Spec]:
    specs = [canonical_spec(each) for each in values.sequence(key, value)]
    if len(specs) < 2:
        raise ValueError(f"frame budget: {key!r} must list at least two specs, got {len(specs)}")
    return [_checked_kind(key, spec, _CONTROLS | {"consensus"}) for spec in specs]


def _fallback(key: str, value: Any) -> Spec | None:
    if value is None:
        return None
    spec = _checked_kind(key, canonical_spec(value), _CONTROLS | {"consensus", "judge"})
    if spec.get("features", "pixel") != "pixel":
        raise ValueError(
            f"frame budget: {key!r} must need no model, got 'features' {spec['features']!r}"
        )
    return spec


def _checked_kind(key: str, spec: Spec, unusable: Set[str]) -> Spec:
    if spec["kind"] in unusable:
        raise ValueError(f"frame budget: {key!r} must be another kind than {spec['kind']}")
    return spec


# Key -> (default, check). A check returns the canonical JSON value or raises ValueError.
Schema = dict[str, tuple[Any, Callable[[str, Any], Any]]]

_PREVIEWS: Schema = {"preview_frames": (8, values.preview_frames)}
_NOVELTY: Schema = _PREVIEWS | {
    "novelty_low": (0.1, values.number),
    "novelty_high": (0.4, values.number),
}
_CANDIDATES: Schema = {"candidates": (DEFAULT_CANDIDATES, values.candidates)}
_ENDPOINT: Schema = {
    "url": ("", values.url),
    "model": ("", values.text),
    "api_key_env": ("", values.environment_variable),
    "request": ({}, values.json_object),
    "requests_per_minute": (0.0, values.rate),
    "concurrency": (4, values.at_least(1)),
    "timeout_s": (60.0, values.number),
    "attempts": (6, values.at_least(1)),
}

SCHEMAS: dict[str, Schema] = {  # by kind
    "fixed": {"frames": (REQUIRED, values.frame_count)},
    "fps": {
        "frames_per_second": (REQUIRED, values.number),
        "min_frames": (4, values.frame_count),
        "max_frames": (64, values.frame_count),
    },
    "duration": _CANDIDATES
    | {"thresholds": (None, values.thresholds), "frames_per_second": (None, values.optional_rate)},
    "instruction": _CANDIDATES,
    "similarity": _CANDIDATES
    | {"features": ("pixel", values.one_of(*FEATURES)), "path": ("", values.text)}
    | _NOVELTY,
    "hybrid": _CANDIDATES
    | _NOVELTY
    | {
        "gap_seconds": (
            {"low": 15.0, "low-medium": 4.0, "medium": 2.0, "high": 1.0},
            values.gap_seconds,
        )
    },
    # sha256 and candidates: of the predictor's file, see `learned.with_predictors`.
    "learned": {
        "path": (REQUIRED, values.required_text),
        "threshold": (0.8, values.probability),
        "candidates": (None, values.optional_candidates),
        "sha256": ("", values.text),
    },
    "judge": _CANDIDATES
    | _PREVIEWS
    | {"preview_pixels": (224, values.at_least(32)), "path": ("", values.text)}
    | _ENDPOINT
    | {"max_tokens": (300, values.at_least(1)), "fallback": (None, _fallback)},
    "consensus": {"of": (REQUIRED, _policies), "rule": ("median", values.one_of(*CONSENSUS_RULES))},
    "random_matched": {
        "of": (None, _other_policy),
        "histogram": (None, values.histogram),
        "seed": (0, values.seed),
    },
    "type_matched": {"of": (REQUIRED, _other_policy), "seed": (0, values.seed)},
    # What an index of a control was made with: see `controls.deal`. No config needs to name it.
    "dealt": {"of": (REQUIRED, _control), "cuts": (REQUIRED, values.cuts)},
}


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
        result["label"] = values.label(spec["label"])
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
    if kind == "similarity" and (spec["features"] == "pixel") == bool(spec["path"]):
        raise ValueError(
            "frame budget: kind 'similarity' takes a 'path', the model's directory or hub id, "
            f"with 'features' 'dinov2' and not with 'pixel'; got {spec['features']!r} and "
            f"{spec['path']!r}"
        )
    if kind == "judge":
        _check_judge(spec)
        if spec["fallback"] is None:
            spec["fallback"] = canonical_spec({"kind": "hybrid", "candidates": spec["candidates"]})
    if kind == "random_matched" and spec["of"] is None and spec["histogram"] is None:
        raise ValueError("frame budget: kind 'random_matched' needs the key 'of' or 'histogram'")
    return spec


def _check_judge(spec: Mapping[str, Any]) -> None:
    """A model of a directory or of an endpoint, and no key that the one in use does not read."""
    if bool(spec["path"]) == bool(spec["url"]):
        raise ValueError(
            "frame budget: kind 'judge' takes 'path' (a model's directory or hub id) or 'url' and "
            f"'model' (an OpenAI-compatible endpoint), one of the two; got {spec['path']!r} and "
            f"{spec['url']!r}"
        )
    if spec["url"] and not spec["model"]:
        raise ValueError("frame budget: kind 'judge' with a 'url' needs the key 'model'")
    if spec["path"]:
        for key, (default, check) in _ENDPOINT.items():
            if spec[key] != check(key, default):
                raise ValueError(f"frame budget: {key!r} has no effect on a judge with a 'path'")


def most_frames(spec: Mapping[str, Any]) -> int:
    """The largest budget that a policy can give: what every clip would get without one."""
    spec = canonical_spec(spec)
    match spec["kind"]:
        case "fixed":
            return spec["frames"]
        case "fps":
            return spec["max_frames"]
        case "consensus":
            return max(map(most_frames, spec["of"]))
        case "judge":
            return max(*spec["candidates"], most_frames(spec["fallback"]))
        case "random_matched":
            if spec["histogram"] is None:
                return most_frames(spec["of"])
            rows = histogram_rows(spec["histogram"]).values()
            return max(int(frames) for row in rows for frames in row)
        case "type_matched" | "dealt":
            return most_frames(spec["of"])
    if not spec["candidates"]:
        raise ValueError(
            "frame budget: kind 'learned' has no 'candidates' before its file is read: "
            "learned.with_predictors fills them in"
        )
    return max(spec["candidates"])


def check_multiples(spec: Mapping[str, Any], frames_at_a_time: int) -> None:
    """Raises ValueError naming a number of frames in the spec, or in one inside it, that the vision
    tower cannot take: it takes `frames_at_a_time`. What was counted, a histogram, may be any."""
    spec = canonical_spec(spec)
    for key in ("frames", "min_frames", "max_frames", "candidates"):
        given = spec.get(key) or []
        for count in given if isinstance(given, list) else [given]:
            if count % frames_at_a_time:
                raise ValueError(
                    f"frame budget: {key!r} must be a multiple of {frames_at_a_time}, the frames "
                    f"that the model's vision tower takes at a time, got {count}"
                )
    inner = spec.get("of") or spec.get("fallback") or []
    for other in inner if isinstance(inner, list) else [inner]:
        check_multiples(other, frames_at_a_time)


def needs_model(spec: Mapping[str, Any]) -> bool:
    """Whether a policy asks a model, of one's own or behind an endpoint."""
    spec = canonical_spec(spec)
    if spec["kind"] == "consensus":
        return any(map(needs_model, spec["of"]))
    if spec["kind"] == "type_matched":
        return needs_model(spec["of"])
    return spec["kind"] == "judge" or spec.get("features", "pixel") != "pixel"


def spec_hash(spec: Mapping[str, Any]) -> str:
    """12 hex digits, equal for every spelling of one policy, on every machine.

    The label is a name and no part of the policy, nor is where and how fast a judge is asked, or
    where the file of a predictor lies.
    """
    text = json.dumps(_deciding(canonical_spec(spec)), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _deciding(value: Any) -> Any:
    """The parts of a spec that decide, in its inner specs too."""
    if isinstance(value, dict) and "kind" in value:
        # A predictor is what its file holds, wherever that lies.
        known = {"path"} if value["kind"] == "learned" and value["sha256"] else set()
        kept = value.keys() - _NO_PART - known
        return {key: _deciding(each) for key, each in value.items() if key in kept}
    return [_deciding(each) for each in value] if isinstance(value, list) else value


def spec_label(spec: Mapping[str, Any]) -> str:
    """A short name for tables and file names: "fixed-8", "fps-1", "hybrid", "hybrid-4-16",
    "judge-Qwen3-VL-8B-Instruct~90ab".

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
    hashed = f"~{spec_hash(spec)[:4]}"
    if kind == "type_matched":
        return f"type-matched({spec_label(spec['of'])})" + (
            f"-s{spec['seed']}" if spec["seed"] else ""
        )
    if kind == "dealt":
        return spec_label(spec["of"])
    if kind == "learned":
        return kind + hashed
    if kind == "consensus":
        return f"{spec['rule']}-of-{len(spec['of'])}{hashed}"
    label, said = kind, {"kind": kind}
    if kind == "fps":
        said["frames_per_second"] = spec["frames_per_second"]
        label = f"fps-{spec['frames_per_second']:g}"
    elif spec["candidates"] != list(DEFAULT_CANDIDATES):
        said["candidates"] = spec["candidates"]
        label = f"{kind}-{'-'.join(map(str, spec['candidates']))}"
    if name := spec.get("model") or spec.get("path"):
        # Two models may end in the same word.
        return f"{label}-{_word(PurePath(name).name)}{hashed}"
    return label if canonical_spec(said) == spec else label + hashed


def _word(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9.-]+", "-", name)[:40]


def histogram_rows(histogram: Mapping[str, Any]) -> Mapping[str, Mapping[str, int]]:
    """The rows of a canonical histogram, by the frames that clips have. One without rows, of a spec
    made before there were any, is one row for all clips."""
    has_rows = isinstance(next(iter(histogram.values())), Mapping)
    return histogram if has_rows else {"1": histogram}


def resolve_spec(
    spec: Mapping[str, Any], budgets: Callable[[Mapping[str, Any]], np.ndarray]
) -> dict[str, Any]:
    """A spec that can be made into a policy without looking at the data again.

    budgets(other) -> int[C, 2]: for each clip of the data set the frames that it has, and the
    frames that policy `other` shows of it. It is called only for a random_matched spec without a
    histogram, which comes back with one; any other spec comes back as it is.

    The histogram has a row for each number of frames that clips have, those with at least
    `most_frames(other)` in one. What was given to a clip of a row any other clip of it can show
    too: a draw is never cut, and its mean is that of the row. Clips of one frame leave no choice
    and are not counted.

    Raises ValueError where no clip is left.
    """
    if not isinstance(spec, Mapping) or spec.get("kind") != "random_matched":
        return dict(spec)
    spec = canonical_spec(spec)
    if spec["histogram"] is None:
        most = most_frames(spec["of"])
        rows: dict[int, collections.Counter[int]] = {}
        for has, shown in np.asarray(budgets(spec["of"])).reshape(-1, 2).tolist():
            if has > 1:
                rows.setdefault(min(has, most), collections.Counter())[shown] += 1
        if not rows:
            raise ValueError("frame budget: random_matched found no video to take a histogram of")
        spec["histogram"] = values.histogram("histogram", rows)
    return spec
