"""Intervals against scipy, published values, closed forms and their own coverage."""

import dataclasses
import math
import time
from statistics import NormalDist

import numpy as np
import pytest
from scipy import stats

from evaluation.statistics import (
    Interval,
    Sample,
    bootstrap_mean,
    mean_interval,
    paired_difference,
    wilson,
)


@pytest.mark.parametrize("successes, n", [(0, 5), (5, 5), (1, 3), (37, 100), (999, 1000), (1, 1)])
def test_wilson_solves_its_equation(successes, n):
    """Its ends are the shares that lie 1.96 of their own standard errors from the observed one."""
    interval = wilson(successes, n)
    assert interval.mean == successes / n
    assert 0 <= interval.low <= interval.mean <= interval.high <= 1
    for end in (interval.low, interval.high):
        distance = NormalDist().inv_cdf(0.975) * math.sqrt(end * (1 - end) / n)
        assert end in (0, 1) or abs(end - interval.mean) == pytest.approx(distance, abs=1e-12)
    assert (interval.low == 0) == (successes == 0) and (interval.high == 1) == (successes == n)


@pytest.mark.parametrize(
    "successes, n, low, high",
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_equals_published_intervals(successes, n, low, high):
    """Newcombe 1998, Statistics in Medicine 17, table I, method 3."""
    interval = wilson(successes, n)
    assert (round(interval.low, 4), round(interval.high, 4)) == (low, high)


@pytest.mark.parametrize("successes, n", [(0, 0), (2, 1), (-1, 3)])
def test_wilson_rejects_impossible_counts(successes, n):
    with pytest.raises(ValueError, match=f"successes {successes} of n {n}"):
        wilson(successes, n)


def test_bootstrap_of_many_values_approaches_the_normal_interval():
    values = np.random.default_rng(1).uniform(size=2000)
    interval = bootstrap_mean(values)
    half = 1.959964 * values.std() / math.sqrt(2000)
    assert interval.mean == pytest.approx(values.mean())
    assert interval.low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert interval.high == pytest.approx(values.mean() + half, abs=0.1 * half)
    assert interval.n == 2000


def test_bootstrap_of_few_values_equals_scipys():
    values = np.array([0.0, 0.25, 1.0, 1.0, 0.5, 0.0, 0.75])
    # Seven values: the percentiles are those of a wider interval, see the next test.
    tail = stats.norm.cdf(-math.sqrt(7 / 6) * stats.t.ppf(0.975, 6))
    oracle = stats.bootstrap(
        (values,),
        np.mean,
        confidence_level=1 - 2 * tail,
        n_resamples=20000,
        method="percentile",
        random_state=3,
    ).confidence_interval
    interval = bootstrap_mean(values, draws=20000)
    assert (interval.low, interval.high) == pytest.approx((oracle.low, oracle.high), abs=0.02)


def test_bootstrap_is_seeded_and_chunked_alike(monkeypatch):
    values = np.random.default_rng(1).normal(size=50)
    whole = bootstrap_mean(values, draws=500, seed=4)
    assert whole == bootstrap_mean(values, draws=500, seed=4)
    assert whole != bootstrap_mean(values, draws=500, seed=5)
    monkeypatch.setattr("evaluation.statistics.means.CHUNK", 50 * 7)
    assert whole == bootstrap_mean(values, draws=500, seed=4)


def test_bootstrap_of_one_value_has_no_width():
    assert bootstrap_mean(np.full(9, 0.25)) == Interval(0.25, 0.25, 0.25, 9)


def test_strata_count_the_same_whatever_their_size():
    interval = bootstrap_mean(np.zeros(1000), np.ones(10))
    assert interval == Interval(0.5, pytest.approx(0.5), pytest.approx(0.5), 1010)


def test_pairing_removes_the_difficulty_of_the_questions():
    generator = np.random.default_rng(0)
    difficulty = generator.normal(0, 10, size=400)
    base = difficulty + generator.normal(size=400)
    better = difficulty + 0.5 + generator.normal(size=400)
    interval = paired_difference(better, base)
    assert interval.excludes_zero
    assert interval.low < 0.5 < interval.high
    assert interval.high - interval.low < 0.4  # unpaired it would be about 2.8
    assert not paired_difference(base, base).excludes_zero


def test_pairing_needs_the_same_questions():
    with pytest.raises(ValueError, match="same questions"):
        paired_difference(np.zeros(3), np.zeros(4))


def test_mean_interval_is_wilson_for_right_or_wrong():
    assert mean_interval(np.array([1.0, 0.0, 1.0])) == wilson(2, 3)
    partial = np.array([1.0, 0.5, 0.0, 0.5])
    assert mean_interval(partial) == bootstrap_mean(partial)


@pytest.mark.parametrize("arrays", [(), (np.zeros(0),), (np.zeros((2, 2)),)])
def test_nothing_to_average_is_an_error(arrays):
    with pytest.raises(ValueError, match="non-empty"):
        bootstrap_mean(*arrays)


# --- clusters ------------------------------------------------------------------------------------


def clustered(clusters, sizes=(1, 2, 3, 5), seed=0, spread=0.3):
    """Right-or-wrong scores of clusters of several sizes, alike within a cluster."""
    generator = np.random.default_rng(seed)
    size = generator.choice(sizes, clusters)
    skill = np.clip(generator.normal(0.6, spread, clusters), 0, 1)
    names = np.repeat(np.arange(clusters), size)
    return Sample((generator.uniform(size=len(names)) < skill[names]).astype(float), names.tolist())


def looped_means(sample, draws, seed):
    """The bootstrap of a mean over clusters as one would write it down."""
    generator = np.random.default_rng(seed)
    names = sorted(set(sample.clusters))
    members = {name: [] for name in names}
    for score, name in zip(sample.scores, sample.clusters, strict=True):
        members[name].append(score)
    means = []
    for _ in range(draws):
        drawn = [x for i in generator.integers(len(names), size=len(names)) for x in members[i]]
        means.append(sum(drawn) / len(drawn))
    return np.array(means)


def test_a_bootstrap_over_clusters_equals_a_loop():
    sample = clustered(300)
    means = looped_means(sample, 4000, seed=1)
    interval = bootstrap_mean(sample)
    half = (interval.high - interval.low) / 2
    assert interval.mean == pytest.approx(sample.scores.mean())
    assert (interval.low, interval.high) == pytest.approx(
        np.quantile(means, [0.025, 0.975]), abs=0.08 * half
    )
    # Questions drawn one by one would claim more than is known.
    plain = bootstrap_mean(sample.scores)
    assert half > 1.25 * (plain.high - plain.low) / 2


def test_equal_questions_of_a_cluster_count_as_one():
    """Ten equal questions on each of 60 clips tell what one question on each would."""
    one_each = np.random.default_rng(5).uniform(size=60)
    repeated = Sample(np.repeat(one_each, 10), np.repeat(np.arange(60), 10).tolist())
    found, expected = bootstrap_mean(repeated), bootstrap_mean(one_each)
    assert (found.mean, found.low, found.high) == pytest.approx(
        (expected.mean, expected.low, expected.high)
    )
    assert (found.n, expected.n) == (600, 60)


def test_clusters_of_one_question_are_no_clusters():
    values = np.random.default_rng(6).normal(size=80)
    assert bootstrap_mean(Sample(values, [f"clip{i}" for i in range(80)])) == bootstrap_mean(values)


def test_many_questions_take_no_time():
    """3,000 questions with scores of their own, the slowest case, and with right or wrong."""
    generator = np.random.default_rng(0)
    names = (np.arange(3000) // 3).tolist()
    for scores in (generator.uniform(size=3000), generator.integers(2, size=3000)):
        start = time.process_time()
        bootstrap_mean(Sample(scores, names), draws=2000)
        assert time.process_time() - start < 1.0


@pytest.mark.parametrize("clusters, least", [(5, 0.88), (10, 0.92), (40, 0.92)])
def test_intervals_of_few_clusters_cover_the_truth(clusters, least):
    """Clusters are drawn anew; plain percentiles hold the truth in 83 % of cases at five."""
    generator = np.random.default_rng(clusters)
    inside = 0
    for _ in range(400):
        effect = np.repeat(generator.normal(size=clusters), 4)
        scores = effect + generator.normal(size=4 * clusters)
        sample = Sample(scores, np.repeat(np.arange(clusters), 4).tolist())
        interval = bootstrap_mean(sample, draws=500, seed=int(generator.integers(1 << 30)))
        inside += interval.low <= 0 <= interval.high
    assert least <= inside / 400 <= 0.99


def test_one_cluster_has_no_bootstrap():
    interval = bootstrap_mean(Sample([1.0, 0.0, 1.0], ["a", "a", "a"]))
    assert math.isnan(interval.low) and math.isnan(interval.high)
    assert not interval.excludes_zero


@pytest.mark.parametrize(
    "scores, clusters, like",
    [
        ([1, 1, 1, 1, 1, 1], "aabbcc", wilson(3, 3)),  # a bootstrap would call this certain
        ([0, 0, 0, 0], "aaab", wilson(0, 2)),
        ([1, 0, 1, 0], "aaaa", wilson(0.5, 1)),
        ([1, 0, 1, 0], "aabb", wilson(1, 2)),
        ([1, 0, 1, 0], "abcd", wilson(2, 4)),
    ],
)
def test_clusters_that_are_alike_count_as_one_question_each(scores, clusters, like):
    interval = mean_interval(Sample(scores, list(clusters)))
    assert interval == dataclasses.replace(like, n=len(scores))


def test_clusters_that_differ_are_drawn():
    sample = clustered(30)
    assert mean_interval(sample) == bootstrap_mean(sample)


def test_every_question_needs_its_cluster():
    with pytest.raises(ValueError, match=r"2 clusters for scores of shape \(3,\)"):
        Sample([1.0, 0.0, 1.0], ["a", "b"])
