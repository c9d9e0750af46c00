"""Steps: shared out to hosts, balanced, resumable, the same whoever asks."""

import pickle
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


def ids(rows):
    return [
        (r.epoch, s, i)
        for r in rows
        for s, i in zip(r.source_index.tolist(), r.row_index.tolist(), strict=True)
    ]


@pytest.mark.parametrize("batch_rows", [1, 3, 4, 64])
def test_steps_in_a_row_show_every_example_once_an_epoch(batch_rows):
    plan = batch_plan(batch_rows)
    steps = plan.steps(3)
    found = ids(row for step in range(steps) for row in plan.rows_for_step(step))
    expected = {(s, i) for s, n in ((0, 40), (1, 23)) for i in range(n)}
    for epoch in range(3):
        of_epoch = [(s, i) for e, s, i in found if e == epoch]
        assert len(of_epoch) == 63
        assert set(of_epoch) == expected
    last = ids(plan.rows_for_step(steps - 1))
    assert min(e for e, _, _ in last) <= 2, "one step fewer would have been enough"


def test_an_unfinished_batch_is_completed_from_the_next_epoch():
    rows = batch_plan().pack_plan(0).rows
    plan = batch_plan(batch_rows=rows - 1)
    assert sorted((r.epoch, r.row) for r in plan.rows_for_step(1)) == [(0, rows - 1)] + [
        (1, r) for r in range(rows - 2)
    ]


def test_step_is_a_pure_function_of_its_number():
    forward, resumed = batch_plan(), batch_plan()
    steps = forward.steps(5)
    in_order = [ids(forward.rows_for_step(step)) for step in range(steps)]
    assert ids(resumed.rows_for_step(steps - 1)) == in_order[-1]
    for step in np.random.default_rng(0).permutation(steps).tolist():
        assert ids(resumed.rows_for_step(step)) == in_order[step]
    assert ids(batch_plan(seed=1).rows_for_step(0)) != in_order[0]


@pytest.mark.parametrize("places", [[0, 1, 2, 3], [0, 3], [1], []])
def test_a_process_loads_the_rows_at_its_places(places):
    plan = batch_plan()
    for step in (0, 3, 7):
        whole = [row.examples.tolist() for row in plan.rows_for_step(step)]
        found = [row.tolist() for row in plan.local_rows(step, places)]
        assert found == [whole[place] for place in places]


def test_examples_are_positions_in_the_sources_one_after_the_other():
    for row in batch_plan().rows_for_step(0):
        starts = np.where(row.source_index == 0, 0, 40)
        assert row.examples.tolist() == (starts + row.row_index).tolist()


def test_rows_hold_what_the_limits_allow():
    plan = batch_plan()
    tokens = np.concatenate([s.tokens for s in SOURCES.values()])
    patches = np.concatenate([s.patches for s in SOURCES.values()])
    for step in range(plan.steps(2)):
        for row in plan.rows_for_step(step):
            assert tokens[row.examples].sum() <= 100
            assert patches[row.examples].sum() <= 250


def test_weights_reach_the_epoch():
    plan = batch_plan(weights=(0.5, 2.0))
    found = ids(r for step in range(plan.steps(1)) for r in plan.rows_for_step(step))
    first = [(s, i) for e, s, i in found if e == 0]
    assert sum(s == 0 for s, _ in first) == 20
    assert sorted(i for s, i in first if s == 1) == sorted(list(range(23)) * 2)


def test_threads_and_pickles_see_the_same_plan():
    plan = batch_plan()
    expected = [ids(batch_plan().rows_for_step(step)) for step in range(12)]
    found = {}

    def read(step):
        found[step] = ids(plan.rows_for_step(step))

    threads = [threading.Thread(target=read, args=(step,)) for step in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[step] for step in range(12)] == expected
    assert ids(pickle.loads(pickle.dumps(plan)).rows_for_step(11)) == expected[11]


def test_bad_requests_are_named():
    with pytest.raises(ValueError, match="batch_rows must be >= 1, got 0"):
        batch_plan(batch_rows=0)
    with pytest.raises(IndexError, match="step must be >= 0, got -1"):
        batch_plan().rows_for_step(-1)
    with pytest.raises(IndexError, match="place must be >= 0, got -2"):
        batch_plan().row_at(-2)


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
    plan = BatchPlan(
        sources, {"clips": 1.0}, batch_rows=256, seed=0, max_tokens=1000, max_patches=6400
    )
    for step in range(4):
        loads = np.array(
            [
                sum(frames[row].sum() for row in plan.local_rows(step, share))
                for share in np.arange(256).reshape(hosts, -1)
            ]
        )
        in_plan_order = np.array(
            [frames[plan.row_at(256 * step + b).examples].sum() for b in range(256)]
        )
        unbalanced = in_plan_order.reshape(hosts, -1).sum(axis=1)
        assert loads.sum() == unbalanced.sum()
        assert loads.max() - loads.min() <= 64  # within one long clip
        assert loads.max() <= unbalanced.max()
