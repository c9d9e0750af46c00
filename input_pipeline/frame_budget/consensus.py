"""Several policies decide together; the reason shows what each of them said."""

import collections
from collections.abc import Mapping, Sequence
from typing import Any

from input_pipeline.frame_budget.query import BudgetQuery, FrameBudgetPolicy
from input_pipeline.frame_budget.spec import spec_label


class Consensus:
    """(query) -> (frames, why), for a canonical "consensus" spec and the policies of its "of"."""

    def __init__(self, spec: Mapping[str, Any], policies: Sequence[FrameBudgetPolicy]):
        self._rule = spec["rule"]
        self._policies = list(policies)
        self._labels = [spec_label(policy.spec) for policy in policies]

    def __call__(self, query: BudgetQuery) -> tuple[int, str]:
        budgets = [policy(query) for policy in self._policies]
        said = " | ".join(
            f"{label} {budget.why}" for label, budget in zip(self._labels, budgets, strict=True)
        )
        frames = RULES[self._rule]([budget.frames for budget in budgets])
        return frames, f"{self._rule} of [{said}]"


def median(frames: Sequence[int]) -> int:
    """The middle one; the lower of two middle ones, so that it is always one that was named."""
    return sorted(frames)[(len(frames) - 1) // 2]


def vote(frames: Sequence[int]) -> int:
    """The one named most often; the smallest of several named equally often."""
    counts = collections.Counter(frames)
    return min(counts, key=lambda each: (-counts[each], each))


RULES = {"median": median, "max": max, "vote": vote}
