"""Steps: shared out to hosts, balanced, resumable, the same whoever asks."""

import collections
import itertools
import threading

import numpy as np
import pytest

from input_pipeline.batches.plan import BatchPlan, SourceSizes, spread_by_cost

SOURCES = {
    "long": SourceSizes(np.arange(1, 41) * 2, np.arange(40) * 5),
    "short": SourceSizes(np.full(23, 7), np.zeros(23, int)),
}


def batch_plan(batch_rows=4, seed=0, weights=(1.0, 1.0), **options):
    return BatchPlan(
        SOURCES,
        dict(zip(SOURCES, weights, strict=True)),
        batch_rows=batch_rows,
        seed=seed,
        **{"max_tokens": 100, "max_patches": 250, "window": 16} | options,
    )


def lists(rows):
    return [row.tolist() for row in rows]


def endless(plan, rows):
    """The first rows of the endless list, as a plan of one row a step gives them."""
    assert plan.batch_rows == 1
    return [plan.rows_for_step(step)[0].tolist() for step in range(rows)]


def test_every_epoch_shows_every_example_once():
    plan = batch_plan(batch_rows=1)
    lengths = [plan.pack_plan(epoch).rows for epoch in range(3)]
    rows = endless(plan, sum(lengths))
    epochs, start = [], 0
    for length in lengths:
        epochs.append(list(itertools.chain(*rows[start : start + length])))
        start += length
    # Sources stand one after the other: 40 long, 23 short examples.
    assert [sorted(epoch) for epoch in epochs] == [list(range(63))] * 3
    assert epochs[0] != epochs[1]


@pytest.mark.parametrize("batch_rows", [1, 3, 4, 64])
def test_steps_take_the_endless_list_in_turn(batch_rows):
    """So an unfinished batch is completed from the next epoch, and nothing is dropped."""
    steps = 3 * batch_plan().pack_plan(0).rows // batch_rows + 2
    rows = endless(batch_plan(batch_rows=1), steps * batch_rows)
    plan = batch_plan(batch_rows)
    for step in range(steps):
        here = rows[step * batch_rows : (step + 1) * batch_rows]
        assert sorted(lists(plan.rows_for_step(step))) == sorted(here)


def test_step_is_a_pure_function_of_its_number():
    forward, resumed = batch_plan(), batch_plan()
    steps = 20  # more than five epochs
    in_order = [lists(forward.rows_for_step(step)) for step in range(steps)]
    assert lists(resumed.rows_for_step(steps - 1)) == in_order[-1]
    for step in np.random.default_rng(0).permutation(steps).tolist():
        assert lists(resumed.rows_for_step(step)) == in_order[step]
    assert lists(batch_plan(seed=1).rows_for_step(0)) != in_order[0]


@pytest.mark.parametrize("places", [[0, 1, 2, 3], [0, 3], [1], []])
def test_a_process_loads_the_rows_at_its_places(places):
    plan = batch_plan()
    for step in (0, 3, 7):
        whole = lists(plan.rows_for_step(step))
        assert lists(plan.local_rows(step, places)) == [whole[place] for place in places]


def test_rows_hold_what_the_limits_allow():
    plan = batch_plan()
    tokens = np.concatenate([s.tokens for s in SOURCES.values()])
    patches = np.concatenate([s.patches for s in SOURCES.values()])
    for step in range(10):
        for row in plan.rows_for_step(step):
            assert tokens[row].sum() <= 100
            assert patches[row].sum() <= 250


def test_weights_reach_the_epoch():
    plan = batch_plan(batch_rows=1, weights=(0.5, 2.0))
    found = collections.Counter(itertools.chain(*endless(plan, plan.pack_plan(0).rows)))
    assert sum(found[i] for i in range(40)) == 20
    assert [found[i] for i in range(40, 63)] == [2] * 23


def test_threads_see_the_same_plan():
    plan = batch_plan()
    expected = [lists(batch_plan().rows_for_step(step)) for step in range(12)]
    found = {}

    def read(step):
        found[step] = lists(plan.rows_for_step(step))

    threads = [threading.Thread(target=read, args=(step,)) for step in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[step] for step in range(12)] == expected


def test_bad_requests_are_named():
    with pytest.raises(ValueError, match="batch_rows must be >= 1, got 0"):
        batch_plan(batch_rows=0)
    with pytest.raises(IndexError, match="step must be >= 0, got -1"):
        batch_plan().rows_for_step(-1)


def test_spread_by_cost_by_hand():
    # Costs by rank go to the places 0, 4, 2, 6, 1, 5, 3, 7.
    assert spread_by_cost([5, 8, 1, 7, 2, 6, 3, 4]).tolist() == [1, 7, 5, 4, 3, 6, 0, 2]
    assert spread_by_cost([3, 9, 4]).tolist() == [1, 0, 2]
    assert spread_by_cost([1]).tolist() == [0]


@pytest.mark.parametrize("hosts", [2, 8, 16, 64])
def test_no_host_gets_all_the_long_clips(hosts):
    """Steps of 256 rows whose patches differ widely: few clips of 64 frames, many stills."""
    rng = np.random.default_rng(0)
    frames = rng.choice([1, 8, 16, 32, 64], 4096, p=[0.5, 0.3, 0.1, 0.06, 0.04])
    sources = {"clips": SourceSizes(np.full(4096, 1000), frames * 100)}
    limits = {"max_tokens": 1000, "max_patches": 6400, "window": 4096}
    plan = BatchPlan(sources, {"clips": 1.0}, batch_rows=256, seed=0, **limits)
    planned = frames[plan.pack_plan(0).members]  # a clip fills a row
    assert plan.pack_plan(0).rows == len(planned) == 4096
    for step in range(4):
        loads = np.array(
            [
                sum(frames[row].sum() for row in plan.local_rows(step, share))
                for share in np.arange(256).reshape(hosts, -1)
            ]
        )
        in_plan_order = planned[256 * step : 256 * (step + 1)]
        unbalanced = in_plan_order.reshape(hosts, -1).sum(axis=1)
        assert loads.sum() == unbalanced.sum()
        assert loads.max() - loads.min() <= 64  # within one long clip
        assert loads.max() <= unbalanced.max()
