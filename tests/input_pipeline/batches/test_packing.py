import time

import numpy as np
import pytest

from input_pipeline.batches.packing import PATCH_SLACK, balanced_patches, pack

MAX_TOKENS, MAX_PATCHES = 1000, 3000
WINDOW = 4096


def random_sizes(rng, n):
    return rng.integers(1, MAX_TOKENS + 1, n), rng.integers(0, MAX_PATCHES + 1, n)


def long_tailed_corpus(n):
    """Mostly short text with few frames, a tail of long ones, some with no picture at all."""
    rng = np.random.default_rng(0)
    text = np.clip(rng.lognormal(4.6, 0.8, n), 20, 3000).astype(int)
    frames = rng.choice([0, 8, 16, 32, 64], n, p=[0.1, 0.69, 0.14, 0.06, 0.01])
    visual = frames // 2 * rng.integers(60, 200, n)
    return np.minimum(text + visual, 8192), np.minimum(4 * visual, 32768)


def streaming_first_fit_rows(tokens, patches, max_tokens, max_patches, open_rows):
    """An independent packer: each example goes into the first of the open rows that takes it; when
    there are too many, the oldest is closed. Returns the number of rows."""
    rooms, closed = [], 0
    for t, p in zip(tokens.tolist(), patches.tolist(), strict=True):
        for room in rooms:
            if room[0] >= t and room[1] >= p:
                room[0] -= t
                room[1] -= p
                break
        else:
            rooms.append([max_tokens - t, max_patches - p])
            if len(rooms) > open_rows:
                rooms.pop(0)
                closed += 1
    return closed + len(rooms)


def check_plan(plan, tokens, patches, max_tokens, max_patches):
    assert sorted(plan.members.tolist()) == list(range(len(tokens)))
    assert plan.offsets[0] == 0
    assert plan.offsets[-1] == len(tokens)
    for r in range(plan.rows):
        row = plan.row(r)
        assert len(row) >= 1
        assert np.all(np.diff(row) > 0)
        assert tokens[row].sum() == plan.row_tokens[r] <= max_tokens
        assert patches[row].sum() == plan.row_patches[r] <= max_patches


