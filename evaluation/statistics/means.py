"""95 % intervals of a mean over questions, seen as a sample of those that could have been asked.

Several samples given to one function are strata (benchmarks): the result is the mean of their
means, each counting the same whatever its size.
"""

import math

import numpy as np

from evaluation.statistics.sample import CHUNK, LEVEL, Interval, Sample, samples_of


def wilson(successes: float, n: int) -> Interval:
    """Wilson's score interval of a share of right answers (Wilson 1927).

    Unlike mean ± 1.96 standard errors it stays inside 0..1 and is not empty at 0 or n successes.
    successes: a fraction for graded scores, whose interval is then at least as wide as it must be.
    Raises ValueError unless 0 <= successes <= n and n > 0.
    """
    if n <= 0 or not 0 <= successes <= n:
        raise ValueError(f"successes {successes} of n {n}: expected 0 <= successes <= n, n > 0")
    from scipy import special  # only an evaluation needs it

    share, square = successes / n, float(special.ndtri(0.5 + LEVEL / 2)) ** 2
    centre = (share + square / (2 * n)) / (1 + square / n)
    half = math.sqrt(square * (share * (1 - share) / n + square / (4 * n * n))) / (1 + square / n)
    low = 0.0 if successes == 0 else centre - half
    high = 1.0 if successes == n else centre + half
    return Interval(share, low, high, n)


def bootstrap_mean(*strata: Sample | np.ndarray, draws: int = 4000, seed: int = 0) -> Interval:
    """Bootstrap over clusters of the mean over strata of the means of float[Q] scores.

    As many clusters as there are are drawn with all their questions, so a mean is a ratio of two
    sums. Drawing them is drawing how often each distinct (sum, size) occurs, a multinomial: the
    same distribution as drawing indices, and much faster for scores that are mostly 0 or 1 than
    scipy.stats.bootstrap, which draws indices and knows neither strata nor clusters.
    The percentiles are those of `percentiles`; of one cluster there is no interval.
    """
    samples = samples_of(strata, ndim=1)
    generator = np.random.default_rng(seed)
    means = np.zeros(draws)
    clusters = []
    for sample in samples:
        sums, sizes = sample.totals()
        clusters.append(len(sums))
        pairs, counts = np.unique(np.stack([sums, sizes], axis=1), axis=0, return_counts=True)
        step = max(1, CHUNK // len(pairs))
        for begin in range(0, draws, step):
            size = min(step, draws - begin)
            drawn = generator.multinomial(len(sums), counts / len(sums), size=size) @ pairs
            means[begin : begin + size] += drawn[:, 0] / drawn[:, 1] / len(samples)
    mean = float(np.mean([sample.scores.mean() for sample in samples]))
    low, high = percentiles(means, min(clusters))
    return Interval(mean, low, high, sum(sample.scores.size for sample in samples))


def percentiles(values: np.ndarray, clusters: int) -> tuple[float, float]:
    """The ends of a 95 % interval from float[draws] of a bootstrap of so many clusters.

    Plain percentiles are too narrow for few clusters: a bootstrap has (K - 1) / K of the variance,
    and the normal's tails for the t distribution's. The levels are set to make up for both
    (Hesterberg 2015, The American Statistician 69, "expanded percentile interval"): 2.1 % for 50
    clusters, 0.4 % for 7, in place of 2.5 %. Of normal clusters 5 are then enough for 91 % (83 %
    without) and 10 for 94 % (90 %). One cluster gives nan.
    """
    if clusters < 2:
        return math.nan, math.nan
    from scipy import special  # as in `wilson`

    t = special.stdtrit(clusters - 1, 0.5 + LEVEL / 2)
    tail = special.ndtr(-t * math.sqrt(clusters / (clusters - 1)))
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)


def paired_difference(
    scores: Sample | np.ndarray, base: Sample | np.ndarray, **options: int
) -> Interval:
    """Bootstrap of mean(scores - base) for float[Q] scores of two models on the same questions.

    Pairing keeps the questions' difficulty out of the interval. Clusters are those of `scores`.
    `options` as in `bootstrap_mean`. Raises ValueError if the shapes differ.
    """
    (first,), (second,) = samples_of([scores], ndim=1), samples_of([base], ndim=1)
    if first.scores.shape != second.scores.shape:
        raise ValueError(
            f"paired scores of shapes {first.scores.shape} and {second.scores.shape}: "
            "both must hold the same questions in the same order"
        )
    return bootstrap_mean(Sample(first.scores - second.scores, first.clusters), **options)


def mean_interval(*strata: Sample | np.ndarray) -> Interval:
    """The interval of a mean of scores in 0..1: the bootstrap over clusters, else Wilson's where
    that is better. It is for right-or-wrong scores of clusters of one question, and for clusters
    that all have one mean, which a bootstrap would call certain: they count as one question each.
    """
    samples = samples_of(strata, ndim=1)
    if len(samples) == 1:
        sums, sizes = samples[0].totals()
        alone = (sizes == 1).all() and np.isin(sums, (0.0, 1.0)).all()
        means = sums / sizes
        if alone or np.ptp(means) == 0:
            found = wilson(float(means.sum()), len(means))
            return Interval(found.mean, found.low, found.high, samples[0].scores.size)
    return bootstrap_mean(*samples)
