"""Rows that several devices share: whole grids in every slice, and equal attention work."""

import itertools

import numpy as np
import pytest

from input_pipeline.batches import BatchPlan, RowShape, SourceSizes, build_row, pack
from input_pipeline.batches.slices import (
    balanced_order,
    grid_places,
    patches_needed,
    slice_work,
)
from input_pipeline.layout import layout_example
from input_pipeline.media import MediaInfo
from tests.input_pipeline.batches.small_rows import PATCH_FIELDS, RULES, SHAPE


@pytest.mark.parametrize("seed", range(20))
def test_grids_with_the_room_that_is_asked_for_lie_in_one_slice_each(seed):
    rng = np.random.default_rng(seed)
    slices = int(rng.integers(1, 9))
    sizes = rng.integers(1, 40, int(rng.integers(1, 50)))
    room = -(-patches_needed(sizes.sum(), sizes.max(), slices) // slices) * slices
    places = grid_places(sizes, room, slices)
    width = room // slices
    np.testing.assert_array_equal(places // width, (places + sizes - 1) // width)
    assert (np.diff(places) >= sizes[:-1]).all() and places[-1] + sizes[-1] <= room


def test_grids_without_room():
    with pytest.raises(ValueError, match="prepare the index again with this config.mesh.context"):
        grid_places(np.array([6, 6, 6]), 20, 2)
    with pytest.raises(ValueError, match="2 slices of 10"):
        grid_places(np.array([11]), 20, 2)


def test_what_the_text_shows_is_the_same_in_slices(store, chat):
    """A clip of two grids of 48 patches and two pictures, in slices of 64 patches."""
    items = [store[1], store[0], store[2]]
    whole = build_row(items, chat, RULES, SHAPE)
    dealt = build_row(items, chat, RULES, RowShape(SHAPE.tokens, SHAPE.patches, slices=4))
    assert dealt["patch_frames"].tolist() == (
        [1] * 8 + [2] * 48 + [0] * 8 + [3] * 48 + [4] * 8 + [0] * 136
    )
    index, before = (row["visual_index"][:, 0] for row in (dealt, whole))
    np.testing.assert_array_equal(index < 0, before < 0)
    shown = index >= 0
    for name in PATCH_FIELDS:
        units = [row[name].reshape(64, 4, -1) for row in (dealt, whole)]
        np.testing.assert_array_equal(units[0][index[shown]], units[1][before[shown]])
    padding = dealt["patch_frames"] == 0
    assert not any(dealt[name][padding].any() for name in PATCH_FIELDS)
    for name in ("tokens", "positions", "segment_ids", "targets", "loss_weights"):
        np.testing.assert_array_equal(dealt[name], whole[name])


def test_work_is_counted_by_pairs():
    lengths, row, slices = np.array([5, 3, 6]), 16, 4
    segments = np.repeat([1, 2, 3, 0], [5, 3, 6, 2])
    pairs = np.tril(segments[:, None] == segments) & (segments > 0)
    expected = pairs.sum(axis=1).reshape(slices, -1).sum(axis=1)
    np.testing.assert_array_equal(slice_work(lengths, row, slices), expected)


@pytest.mark.parametrize("slices", [2, 4])
def test_slices_get_about_equal_attention_work(slices):
    """Near the best of all orders where those can be tried, never worse than the given one, and
    far nearer to balance than the given one on average."""
    rng, row = np.random.default_rng(slices), 4096
    given, found = [], []
    for _ in range(25):
        lengths = rng.multinomial(row - 100, rng.dirichlet(np.full(6, 0.7))) + 1
        order = balanced_order(lengths, row, slices)
        assert sorted(order) == list(range(6))
        best = min(
            slice_work(lengths[list(each)], row, slices).max()
            for each in itertools.permutations(range(6))
        )
        work = slice_work(lengths[order], row, slices)
        given.append(slice_work(lengths, row, slices).max() / work.mean())
        found.append(work.max() / work.mean())
        assert work.max() <= 1.25 * best
    assert np.mean(found) - 1 < 0.75 * (np.mean(given) - 1)
    np.testing.assert_array_equal(order, balanced_order(lengths, row, slices))


def test_rows_of_a_plan_have_room_for_whole_grids_and_are_balanced():
    rng, slices, limits = np.random.default_rng(3), 4, {"max_tokens": 4096, "max_patches": 8192}
    tokens, grids = rng.integers(50, 1500, 400), rng.integers(1, 9, 400)
    largest = rng.integers(1, 200, 400)
    patches = grids * largest
    plan = pack(tokens, patches, **limits, window=400, largest=largest, slices=slices)
    for r in range(plan.rows):
        members = plan.row(r)
        grid_places(np.repeat(largest[members], grids[members]), 8192, slices)
    assert sorted(plan.members) == list(range(400))
    with pytest.raises(ValueError, match="more than a row holds"):
        pack([5], [3000], **limits, window=1, largest=[3000], slices=slices)

    sources = {"clips": SourceSizes(tokens, patches, largest)}
    options = dict(batch_rows=8, seed=0, window=400, **limits)
    planned = BatchPlan(sources, {"clips": 1.0}, slices=slices, **options)
    (row, *_) = planned.local_rows(0, [5])
    assert sorted(row) == sorted(planned.rows_for_step(0)[5])
    order = balanced_order(tokens[planned.rows_for_step(0)[5]], 4096, slices)
    np.testing.assert_array_equal(row, planned.rows_for_step(0)[5][order])


def test_an_example_shrinks_until_its_grids_fit_into_slices():
    picture = MediaInfo("image", 1000, 1000, (0.0,), 0.0)

    def laid_out(slices):
        words = type("Words", (), {"ids": range(10)})
        return layout_example(RULES, lambda _: words, [picture], [1], 2000, 8192, slices)

    whole, shared = laid_out(1), laid_out(4)
    assert whole.shrunk == "" and whole.largest_grid == whole.patches > 2048
    assert shared.shrunk == "pixels" and 1500 < shared.largest_grid <= 2048
