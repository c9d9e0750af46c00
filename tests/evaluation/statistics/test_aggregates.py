"""Intervals of numbers that are no mean over questions, against those of means and a loop."""

import dataclasses
import math

import numpy as np
import pytest

from evaluation.statistics import Sample, bootstrap_aggregate, bootstrap_mean


@dataclasses.dataclass(frozen=True)
class Row:
    cluster: str
    right: bool
    task: str = "all"
    times: float | np.ndarray = 1.0


def pairs(count, seed=0):
    """Two questions a picture, right or wrong together more often than not."""
    generator = np.random.default_rng(seed)
    skill = generator.uniform(size=count)
    return [
        Row(f"p{i}", bool(generator.uniform() < skill[i]), "ab"[i % 2])
        for i in range(count)
        for _ in range(2)
    ]


def share(rows):
    return sum(row.right * row.times for row in rows) / sum(row.times for row in rows)


def accuracy(rows):
    return {"accuracy": share(rows)}


def both_right(rows):
    """The share of pictures with all questions right, as MME's accuracy+."""
    pictures = {}
    for row in rows:
        before = pictures.get(row.cluster, row)
        pictures[row.cluster] = dataclasses.replace(row, right=before.right and row.right)
    return {"plus": share(pictures.values())}


def test_a_mean_has_the_interval_of_means():
    rows = pairs(120)
    found = bootstrap_aggregate(rows, accuracy, draws=2000)["accuracy"]
    expected = bootstrap_mean(Sample([r.right for r in rows], [r.cluster for r in rows]))
    assert (found.mean, found.n) == (pytest.approx(expected.mean), 240)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.01)


def test_a_picture_that_is_drawn_twice_counts_twice():
    """Pairs as questions of their own have a mean, and its interval is known."""
    rows = pairs(150)
    right = [a.right and b.right for a, b in zip(rows[::2], rows[1::2], strict=True)]
    found = bootstrap_aggregate(rows, both_right, draws=2000)["plus"]
    expected = bootstrap_mean(np.array(right))
    assert found.mean == pytest.approx(expected.mean)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.01)


def test_several_numbers_and_a_task_that_is_not_always_drawn():
    rows = [*pairs(30), Row("rare", True, "rare")]

    def by_task(rows):
        tasks = sorted({row.task for row in rows})
        with np.errstate(invalid="ignore"):  # of draws without the rare one
            return {t: share([row for row in rows if row.task == t]) for t in tasks}

    found = bootstrap_aggregate(rows, by_task, draws=300)
    assert list(found) == ["a", "b", "rare"]
    assert (found["rare"].low, found["rare"].mean, found["rare"].high) == (1, 1, 1)
    assert found["a"].low < found["a"].mean < found["a"].high


def test_a_number_that_is_not_there_is_not_given():
    rows = pairs(10)
    found = bootstrap_aggregate(rows, lambda rows: {**accuracy(rows), "none": np.nan}, draws=20)
    assert list(found) == ["accuracy"]


def test_it_is_seeded():
    rows = pairs(20)
    assert bootstrap_aggregate(rows, accuracy, draws=50) == bootstrap_aggregate(
        rows, accuracy, draws=50
    )
    assert bootstrap_aggregate(rows, accuracy, draws=50) != bootstrap_aggregate(
        rows, accuracy, draws=50, seed=1
    )


def test_one_cluster_has_no_interval():
    (found,) = bootstrap_aggregate(pairs(1), accuracy).values()
    assert math.isnan(found.low) and math.isnan(found.high)
