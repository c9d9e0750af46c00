"""The policies: for each kind how to decide, (query) -> (frames, reason).

Kinds that need no model are one pure function each. A decision may name more frames than the clip
has; `Policy` caps it.
"""

import collections
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from input_pipeline.frame_budget.budget import (
    BudgetQuery,
    Decide,
    FrameBudget,
    Policy,
    at_level,
    nearest_candidate,
)
from input_pipeline.frame_budget.controls import dealt, drawn
from input_pipeline.frame_budget.instruction import Demand, demand_of
from input_pipeline.frame_budget.judge import Judge
from input_pipeline.frame_budget.learned import learned
from input_pipeline.frame_budget.novelty import pixel_novelty, similarity
from input_pipeline.frame_budget.spec import (
    canonical_spec,
    check_multiples,
    spec_label,
)
from input_pipeline.frame_budget.tools import Tools

NOVELTY_WORDS = {-1: "low novelty", 0: "medium novelty", 1: "high novelty"}
DEMAND_SIGNS = {"low": " (-)", "low-medium": "", "medium": "", "high": " (+)"}
_OWN_RATE = 0.05
_LEAST_ASKED, _MOST_ASKED = 4, 768  # qwen-vl-utils' FPS_MIN_FRAMES, FPS_MAX_FRAMES

_Spec = Mapping[str, Any]
_NO_TOOLS = Tools()


def make_policy(spec: _Spec, tools: Tools = _NO_TOOLS, *, frames_at_a_time: int = 1) -> Policy:
    """The policy that `spec` describes; docs/frame_budget.md lists kinds and keys.

    tools: the models of kinds that need one, which other kinds do not look at. frames_at_a_time:
    how many the vision tower takes (`VisionLayout.min_frames`); budgets are multiples of it.

    Raises ValueError naming an unknown kind, an unknown or missing key, a bad value, numbers of
    frames that are no multiples of `frames_at_a_time`, or a random_matched spec whose histogram has
    not been filled in by `resolve_spec`; ModelError where `tools` lacks what the kind needs.
    """
    spec = canonical_spec(spec)
    check_multiples(spec, frames_at_a_time)
    if spec["kind"] == "random_matched" and spec["histogram"] is None:
        raise ValueError(
            "frame budget: random_matched needs a 'histogram' before it can decide; "
            "resolve_spec(spec, budgets) fills it in from the budgets of the policy under 'of'"
        )
    return Policy(spec, frames_at_a_time, _decider(spec, tools, frames_at_a_time))


def asked_budget(
    query: BudgetQuery, fps: float | None, nframes: int | None, frames_at_a_time: int
) -> FrameBudget | None:
    """What the data itself asks for one clip, in place of a policy; None where it asks nothing.

    nframes: frames, rounded to a multiple of `frames_at_a_time`. fps: frames a second of the clip,
    4 to 768 in all, rounded down, as qwen-vl-utils' `smart_nframes` does (the policy of kind "fps"
    takes the nearest); the file's own rate, give or take 5 %, asks for nothing.
    """
    own = query.media.fps
    if query.media.kind == "image" or not (nframes or fps):
        return None
    if nframes:
        wanted, reason = round(nframes / frames_at_a_time) * frames_at_a_time, "fixed"
    elif fps and abs(fps - own) > _OWN_RATE * own:
        exact = query.media.duration_s * fps + 1e-6  # durations are sums of rounded times
        wanted = int(min(max(exact, _LEAST_ASKED), _MOST_ASKED))
        reason = f"{_seconds(query)} at {fps:g} frames/s"
    else:
        return None
    policy = Policy({}, frames_at_a_time, lambda _: (max(wanted, frames_at_a_time), reason))
    budget = policy(query)
    return FrameBudget(budget.frames, f"{budget.reason}, as the data asks")


def _decider(spec: _Spec, tools: Tools, frames_at_a_time: int) -> Decide:
    """What a canonical spec decides by. Partials and not closures, which cannot be pickled."""
    match spec["kind"]:
        case "similarity":
            return similarity(spec, tools)
        case "learned":
            return learned(spec)
        case "judge":
            fallback = make_policy(spec["fallback"], frames_at_a_time=frames_at_a_time)
            return Judge(spec, tools, fallback)
        case "consensus":
            policies = [
                make_policy(each, tools, frames_at_a_time=frames_at_a_time) for each in spec["of"]
            ]
            return functools.partial(_consensus, RULES[spec["rule"]], policies)
        case "type_matched":
            # A question alone has no others to change budgets with.
            return _decider(spec["of"], tools, frames_at_a_time)
        case "fps":
            return functools.partial(_fps, spec, frames_at_a_time)
        case kind:
            return functools.partial(_PURE[kind], spec)


