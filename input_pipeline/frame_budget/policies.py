"""The policies: one pure function a kind, from (spec, query) to (frames, why).

Each function may name more frames than the clip has; `Policy` caps the answer.
"""

import copy
import dataclasses
import hashlib
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from input_pipeline.frame_budget.instruction import Demand, instruction_demand
from input_pipeline.frame_budget.novelty import novelty
from input_pipeline.frame_budget.query import BudgetQuery, FrameBudget, capped
from input_pipeline.frame_budget.spec import canonical_spec

NOVELTY_WORDS = {-1: "low novelty", 0: "medium novelty", 1: "high novelty"}
DEMAND_SIGNS = {"low": " (-)", "low-medium": "", "medium": "", "high": " (+)"}


def nearest_candidate(candidates: Sequence[int], wanted: float) -> int:
    """The candidate nearest to `wanted` frames in ratio (log2); the smaller of two equally near."""
    # Rounded, so that an exact tie does not depend on the last bit of a logarithm.
    return min(candidates, key=lambda c: (round(abs(math.log2(c / wanted)), 9), c))


def at_level(candidates: Sequence[int], level: float) -> float:
    """Frames at `level` in [0, 1] of the way from the first to the last candidate, in log2."""
    return candidates[0] * (candidates[-1] / candidates[0]) ** level


def _seconds(query: BudgetQuery) -> str:
    return f"{query.media.duration_s:.1f} s"


def _reason(demand: Demand) -> str:
    return demand.why + DEMAND_SIGNS[demand.demand]


def _fixed(spec: Mapping[str, Any], query: BudgetQuery) -> tuple[int, str]:
    return spec["frames"], "fixed"


def _fps(spec: Mapping[str, Any], query: BudgetQuery) -> tuple[int, str]:
    wanted = 2 * round(query.media.duration_s * spec["frames_per_second"] / 2)
    frames = min(max(wanted, spec["min_frames"]), spec["max_frames"])
    return frames, f"{_seconds(query)} at {spec['frames_per_second']:g} frames/s"


def _duration(spec: Mapping[str, Any], query: BudgetQuery) -> tuple[int, str]:
    seconds = query.media.duration_s
    if spec["thresholds"] is not None:
        step = sum(seconds > threshold for threshold in spec["thresholds"])
        return spec["candidates"][step], _seconds(query)
    wanted = max(seconds * spec["frames_per_second"], 1.0)
    rate = f"{_seconds(query)} at {spec['frames_per_second']:g} frames/s"
    return nearest_candidate(spec["candidates"], wanted), rate


def _instruction(spec: Mapping[str, Any], query: BudgetQuery) -> tuple[int, str]:
    demand = instruction_demand(query.instruction)
    wanted = at_level(spec["candidates"], demand.level)
    return nearest_candidate(spec["candidates"], wanted), _reason(demand)


def _similarity(spec: Mapping[str, Any], query: BudgetQuery) -> tuple[int, str]:
    value = novelty(query.preview(spec["preview_frames"]))
    low, high = spec["novelty_low"], spec["novelty_high"]
    level = min(max((value - low) / (high - low), 0.0), 1.0)
    frames = nearest_candidate(spec["candidates"], at_level(spec["candidates"], level))
    return frames, f"novelty {value:.2f}"


def _hybrid(spec: Mapping[str, Any], query: BudgetQuery) -> tuple[int, str]:
    """Instruction demand × duration × visual novelty; docs/frame_budget.md has a worked example."""
    demand = instruction_demand(query.instruction)
    outcomes = {step: _hybrid_frames(spec, query, demand, step) for step in NOVELTY_WORDS}
    reason = f"{_reason(demand)}, {_seconds(query)}"
    if len(set(outcomes.values())) == 1 or query.media.frames <= min(outcomes.values()):
        return outcomes[0], f"{reason}, any novelty"
    value = novelty(query.preview(spec["preview_frames"]))
    step = int(value >= spec["novelty_high"]) - int(value < spec["novelty_low"])
    return outcomes[step], f"{reason}, {NOVELTY_WORDS[step]}"


def _hybrid_frames(
    spec: Mapping[str, Any], query: BudgetQuery, demand: Demand, novelty_step: int
) -> int:
    candidates = spec["candidates"]
    # The text alone may earn the whole range; a clip not yet looked at gets one doubling less, and
    # its length and novelty may win that back or halve it once more.
    base = max(at_level(candidates, demand.level) / 2, candidates[0])
    wanted = query.media.duration_s / spec["gap_seconds"][demand.demand] * 2.0**novelty_step
    return nearest_candidate(candidates, min(max(wanted, base / 2), base * 2))


def _random_matched(spec: Mapping[str, Any], query: BudgetQuery) -> tuple[int, str]:
    counts = list(spec["histogram"].values())
    # A keyed digest, not hash(): the same on every machine, in every process, in any order.
    key = f"{spec['seed']}\n{query.example_id}".encode()
    digest = int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big")
    rank = digest * sum(counts) >> 64
    for frames, end in zip(spec["histogram"], itertools.accumulate(counts), strict=True):
        if rank < end:
            return int(frames), "drawn at random"
    raise AssertionError(f"rank {rank} outside the histogram {spec['histogram']}")


_DECIDE: dict[str, Callable[[Mapping[str, Any], BudgetQuery], tuple[int, str]]] = {
    "fixed": _fixed,
    "fps": _fps,
    "duration": _duration,
    "instruction": _instruction,
    "similarity": _similarity,
    "hybrid": _hybrid,
    "random_matched": _random_matched,
}


@dataclasses.dataclass(frozen=True)
class Policy:
    """A frame budget policy of any kind. Make one with `make_policy`."""

    _spec: dict[str, Any]

    @property
    def spec(self) -> dict[str, Any]:
        """The canonical spec (a copy): what goes into the index, the checkpoint and the results."""
        return copy.deepcopy(self._spec)

    def __call__(self, query: BudgetQuery) -> FrameBudget:
        """The budget of one medium. An image is one frame whatever the policy."""
        if query.media.kind == "image":
            return FrameBudget(1, "1: an image")
        frames, reason = _DECIDE[self._spec["kind"]](self._spec, query)
        return capped(frames, reason, query.media.frames)


def make_policy(spec: Mapping[str, Any]) -> Policy:
    """The policy that `spec` describes; docs/frame_budget.md lists kinds and keys.

    Raises ValueError naming an unknown kind, an unknown or missing key, a bad value, or a
    random_matched spec whose histogram has not been filled in by `resolve_spec`.
    """
    spec = canonical_spec(spec)
    if spec["kind"] == "random_matched" and spec["histogram"] is None:
        raise ValueError(
            "frame budget: random_matched needs a 'histogram' before it can decide; "
            "resolve_spec(spec, budgets) fills it in from the budgets of the policy under 'of'"
        )
    return Policy(spec)
