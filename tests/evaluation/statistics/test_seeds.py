"""Intervals over seeds and questions: closed forms, cases by hand and their own coverage."""

import math

import numpy as np
import pytest
from scipy import stats

from evaluation.statistics import Interval, Sample, bootstrap_mean, seeds_interval


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


def test_clusters_of_equal_questions_are_one_question_each():
    values = np.random.default_rng(4).normal(size=(3, 20))
    names = np.repeat(np.arange(20), 7).tolist()
    found, expected = (
        seeds_interval(Sample(np.repeat(values, 7, axis=1), names)),
        seeds_interval(values),
    )
    assert (found.mean, found.low, found.high) == pytest.approx(
        (expected.mean, expected.low, expected.high)
    )
    assert (found.n, found.seeds) == (140, 3)


def test_seeds_that_agree_leave_the_clusters():
    # By hand: means 2/3 over all, clusters of 1 and 2 questions with sums 0 and 2.
    # Values 2/3 + (0 - 2/3) / 1.5 = 2/9 and 2/3 + (2 - 4/3) / 1.5 = 10/9: variance 32/81, over 2.
    interval = seeds_interval(Sample(np.tile([0.0, 1.0, 1.0], (4, 1)), ["a", "b", "b"]))
    oracle = stats.t.interval(0.95, 1, 2 / 3, math.sqrt(16 / 81))
    assert (interval.low, interval.high) == pytest.approx(oracle)


def test_an_interval_over_seeds_and_clusters_covers_the_truth():
    """Seeds, clips of one to five questions, questions and what is left are drawn anew."""
    generator = np.random.default_rng(8)
    inside, narrow = 0, 0
    for _ in range(400):
        sizes = generator.integers(1, 6, size=40)
        names = np.repeat(np.arange(40), sizes)
        scores = (
            generator.normal(0, 0.05, size=(4, 1))
            + generator.normal(0, 0.4, size=40)[names]
            + generator.normal(0, 0.2, size=len(names))
            + generator.normal(0, 0.2, size=(4, 40))[:, names]
            + generator.normal(0, 0.2, size=(4, len(names)))
        )
        interval = seeds_interval(Sample(scores, names.tolist()))
        inside += interval.low <= 0 <= interval.high
        plain = seeds_interval(scores)
        narrow += plain.low <= 0 <= plain.high
    assert 0.92 <= inside / 400 <= 0.99
    assert narrow / 400 < 0.88  # what questions one by one would have claimed