def _seconds(query: BudgetQuery) -> str:
    return f"{query.media.duration_s:.1f} s"


def _reason(demand: Demand) -> str:
    return demand.why + DEMAND_SIGNS[demand.demand]


def _fixed(spec: _Spec, query: BudgetQuery) -> tuple[int, str]:
    return spec["frames"], "fixed"


def _fps(spec: _Spec, frames_at_a_time: int, query: BudgetQuery) -> tuple[int, str]:
    times = round(query.media.duration_s * spec["frames_per_second"] / frames_at_a_time)
    frames = min(max(times * frames_at_a_time, spec["min_frames"]), spec["max_frames"])
    return frames, f"{_seconds(query)} at {spec['frames_per_second']:g} frames/s"


def _duration(spec: _Spec, query: BudgetQuery) -> tuple[int, str]:
    seconds = query.media.duration_s
    if spec["thresholds"] is not None:
        step = sum(seconds > threshold for threshold in spec["thresholds"])
        return spec["candidates"][step], _seconds(query)
    wanted = max(seconds * spec["frames_per_second"], 1.0)
    rate = f"{_seconds(query)} at {spec['frames_per_second']:g} frames/s"
    return nearest_candidate(spec["candidates"], wanted), rate


def _instruction(spec: _Spec, query: BudgetQuery) -> tuple[int, str]:
    demand = demand_of(query)
    wanted = at_level(spec["candidates"], demand.level)
    return nearest_candidate(spec["candidates"], wanted), _reason(demand)


def _hybrid(spec: _Spec, query: BudgetQuery) -> tuple[int, str]:
    """Instruction demand × duration × visual novelty; docs/frame_budget.md has a worked example."""
    demand = demand_of(query)
    outcomes = {step: _hybrid_frames(spec, query, demand, step) for step in NOVELTY_WORDS}
    reason = f"{_reason(demand)}, {_seconds(query)}"
    if len(set(outcomes.values())) == 1 or query.media.frames <= min(outcomes.values()):
        return outcomes[0], f"{reason}, any novelty"
    value = pixel_novelty(spec["preview_frames"], query)
    step = int(value >= spec["novelty_high"]) - int(value < spec["novelty_low"])
    return outcomes[step], f"{reason}, {NOVELTY_WORDS[step]}"


def _hybrid_frames(spec: _Spec, query: BudgetQuery, demand: Demand, novelty_step: int) -> int:
    candidates = spec["candidates"]
    # The text alone may earn the whole range; a clip not yet looked at gets one doubling less, and
    # its length and novelty may win that back or halve it once more.
    base = max(at_level(candidates, demand.level) / 2, candidates[0])
    wanted = query.media.duration_s / spec["gap_seconds"][demand.demand] * 2.0**novelty_step
    return nearest_candidate(candidates, min(max(wanted, base / 2), base * 2))


def _consensus(
    rule: Callable[[Sequence[int]], int], policies: Sequence[Policy], query: BudgetQuery
) -> tuple[int, str]:
    """Several policies decide together; the reason shows what each of them said."""
    budgets = [policy(query) for policy in policies]
    said = " | ".join(
        f"{spec_label(policy.spec)} {budget.why}"
        for policy, budget in zip(policies, budgets, strict=True)
    )
    return rule([budget.frames for budget in budgets]), f"{rule.__name__} of [{said}]"


def median(frames: Sequence[int]) -> int:
    """The middle one; the lower of two middle ones, so that it is always one that was named."""
    return sorted(frames)[(len(frames) - 1) // 2]


def vote(frames: Sequence[int]) -> int:
    """The one named most often; the smallest of several named equally often."""
    counts = collections.Counter(frames)
    return min(counts, key=lambda each: (-counts[each], each))


RULES: dict[str, Callable[[Sequence[int]], int]] = {"median": median, "max": max, "vote": vote}

_PURE: dict[str, Callable[[_Spec, BudgetQuery], tuple[int, str]]] = {
    "fixed": _fixed,
    "duration": _duration,
    "instruction": _instruction,
    "hybrid": _hybrid,
    "random_matched": drawn,
    "dealt": dealt,
}
