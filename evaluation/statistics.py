"""Intervals for means of question scores: one model, two models, several seeds.

All intervals are 95 % intervals of a mean over questions, seen as a sample of the questions that
could have been asked. Several arrays given to one function are strata (benchmarks): the result is
the mean of their means, each counting the same whatever its size.
"""

import dataclasses
import math

import numpy as np

LEVEL = 0.95
_CHUNK = 4_000_000  # numbers drawn at one time, to bound the memory of a bootstrap


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


def wilson(successes: int, n: int) -> Interval:
    """Wilson's score interval of a share of right answers (Wilson 1927).

    Unlike mean ± 1.96 standard errors it stays inside 0..1 and is not empty at 0 or n successes.
    Raises ValueError unless 0 <= successes <= n and n > 0.
    """
    if n <= 0 or not 0 <= successes <= n:
        raise ValueError(f"successes {successes} of n {n}: expected 0 <= successes <= n, n > 0")
    from scipy import stats  # takes seconds to import, and only an evaluation needs it

    interval = stats.binomtest(successes, n).proportion_ci(LEVEL, method="wilson")
    return Interval(successes / n, float(interval.low), float(interval.high), n)


def bootstrap_mean(*strata: np.ndarray, draws: int = 4000, seed: int = 0) -> Interval:
    """Percentile bootstrap of the mean over strata of the means of float[Q] arrays.

    Resampling Q questions is drawing how often each distinct value occurs, a multinomial: the same
    distribution as drawing indices, and much faster for scores that are mostly 0 or 1 than
    scipy.stats.bootstrap, which draws indices and knows no strata.
    """
    arrays = _strata(strata, ndim=1)
    generator = np.random.default_rng(seed)
    means = np.zeros(draws)
    for array in arrays:
        values, counts = np.unique(array, return_counts=True)
        share = counts / len(array)
        step = max(1, _CHUNK // len(values))
        for begin in range(0, draws, step):
            size = min(step, draws - begin)
            drawn = generator.multinomial(len(array), share, size=size)
            means[begin : begin + size] += drawn @ values / len(array) / len(arrays)
    low, high = np.quantile(means, [0.5 - LEVEL / 2, 0.5 + LEVEL / 2])
    mean = float(np.mean([array.mean() for array in arrays]))
    return Interval(mean, float(low), float(high), sum(map(len, arrays)))


def paired_difference(scores: np.ndarray, base: np.ndarray, **options: int) -> Interval:
    """Bootstrap of mean(scores - base) for float[Q] scores of two models on the same questions.

    Pairing keeps the questions' difficulty out of the interval. `options` as in `bootstrap_mean`.
    Raises ValueError if the shapes differ.
    """
    if np.shape(scores) != np.shape(base):
        raise ValueError(
            f"paired scores of shapes {np.shape(scores)} and {np.shape(base)}: "
            "both must hold the same questions in the same order"
        )
    return bootstrap_mean(np.asarray(scores, float) - np.asarray(base, float), **options)


def mean_interval(*strata: np.ndarray) -> Interval:
    """Wilson for one float[Q] array of zeros and ones, else the bootstrap."""
    arrays = _strata(strata, ndim=1)
    if len(arrays) == 1 and np.isin(arrays[0], (0.0, 1.0)).all():
        return wilson(int(arrays[0].sum()), len(arrays[0]))
    return bootstrap_mean(*arrays)


def seeds_interval(*strata: np.ndarray) -> Interval:
    """t interval of the mean of float[S, Q] arrays over S training seeds and Q questions.

    Both the seeds and the questions are samples, crossed: each seed answers each question. The
    variance of the mean is estimated from the two-way analysis of variance,

        var(seed means) / S + var(question means) / Q - residual / (S Q),

    with Satterthwaite's degrees of freedom. A bootstrap over five seeds would be too narrow by a
    fifth of the seeds' variance, and a t interval over seeds alone would leave the choice of
    questions out. With one seed only the questions count, as in `bootstrap_mean`.
    Raises ValueError if strata disagree about S.
    """
    arrays = _strata(strata, ndim=2)
    seeds = len(arrays[0])
    if any(len(array) != seeds for array in arrays):
        raise ValueError(f"strata with different numbers of seeds: {[len(a) for a in arrays]}")
    if seeds == 1:
        return bootstrap_mean(*(array[0] for array in arrays))
    per_seed = np.mean([array.mean(axis=1) for array in arrays], axis=0)
    mean = float(per_seed.mean())
    n = sum(array.shape[1] for array in arrays)
    parts = [(per_seed.var(ddof=1) / seeds, seeds - 1)]
    residual_part = 0.0
    for array in arrays:
        count, weight = array.shape[1], 1 / len(arrays) ** 2
        if count < 2:
            return Interval(mean, math.nan, math.nan, n, seeds)
        parts.append((weight * array.mean(axis=0).var(ddof=1) / count, count - 1))
        residual = array - array.mean(axis=0) - array.mean(axis=1, keepdims=True) + array.mean()
        mean_square = (residual**2).sum() / ((seeds - 1) * (count - 1))
        residual_part += weight * mean_square / (seeds * count)
    # The estimate may fall below its larger part, or below zero, by chance; the mean cannot.
    variance = max(sum(part for part, _ in parts) - residual_part, max(part for part, _ in parts))
    if variance == 0:
        return Interval(mean, mean, mean, n, seeds)
    freedom = sum(part for part, _ in parts) ** 2 / sum(part**2 / df for part, df in parts)
    from scipy import stats  # as in `wilson`

    low, high = stats.t.interval(LEVEL, freedom, loc=mean, scale=math.sqrt(variance))
    return Interval(mean, float(low), float(high), n, seeds)


def _strata(strata: tuple[np.ndarray, ...], ndim: int) -> list[np.ndarray]:
    arrays = [np.asarray(array, dtype=np.float64) for array in strata]
    if not arrays or any(array.ndim != ndim or array.size == 0 for array in arrays):
        shapes = [array.shape for array in arrays]
        raise ValueError(f"expected one or more non-empty arrays with {ndim} axes, got {shapes}")
    return arrays
