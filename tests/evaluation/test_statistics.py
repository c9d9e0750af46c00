"""Intervals against scipy, published values, closed forms and their own coverage."""

import math
from statistics import NormalDist

import numpy as np
import pytest
from scipy import stats

from evaluation.statistics import (
    Interval,
    bootstrap_mean,
    mean_interval,
    paired_difference,
    seeds_interval,
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
    oracle = stats.bootstrap(
        (values,), np.mean, n_resamples=20000, method="percentile", random_state=3
    ).confidence_interval
    interval = bootstrap_mean(values, draws=20000)
    assert (interval.low, interval.high) == pytest.approx((oracle.low, oracle.high), abs=0.02)


def test_bootstrap_is_seeded_and_chunked_alike(monkeypatch):
    values = np.random.default_rng(1).normal(size=50)
    whole = bootstrap_mean(values, draws=500, seed=4)
    assert whole == bootstrap_mean(values, draws=500, seed=4)
    assert whole != bootstrap_mean(values, draws=500, seed=5)
    monkeypatch.setattr("evaluation.statistics._CHUNK", 50 * 7)
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


def test_one_seed_is_the_bootstrap_over_questions():
    values = np.random.default_rng(2).uniform(size=(1, 60))
    assert seeds_interval(values) == bootstrap_mean(values[0])


def test_seeds_that_differ_alone_give_the_t_interval():
    # Every question has the same score within a seed, so only the seeds vary.
    per_seed = np.array([0.5, 0.6, 0.4, 0.55, 0.7])
    interval = seeds_interval(np.repeat(per_seed[:, None], 2000, axis=1))
    oracle = stats.t.interval(0.95, 4, per_seed.mean(), per_seed.std(ddof=1) / math.sqrt(5))
    assert (interval.low, interval.high) == pytest.approx(oracle)
    assert (interval.n, interval.seeds) == (2000, 5)


def test_seeds_that_agree_leave_the_questions():
    scores = np.random.default_rng(3).uniform(size=300)
    interval = seeds_interval(np.tile(scores, (4, 1)))
    oracle = stats.t.interval(0.95, 299, scores.mean(), scores.std(ddof=1) / math.sqrt(300))
    assert (interval.low, interval.high) == pytest.approx(oracle)


def test_seeds_interval_of_a_square_worked_by_hand():
    # Seed means 1.5 and 4.5: variance 4.5, over 2 seeds 2.25. Question means 2 and 4: variance 2,
    # over 2 questions 1. Residuals ±0.5: mean square 1, over 4 answers 0.25. Sum 2.25 + 1 - 0.25.
    interval = seeds_interval(np.array([[1.0, 2.0], [3.0, 6.0]]))
    freedom = (2.25 + 1) ** 2 / (2.25**2 / 1 + 1**2 / 1)
    half = stats.t.ppf(0.975, freedom) * math.sqrt(3.0)
    assert interval.mean == 3.0
    assert (interval.low, interval.high) == pytest.approx((3 - half, 3 + half))


def test_no_variance_gives_no_width():
    assert seeds_interval(np.full((3, 4), 0.5)) == Interval(0.5, 0.5, 0.5, 4, 3)


def test_seeds_interval_covers_the_truth():
    """Seeds, questions and their interaction are drawn anew; 95 % of intervals must hold 0."""
    generator = np.random.default_rng(7)
    for seed_spread, question_spread in [(0.02, 0.3), (0.1, 0.3), (0.0, 0.5)]:
        inside = 0
        for _ in range(400):
            seeds = generator.normal(0, seed_spread, size=(4, 1))
            questions = generator.normal(0, question_spread, size=(1, 100))
            both = generator.normal(0, 0.4, size=(4, 100))
            interval = seeds_interval(seeds + questions + both)
            inside += interval.low <= 0 <= interval.high
        assert 0.92 <= inside / 400 <= 0.99


def test_seeds_interval_over_two_benchmarks_keeps_the_seeds_together():
    # A seed that is better on both benchmarks must not average out.
    effect = np.array([[-0.1], [0.0], [0.1]])
    generator = np.random.default_rng(0)
    first = effect + generator.normal(0, 0.01, size=(3, 500))
    second = effect + generator.normal(0, 0.01, size=(3, 500))
    opposite = -effect + generator.normal(0, 0.01, size=(3, 500))
    together, cancelled = seeds_interval(first, second), seeds_interval(first, opposite)
    assert together.high - together.low > 10 * (cancelled.high - cancelled.low)


def test_strata_must_have_the_same_seeds():
    with pytest.raises(ValueError, match=r"\[2, 3\]"):
        seeds_interval(np.zeros((2, 5)), np.zeros((3, 5)))
