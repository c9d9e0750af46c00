"""The policy of kind "learned": the fewest frames that a predictor expects to suffice."""

import functools
import os
from collections.abc import Mapping
from typing import Any

from input_pipeline.frame_budget.budget import BudgetQuery, Decide
from input_pipeline.frame_budget.learned.features import features_of
from input_pipeline.frame_budget.learned.predictor import (
    Predictor,
    PredictorError,
    budget_at,
    digest,
    load,
    read,
)
from input_pipeline.paths import is_remote

_INNER = ("of", "fallback")


def names_predictor(spec: Any) -> bool:
    """Whether a policy, or one inside it, is a learned one."""
    if isinstance(spec, list | tuple):
        return any(map(names_predictor, spec))
    if not isinstance(spec, Mapping):
        return False
    return spec.get("kind") == "learned" or any(names_predictor(spec.get(key)) for key in _INNER)


def with_predictors(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The spec, learned ones in it with what their files say: sha256, the counts to choose among
    unless it names some, and an absolute path.

    Raises PredictorError for a file that cannot be used, is another one than `sha256` says, or does
    not know a candidate.
    """
    found = dict(spec)
    for key in _INNER:
        inner = found.get(key)
        if isinstance(inner, Mapping):
            found[key] = with_predictors(inner)
        elif isinstance(inner, list | tuple):
            found[key] = [with_predictors(each) for each in inner]
    if found.get("kind") == "learned" and isinstance(found.get("path"), str) and found["path"]:
        path = found["path"]
        found["path"] = path if is_remote(path) else os.path.abspath(path)
        predictor, found["sha256"] = _opened(found)
        found["candidates"] = list(found.get("candidates") or predictor.counts)
    return found


def learned(spec: Mapping[str, Any]) -> Decide:
    """How a canonical "learned" spec decides. Raises PredictorError as `with_predictors` does."""
    predictor, _ = _opened(spec)
    candidates = tuple(spec["candidates"] or predictor.counts)
    return functools.partial(_decide, predictor, candidates, spec["threshold"])


def _opened(spec: Mapping[str, Any]) -> tuple[Predictor, str]:
    path, expected = spec["path"], spec.get("sha256")
    data = read(path)
    sha256 = digest(data)
    if expected and sha256 != expected:
        raise PredictorError(
            f"frame budget: 'path' of kind 'learned': {path} is another predictor (sha256 "
            f"{sha256[:12]}…) than the policy was made with ({expected[:12]}…): put that one back, "
            "or take 'sha256' out of config.frames to use this one"
        )
    predictor = load(data, path)
    unknown = [each for each in spec.get("candidates") or () if each not in predictor.counts]
    if unknown:
        raise PredictorError(
            f"frame budget: 'candidates' of kind 'learned': {path} knows {list(predictor.counts)} "
            f"frames and not {unknown}: name some of those, or ask the model at the others too "
            "(--config.eval.frames) and fit it anew with --job=budget"
        )
    return predictor, sha256


def _decide(
    predictor: Predictor, candidates: tuple[int, ...], threshold: float, query: BudgetQuery
) -> tuple[int, str]:
    if query.media.frames <= candidates[0]:
        return candidates[0], "any prediction"
    suffices = predictor.suffices(features_of(query))
    frames = budget_at({count: suffices[count] for count in candidates}, threshold)
    if frames == candidates[-1]:
        below = suffices[candidates[-2]] if len(candidates) > 1 else 0.0
        return frames, f"fewer are predicted to suffice with p {below:.2f}"
    return frames, f"predicted to suffice with p {suffices[frames]:.2f}"
