"""Whether two models differ that answered the same questions."""

import math
from collections.abc import Sequence

import numpy as np

from evaluation.statistics.sample import CHUNK, LEVEL, Interval, Sample, samples_of

POWER = 0.80
_FLIPS = 10_000
_EQUAL = 1e-9  # sums of scores that differ by less are equal


def mcnemar(gained: int, lost: int) -> float:
    """Exact two-sided McNemar test (McNemar 1947) of right-or-wrong answers: the p-value of as
    uneven a split of the questions that one model alone has right.

    It takes questions as independent, see `paired_p_value`. 1.0 where the answers are alike.
    """
    from scipy import stats  # takes seconds to import, and only a comparison needs it

    return float(stats.binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0


def paired_p_value(differences: Sample | np.ndarray, seed: int = 0) -> float:
    """Two-sided p-value of the mean of float[Q] differences between two models' scores.

    Were there none, a cluster could as well have had the opposite difference: the p-value is the
    share of all ways to flip the clusters' signs that give a sum as far from zero. Where every
    cluster differs by the same amount or not at all this is McNemar's test, exact; else 10,000 ways
    are drawn, and the smallest p-value is 1 / 10,001.
    """
    (sample,) = samples_of([differences], ndim=1)
    sums, _ = sample.totals()
    sizes, counts = np.unique(np.abs(sums).round(9), return_counts=True)
    sizes, counts = sizes[sizes > 0], counts[sizes > 0]
    if len(sizes) <= 1:
        return mcnemar(int((sums > _EQUAL).sum()), int((sums < -_EQUAL).sum()))
    generator = np.random.default_rng(seed)
    observed, extreme = abs(sums.sum()), 0
    step = max(1, CHUNK // len(sizes))
    for begin in range(0, _FLIPS, step):
        positive = generator.binomial(counts, 0.5, size=(min(step, _FLIPS - begin), len(sizes)))
        extreme += int((np.abs((2 * positive - counts) @ sizes) >= observed - _EQUAL).sum())
    return (1 + extreme) / (1 + _FLIPS)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction (Holm 1979) of several p-values, in their order.

    Those below 0.05 are together wrong in at most 5 % of families of tests without any effect,
    however the tests depend on each other.
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p)
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted.tolist()


def smallest_difference(interval: Interval) -> float:
    """The smallest true difference that questions like these show with 80 % power at the 5 % level:

        (z(0.975) + z(0.80)) · standard error = (1.960 + 0.842) · standard error,

    the standard error being half the width of the difference's 95 % interval over 1.960. nan where
    there is no width: without an interval, or with models that answer alike.
    """
    if not interval.high > interval.low:
        return math.nan
    from scipy import special

    beyond, power = special.ndtri([0.5 + LEVEL / 2, POWER])
    return float((beyond + power) * (interval.high - interval.low) / (2 * beyond))
