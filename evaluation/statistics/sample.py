"""Scores with what their questions hang on, and the intervals that are made from them."""

import dataclasses
from collections.abc import Hashable, Sequence

import numpy as np

LEVEL = 0.95
CHUNK = 4_000_000  # numbers drawn at one time, to bound the memory of a bootstrap


@dataclasses.dataclass(frozen=True)
class Interval:
    """A mean with its 95 % interval; low and high are nan where no interval can be given.

    n: questions. seeds: training seeds that the mean is over.
    """

    mean: float
    low: float
    high: float
    n: int
    seeds: int = 1

    @property
    def excludes_zero(self) -> bool:
        """Whether a difference with this interval is beyond noise."""
        return self.low > 0 or self.high < 0


@dataclasses.dataclass(frozen=True, eq=False)
class Sample:
    """What the questions of one benchmark scored.

    scores: float[Q]; of S training seeds float[S, Q]. clusters: for each question the clip or
    picture that it is about. Questions of one cluster are right or wrong together, so that what is
    drawn again is a cluster and not a question. None: each question is a cluster of its own.
    """

    scores: np.ndarray
    clusters: Sequence[Hashable] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "scores", np.asarray(self.scores, dtype=np.float64))
        if self.clusters is not None and len(self.clusters) != self.scores.shape[-1]:
            raise ValueError(
                f"{len(self.clusters)} clusters for scores of shape {self.scores.shape}: "
                "there must be one for each question"
            )

    def totals(self) -> tuple[np.ndarray, np.ndarray]:
        """float[K] or float[S, K], the sum of each cluster's scores, and float[K], its questions.
        Clusters come in the order in which they are first met."""
        if self.clusters is None:
            return self.scores, np.ones(self.scores.shape[-1])
        numbers: dict[Hashable, int] = {}
        where = np.array([numbers.setdefault(name, len(numbers)) for name in self.clusters])
        rows = np.atleast_2d(self.scores)
        sums = np.stack([np.bincount(where, row, len(numbers)) for row in rows])
        sizes = np.bincount(where, minlength=len(numbers)).astype(np.float64)
        return sums.reshape(*self.scores.shape[:-1], -1), sizes


def samples_of(strata: Sequence[Sample | np.ndarray], ndim: int) -> list[Sample]:
    """What a function was given, bare arrays without clusters. Raises ValueError for no strata, an
    empty one, or scores that have not `ndim` axes."""
    found = [each if isinstance(each, Sample) else Sample(each) for each in strata]
    if not found or any(each.scores.ndim != ndim or each.scores.size == 0 for each in found):
        shapes = [each.scores.shape for each in found]
        raise ValueError(f"expected one or more non-empty arrays with {ndim} axes, got {shapes}")
    return found
