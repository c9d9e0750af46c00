"""Choosing among candidate numbers of frames. Everything is measured in ratios (log2)."""

import math
from collections.abc import Sequence


def nearest_candidate(candidates: Sequence[int], wanted: float) -> int:
    """The candidate nearest to `wanted` frames in ratio; the smaller of two equally near."""
    # Rounded, so that an exact tie does not depend on the last bit of a logarithm.
    return min(candidates, key=lambda c: (round(abs(math.log2(c / wanted)), 9), c))


def at_level(candidates: Sequence[int], level: float) -> float:
    """Frames at `level` in [0, 1] of the way from the first to the last candidate, in log2."""
    return candidates[0] * (candidates[-1] / candidates[0]) ** level
