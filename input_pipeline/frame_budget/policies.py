"""The policies: for each kind how to decide, (query) -> (frames, why).

Kinds that need no model are one pure function each. A decision may name more frames than the clip
has; `Policy` caps it.
"""

import copy
import dataclasses
import functools
import hashlib
import itertools
from collections.abc import Callable, Mapping
from typing import Any

from input_pipeline.frame_budget.candidates import at_level, nearest_candidate
from input_pipeline.frame_budget.consensus import Consensus
from input_pipeline.frame_budget.instruction import Demand, instruction_demand
from input_pipeline.frame_budget.judge import Judge
from input_pipeline.frame_budget.novelty import novelty
from input_pipeline.frame_budget.query import BudgetQuery, FrameBudget, capped
from input_pipeline.frame_budget.similarity import Similarity
from input_pipeline.frame_budget.spec import canonical_spec
from input_pipeline.frame_budget.tools import Tools

NOVELTY_WORDS = {-1: "low novelty", 0: "medium novelty", 1: "high novelty"}
DEMAND_SIGNS = {"low": " (-)", "low-medium": "", "medium": "", "high": " (+)"}


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


Decide = Callable[[BudgetQuery], tuple[int, str]]
_Pure = Callable[[Mapping[str, Any], BudgetQuery], tuple[int, str]]

_PURE: dict[str, _Pure] = {
    "fixed": _fixed,
    "fps": _fps,
    "duration": _duration,
    "instruction": _instruction,
    "hybrid": _hybrid,
    "random_matched": _random_matched,
}


def _decider(spec: Mapping[str, Any], tools: Tools) -> Decide:
    """What a canonical spec decides by."""
    match spec["kind"]:
        case "similarity":
            return Similarity(spec, tools)
        case "judge":
            return Judge(spec, tools, make_policy(spec["fallback"]))
        case "consensus":
            return Consensus(spec, [make_policy(each, tools) for each in spec["of"]])
        case kind:
            return functools.partial(_PURE[kind], spec)


@dataclasses.dataclass(frozen=True)
class Policy:
    """A frame budget policy of any kind. Make one with `make_policy`."""

    _spec: dict[str, Any]
    _decide: Decide = dataclasses.field(compare=False, repr=False)

    @property
    def spec(self) -> dict[str, Any]:
        """The canonical spec (a copy): what goes into the index, the checkpoint and the results."""
        return copy.deepcopy(self._spec)

    def __call__(self, query: BudgetQuery) -> FrameBudget:
        """The budget of one medium. An image is one frame whatever the policy."""
        if query.media.kind == "image":
            return FrameBudget(1, "1: an image")
        frames, reason = self._decide(query)
        return capped(frames, reason, query.media.frames)


_NO_TOOLS = Tools()


def make_policy(spec: Mapping[str, Any], tools: Tools = _NO_TOOLS) -> Policy:
    """The policy that `spec` describes; docs/frame_budget.md lists kinds and keys.

    tools: the models of kinds that need one, which other kinds do not look at.

    Raises ValueError naming an unknown kind, an unknown or missing key, a bad value, or a
    random_matched spec whose histogram has not been filled in by `resolve_spec`; ModelError where
    `tools` lacks what the kind needs.
    """
    spec = canonical_spec(spec)
    if spec["kind"] == "random_matched" and spec["histogram"] is None:
        raise ValueError(
            "frame budget: random_matched needs a 'histogram' before it can decide; "
            "resolve_spec(spec, budgets) fills it in from the budgets of the policy under 'of'"
        )
    return Policy(spec, _decider(spec, tools))
