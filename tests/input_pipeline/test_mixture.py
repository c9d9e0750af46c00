import collections
import time

import numpy as np
import pytest

from input_pipeline.mixture import epoch_order


def seen(sizes, weights, seed, epochs):
    counts = collections.Counter()
    for epoch in range(epochs):
        source, row = epoch_order(sizes, weights, seed, epoch)
        assert source.dtype == np.int32
        assert row.dtype == np.int64
        counts.update(zip(source.tolist(), row.tolist(), strict=True))
    return counts


def test_weight_one_is_every_example_once_an_epoch():
    source, row = epoch_order({"a": 5, "b": 3}, {"a": 1, "b": 1.0}, seed=0, epoch=4)
    assert sorted(zip(source.tolist(), row.tolist(), strict=True)) == (
        [(0, i) for i in range(5)] + [(1, i) for i in range(3)]
    )


@pytest.mark.parametrize("weight", [0.3, 0.5, 1.0, 1.7, 3.0])
def test_takes_the_weighted_number_and_sees_rows_equally_often(weight):
    sizes, weights = {"a": 11, "b": 7}, {"a": weight, "b": 1.0}
    source, _ = epoch_order(sizes, weights, seed=3, epoch=0)
    assert int((source == 0).sum()) == round(weight * 11)
    for epochs in (1, 2, 5, 9):
        counts = seen(sizes, weights, 3, epochs)
        times = [counts[0, i] for i in range(11)]
        assert sum(times) == epochs * round(weight * 11)
        assert max(times) - min(times) <= 1


def test_small_weights_take_another_part_until_all_were_seen():
    epochs = [set(epoch_order({"a": 10}, {"a": 0.5}, 0, e)[1].tolist()) for e in range(4)]
    assert epochs[0] | epochs[1] == set(range(10))
    assert epochs[2] | epochs[3] == set(range(10))
    assert epochs[0] != epochs[2]


def test_depends_on_seed_and_epoch_alone():
    def rows(seed, epoch):
        return epoch_order({"a": 50}, {"a": 1.0}, seed, epoch)[1].tolist()

    assert rows(0, 0) == rows(0, 0)
    assert rows(0, 0) != rows(1, 0)
    assert rows(0, 0) != rows(0, 1)


def test_known_order():
    # Written down once: a change here would silently change the data order of resumed runs.
    source, row = epoch_order({"a": 4, "b": 2}, {"a": 1.0, "b": 1.0}, seed=7, epoch=2)
    assert (source.tolist(), row.tolist()) == ([0, 0, 1, 0, 1, 0], [2, 1, 0, 0, 1, 3])


def test_sources_are_mixed_together():
    source, _ = epoch_order({"a": 500, "b": 500}, {"a": 1.0, "b": 1.0}, 0, 0)
    runs = 1 + int((np.diff(source) != 0).sum())
    assert 400 < runs < 600  # 500 expected of a fair shuffle, standard deviation 16


def test_a_source_keeps_its_order_when_another_comes():
    _, alone = epoch_order({"a": 40}, {"a": 0.5}, 0, 1)
    source, row = epoch_order({"z": 9, "a": 40}, {"z": 1.0, "a": 0.5}, 0, 1)
    assert set(row[source == 1].tolist()) == set(alone.tolist())


@pytest.mark.parametrize(
    ("sizes", "weights", "message"),
    [
        ({}, {}, "no source"),
        ({"a": 3}, {"a": 1, "bee": 1}, "unknown sources.*bee"),
        ({"a": 3, "b": 3}, {"a": 1}, r"no weight.*\['b'\]"),
        ({"a": 3}, {"a": 0}, "'a' must be finite and > 0, got 0"),
        ({"a": 3}, {"a": -1.0}, "got -1.0"),
        ({"a": 3}, {"a": float("nan")}, "got nan"),
        ({"a": 3}, {"a": 0.01}, "0.01 takes none of the 3 examples of source 'a'"),
        ({"a": 0}, {"a": 1.0}, "'a' has no examples"),
    ],
)
def test_bad_mixtures_are_named(sizes, weights, message):
    with pytest.raises(ValueError, match=message):
        epoch_order(sizes, weights, 0, 0)


def test_a_million_examples_are_quick():
    start = time.process_time()
    source, _ = epoch_order({"a": 700_000, "b": 300_000}, {"a": 1.0, "b": 1.0}, 0, 0)
    assert len(source) == 1_000_000
    assert time.process_time() - start < 2  # about 0.3 s on one core; slack for busy machines
