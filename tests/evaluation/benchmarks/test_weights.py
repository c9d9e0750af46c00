"""Answers that count several times: as if each were there so often, under other names."""

import dataclasses
import time

import numpy as np
import pytest

from evaluation.benchmarks import BENCHMARKS
from evaluation.benchmarks.question import Answered
from evaluation.statistics import bootstrap_aggregate
from tests.evaluation.benchmarks.official_files import WRITERS
from tests.evaluation.benchmarks.reading import answered, read

OPTIONS = [(name, {}) for name in BENCHMARKS] + [("videommmu", {"tracks": "knowledge"})]


def _some_right(answers, seed=0):
    """Each right, wrong or unread at random."""
    generator = np.random.default_rng(seed)
    picked = generator.choice(["right", "wrong", "unread"], size=len(answers), p=[0.6, 0.3, 0.1])
    return [
        dataclasses.replace(
            each,
            score=float(kind == "right"),
            text={"right": each.answer, "wrong": "no" if each.answer == "yes" else "yes"}.get(
                kind, "?"
            ),
        )
        for each, kind in zip(answers, picked, strict=True)
    ]


def _drawn(answers, times):
    """A draw spelled out: every cluster so often, each time under another name, ids repeated."""
    return [
        dataclasses.replace(each, cluster=f"{each.cluster}#{k}")
        for each in answers
        for k in range(times[each.cluster])
    ]


@pytest.mark.parametrize(("name", "options"), OPTIONS)
def test_a_cluster_counts_as_often_as_it_is_drawn(name, options, tmp_path):
    write, _ = WRITERS[name]
    write(tmp_path)
    answers = _some_right(answered(read(name, tmp_path, **options), lambda q: q.answer))
    clusters = sorted({each.cluster for each in answers})
    draws = np.random.default_rng(1).integers(0, 4, size=(20, len(clusters)))
    weights = dict(zip(clusters, draws.T.astype(float), strict=True))
    aggregate = BENCHMARKS[name].aggregate
    found = aggregate([dataclasses.replace(each, times=weights[each.cluster]) for each in answers])
    assert set(found) == set(aggregate(answers))
    compared = 0
    for i, draw in enumerate(draws):
        spelled = _drawn(answers, dict(zip(clusters, draw.tolist(), strict=True)))
        expected = aggregate(spelled) if spelled else {}
        for key, value in found.items():
            value = np.broadcast_to(value, len(draws))[i]
            if key in expected and key != "tasks" and not np.isnan(expected[key]):
                assert value == pytest.approx(expected[key]), (key, draw)
                compared += 1
            elif key != "tasks":
                assert np.isnan(value) or value == 0, (key, draw)
    assert compared > 20


def test_a_thousand_draws_of_pope_are_affordable():
    answers = [
        Answered(
            *(f"{i}", ("random", "popular", "adversarial")[i % 3], f"{i // 18}", float(i % 7 > 0)),
            *(("yes", "no")[i % 2], ("yes", "no")[(i + (i % 7 == 0)) % 2], {}, {}),
        )
        for i in range(9000)
    ]
    start = time.process_time()
    found = bootstrap_aggregate(answers, BENCHMARKS["pope"].aggregate, draws=1000)
    assert time.process_time() - start < 10  # one to two on a slow core; lists took 30 s
    for number in found.values():
        assert number.low < number.mean < number.high
