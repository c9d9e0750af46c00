"""Batches of several rows: their order, their shapes, and who loads which."""

import numpy as np
import pytest

from input_pipeline.batches import Batch, RowShape, device_arrays, listed_rows, make_batches
from tests.input_pipeline.batches.small_rows import RULES, SHAPE

ROWS = [[0, 1], [2], [1, 3], [], [2, 0], [1], [0]]


def batches(store, chat, **options):
    rows_at = listed_rows(ROWS, 2, [0, 1])
    return make_batches(store, rows_at, chat, RULES, SHAPE, steps=4, **options)


def test_batches_in_order_with_fixed_shapes(store, chat):
    found = list(batches(store, chat))
    assert [batch.example_ids for batch in found] == [
        [["ex0", "ex1"], ["ex2"]],
        [["ex1", "ex3"], []],
        [["ex2", "ex0"], ["ex1"]],
        [["ex0"], []],
    ]
    assert [[f["id"] for f in batch.failures] for batch in found] == [[], ["ex3"], [], []]
    shapes = {
        "tokens": ((2, 192), np.int32),
        "positions": ((2, 192, 3), np.int32),
        "segment_ids": ((2, 192), np.int32),
        "targets": ((2, 192), np.int32),
        "loss_weights": ((2, 192), np.float32),
        "visual_index": ((2, 192, 1), np.int32),
        "clips": ((2, 192), np.bool_),
        "patches": ((2, 256, 1176), np.uint8),
        "patch_coords": ((2, 256, 2), np.int32),
        "patch_frames": ((2, 256), np.int32),
        "patch_windows": ((2, 256), np.int32),
    }
    for batch in found:
        assert isinstance(batch, Batch)
        arrays = device_arrays(batch)
        assert {k: (a.shape, a.dtype.type) for k, a in arrays.items()} == shapes


def same(left, right):
    arrays = device_arrays(right)
    return all(np.array_equal(a, arrays[name]) for name, a in device_arrays(left).items())


@pytest.mark.parametrize("threads", [1, 4])
def test_any_step_can_be_the_first(store, chat, threads):
    whole = list(batches(store, chat))
    for start in range(5):
        rest = list(batches(store, chat, start_step=start, threads=threads))
        assert len(rest) == 4 - start
        assert all(same(a, b) for a, b in zip(whole[start:], rest, strict=True))


def test_processes_share_a_step(store, chat):
    whole = list(batches(store, chat))
    for process in (0, 1):
        rows_at = listed_rows(ROWS, 2, [process])
        part = make_batches(store, rows_at, chat, RULES, SHAPE, steps=4)
        for mine, all_rows in zip(part, whole, strict=True):
            np.testing.assert_array_equal(mine.patches, all_rows.patches[process : process + 1])
            assert mine.example_ids == all_rows.example_ids[process : process + 1]


def test_a_process_may_have_rows_that_are_no_neighbours():
    rows_at = listed_rows(ROWS, 4, [0, 3])
    assert [rows_at(0), rows_at(1)] == [[ROWS[0], ROWS[3]], [ROWS[4], ()]]


def test_iterator_can_be_left_early_and_errors_come_through(store, chat):
    iterator = batches(store, chat)
    assert next(iterator).example_ids[0] == ["ex0", "ex1"]
    iterator.close()
    small = make_batches(
        store, listed_rows(ROWS, 2, [0, 1]), chat, RULES, RowShape(20, 256), steps=4
    )
    with pytest.raises(ValueError, match="room for 20"):
        next(small)


def test_uneven_steps_are_refused(store, chat):
    def rows_at(step):
        return [[0]] * (step + 1)

    iterator = make_batches(store, rows_at, chat, RULES, SHAPE, steps=3)
    with pytest.raises(ValueError, match="step 1 has 2 rows"):
        list(iterator)
