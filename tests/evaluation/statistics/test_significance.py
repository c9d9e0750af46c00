"""Tests against scipy, cases by hand and how often they are wrong."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from evaluation.statistics import (
    Interval,
    Sample,
    bootstrap_mean,
    holm,
    mcnemar,
    paired_p_value,
    smallest_difference,
)


@pytest.mark.parametrize(
    "gained, lost, p",
    [
        # 2 · (1 + 10 + 45) / 2¹⁰ and 2 · (1 + 5) / 2⁵; an even split and none are no evidence.
        (8, 2, 0.109375),
        (2, 8, 0.109375),
        (5, 0, 0.0625),
        (6, 6, 1.0),
        (0, 0, 1.0),
        # 2 · P(X ≤ 86) of Binomial(236, ½): the ratings of a president, Agresti 1990, page 350.
        (150, 86, 3.716e-05),
    ],
)
def test_mcnemar(gained, lost, p):
    assert mcnemar(gained, lost) == pytest.approx(p, rel=1e-3)


def test_clusters_of_one_question_are_mcnemars_test():
    differences = np.array([1.0] * 14 + [-1.0] * 5 + [0.0] * 40)
    names = [f"clip{i}" for i in range(len(differences))]
    assert paired_p_value(differences) == mcnemar(14, 5)
    assert paired_p_value(Sample(differences, names)) == mcnemar(14, 5)


def test_questions_of_a_clip_change_together():
    """Twelve questions gained on three clips are three events, not twelve."""
    gained = Sample(np.ones(12), list("aaaabbbbcccc"))
    assert mcnemar(12, 0) < 0.001
    assert paired_p_value(gained) == mcnemar(3, 0) == 0.25


def test_flips_of_unequal_clusters_equal_all_of_them():
    generator = np.random.default_rng(2)
    sums = generator.integers(-3, 5, size=12)
    names = np.repeat(np.arange(12), 5)
    scores = np.concatenate([np.array([total, 0, 0, 0, 0]) for total in sums])
    flips = np.array(list(itertools.product([-1, 1], repeat=12)))
    exact = (np.abs(flips @ sums) >= abs(sums.sum())).mean()
    assert paired_p_value(Sample(scores, names.tolist())) == pytest.approx(exact, abs=0.015)


def test_p_values_of_no_difference_are_not_too_small():
    generator = np.random.default_rng(3)
    clusters, questions = 0, 0
    for i in range(300):
        change = generator.choice([-1, 0, 1], p=[0.1, 0.8, 0.1], size=50)
        scores = np.repeat(change, 4) * (generator.uniform(size=200) < 0.9)
        names = np.repeat(np.arange(50), 4).tolist()
        clusters += paired_p_value(Sample(scores, names), seed=i) < 0.05
        questions += mcnemar(int((scores > 0).sum()), int((scores < 0).sum())) < 0.05
    assert clusters / 300 < 0.09
    assert questions / 300 > 0.2  # McNemar's, which takes a clip's questions as independent


def test_alike_answers_are_no_evidence():
    assert paired_p_value(np.zeros(9)) == 1.0


def test_graded_scores_have_a_p_value():
    generator = np.random.default_rng(1)
    assert paired_p_value(generator.normal(0.5, 1, size=100)) < 0.001
    assert paired_p_value(generator.normal(0.0, 1, size=100)) > 0.01


@pytest.mark.parametrize(
    "p, adjusted",
    [
        # times 4, 3, 2, 1 from the smallest; never less than the one before, nor more than 1
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),
        ([0.01, 0.02, 0.02], [0.03, 0.04, 0.04]),
        ([0.6, 0.9], [1.0, 1.0]),
        ([0.03], [0.03]),
        ([], []),
    ],
)
def test_holm(p, adjusted):
    assert holm(p) == pytest.approx(adjusted)


def test_holm_equals_statsmodels():
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    p = np.random.default_rng(0).uniform(size=20) ** 4
    assert holm(p.tolist()) == pytest.approx(multitest.multipletests(p, method="holm")[1])


def test_mcnemar_equals_statsmodels():
    tables = pytest.importorskip("statsmodels.stats.contingency_tables")
    for gained, lost in [(3, 9), (40, 21), (7, 7)]:
        oracle = tables.mcnemar([[50, gained], [lost, 30]], exact=True).pvalue
        assert mcnemar(gained, lost) == pytest.approx(oracle)


def test_the_smallest_difference_is_seen_four_times_of_five():
    # 100 questions, a standard deviation of 0.6: standard error 0.06, so 2.8016 · 0.06.
    smallest = smallest_difference(Interval(0.0, -1.959964 * 0.06, 1.959964 * 0.06, 100))
    assert smallest == pytest.approx(2.801585 * 0.06)
    generator = np.random.default_rng(0)
    seen = 0
    for i in range(300):
        interval = bootstrap_mean(generator.normal(smallest, 0.6, size=100), draws=400, seed=i)
        seen += interval.excludes_zero
    assert seen / 300 == pytest.approx(stats.norm.cdf(2.801585 - 1.959964), abs=0.06)


@pytest.mark.parametrize("low, high", [(math.nan, math.nan), (0.0, 0.0)])
def test_without_a_width_nothing_is_said_of_the_smallest_difference(low, high):
    assert math.isnan(smallest_difference(Interval(0.0, low, high, 10)))