@pytest.mark.parametrize("seed", range(12))
def test_every_example_once_and_no_row_over_a_limit(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 700))
    tokens, patches = random_sizes(rng, n)
    if seed % 2:  # many to a row
        tokens, patches = tokens // 20 + 1, patches // 20
    window = int(rng.integers(1, 300))
    plan = pack(tokens, patches, max_tokens=MAX_TOKENS, max_patches=MAX_PATCHES, window=window)
    check_plan(plan, tokens, patches, MAX_TOKENS, MAX_PATCHES)
    for r in range(plan.rows):
        assert len(set((plan.row(r) // window).tolist())) == 1, "a row left its window"


def test_packs_exactly_by_hand():
    # 6+4 and 7+3 fill two rows of 10; first-fit in this order would need three.
    plan = pack([4, 3, 6, 7], [0, 0, 0, 0], max_tokens=10, max_patches=0, window=WINDOW)
    assert sorted(plan.row(r).tolist() for r in range(plan.rows)) == [[0, 2], [1, 3]]
    assert plan.token_fill == 1.0
    assert plan.patch_fill == 0.0
    assert plan.examples_per_row == 2.0


def test_patches_limit_a_row_as_tokens_do():
    plan = pack([1, 1, 1], [60, 60, 40], max_tokens=100, max_patches=100, window=WINDOW)
    assert sorted(plan.row(r).tolist() for r in range(plan.rows)) in ([[0, 2], [1]], [[0], [1, 2]])
    assert plan.patch_fill == pytest.approx(160 / 200)
    assert plan.token_fill == pytest.approx(3 / 200)


def test_empty_and_out_of_range():
    plan = pack([], [], max_tokens=10, max_patches=10, window=WINDOW)
    assert (plan.rows, plan.token_fill, plan.examples_per_row) == (0, 0.0, 0.0)
    with pytest.raises(IndexError, match="row 0 of a plan of 0 rows"):
        plan.row(0)


@pytest.mark.parametrize(
    ("tokens", "patches", "options", "message"),
    [
        ([1, 11], [0, 0], {}, "position 1 has 11 tokens and 0 patches.*max_tokens 10"),
        ([1, 1], [0, 11], {}, "position 1 has 1 tokens and 11 patches.*max_patches 10"),
        ([0], [0], {}, "position 0 has 0 tokens"),
        ([1], [-1], {}, "-1 patches"),
        ([1], [0, 0], {}, "one length"),
        ([1], [0], {"window": 0}, "window must be >= 1, got 0"),
        ([1], [0], {"max_patches": -1}, "max_patches must be >= 0, got -1"),
    ],
)
def test_bad_input_is_named(tokens, patches, options, message):
    with pytest.raises(ValueError, match=message):
        pack(tokens, patches, **{"max_tokens": 10, "max_patches": 10, "window": WINDOW} | options)


def test_same_input_same_plan_and_seed_only_orders_rows():
    tokens, patches = random_sizes(np.random.default_rng(0), 500)
    limits = {"max_tokens": MAX_TOKENS, "max_patches": MAX_PATCHES, "window": WINDOW}
    one, two = (pack(tokens // 4 + 1, patches // 4, **limits, seed=5) for _ in range(2))
    assert one.members.tolist() == two.members.tolist()
    assert one.offsets.tolist() == two.offsets.tolist()
    other = pack(tokens // 4 + 1, patches // 4, **limits, seed=6)
    assert other.members.tolist() != one.members.tolist()
    assert {tuple(one.row(r)) for r in range(one.rows)} == {
        tuple(other.row(r)) for r in range(other.rows)
    }


def test_rows_are_not_sorted_by_fill():
    tokens, patches = long_tailed_corpus(8192)
    plan = pack(tokens, patches, max_tokens=8192, max_patches=32768, window=8192)
    position = np.arange(plan.rows)
    assert abs(np.corrcoef(position, np.diff(plan.offsets))[0, 1]) < 0.15
    assert abs(np.corrcoef(position, plan.row_patches)[0, 1]) < 0.15


@pytest.mark.parametrize("larger", [1, 2, 3, 5])
def test_fills_better_than_streaming_first_fit(larger):
    tokens, patches = long_tailed_corpus(20_000)
    tokens, patches = np.minimum(tokens * larger, 8192), np.minimum(patches * larger, 32768)
    plan = pack(tokens, patches, max_tokens=8192, max_patches=32768, window=WINDOW)
    assert plan.rows < streaming_first_fit_rows(tokens, patches, 8192, 32768, open_rows=64)
    least = max(tokens.sum() / 8192, patches.sum() / 32768)
    assert plan.rows < 1.02 * least  # within 2 % of the bound that no packing can beat


def test_a_million_examples_are_planned_quickly():
    tokens, patches = long_tailed_corpus(1_000_000)
    start = time.process_time()
    plan = pack(tokens, patches, max_tokens=8192, max_patches=32768, window=WINDOW)
    seconds = time.process_time() - start
    assert len(plan.members) == 1_000_000
    assert seconds < 10  # about 1 s on one core


def test_balanced_patches_fill_tokens_and_patches_alike():
    tokens, patches = long_tailed_corpus(20_000)
    balanced = balanced_patches(tokens, patches, 16_384, multiple=4)
    assert balanced % 1024 == 0
    plan = pack(tokens, patches, max_tokens=16_384, max_patches=balanced, window=WINDOW)
    assert plan.token_fill > 0.97
    assert plan.patch_fill > 0.97 / PATCH_SLACK - 1024 / balanced
    for other in (0.8, 1.25):
        limit = max(int(other * balanced), patches.max())
        off = pack(tokens, patches, max_tokens=16_384, max_patches=limit, window=WINDOW)
        assert min(off.token_fill, off.patch_fill) < min(plan.token_fill, plan.patch_fill)


def test_balanced_patches_hold_the_largest_example_and_nothing_for_text():
    assert balanced_patches([100, 9_000], [0, 30_000], 10_000) >= 30_000
    assert balanced_patches([100, 9_000], [0, 0], 10_000) == 0
