"""Intervals where several training seeds answered the same questions."""

import math

import numpy as np

from evaluation.statistics.means import bootstrap_mean
from evaluation.statistics.sample import LEVEL, Interval, Sample, samples_of


def seeds_interval(*strata: Sample | np.ndarray) -> Interval:
    """t interval of the mean of float[S, Q] scores over S training seeds and Q questions.

    Both the seeds and the K clusters of questions are samples, crossed: each seed answers each
    question. The variance of the mean is estimated from the two-way analysis of variance,

        var(seed means) / S + var(cluster values) / K - residual / (S K),

    with Satterthwaite's degrees of freedom. A bootstrap over five seeds would be too narrow by a
    fifth of the seeds' variance, and a t interval over seeds alone would leave the choice of
    questions out. With one seed only the questions count, as in `bootstrap_mean`.
    Several samples are strata, as in `means`. Raises ValueError if they disagree about S.
    """
    samples = samples_of(strata, ndim=2)
    seeds = len(samples[0].scores)
    if any(len(sample.scores) != seeds for sample in samples):
        numbers = [len(sample.scores) for sample in samples]
        raise ValueError(f"strata with different numbers of seeds: {numbers}")
    if seeds == 1:
        return bootstrap_mean(*(Sample(each.scores[0], each.clusters) for each in samples))
    arrays = [_cluster_values(sample) for sample in samples]
    per_seed = np.mean([array.mean(axis=1) for array in arrays], axis=0)
    mean = float(per_seed.mean())
    n = sum(sample.scores.shape[1] for sample in samples)
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
    from scipy import special  # as in `wilson`

    half = float(special.stdtrit(freedom, 0.5 + LEVEL / 2)) * math.sqrt(variance)
    return Interval(mean, mean - half, mean + half, n, seeds)


def _cluster_values(sample: Sample) -> np.ndarray:
    """float[S, K]: a value for each cluster whose mean is that of the seed's questions, and whose
    variance over clusters is that of the mean times K.

    A mean over questions is a ratio of sums over clusters, of scores and of questions. What a
    cluster adds to it is, to first order, what its scores exceed the mean by (the linearisation of
    a ratio; Cochran 1977, Sampling Techniques, section 6.4).
    """
    sums, sizes = sample.totals()
    mean = sample.scores.mean()
    return mean + (sums - mean * sizes) / sizes.mean()
