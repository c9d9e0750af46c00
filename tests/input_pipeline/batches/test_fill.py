"""Which size of rows would be fuller, as a plan and a person see it."""

import numpy as np

from input_pipeline.batches import BatchPlan, SourceSizes, fill_lines


def plan(tokens, patches, **limits):
    return BatchPlan(
        {"a": SourceSizes(np.array(tokens), np.array(patches))},
        {"a": 1.0},
        batch_rows=1,
        seed=0,
        window=64,
        **limits,
    )


def test_rows_that_would_be_fuller_are_found_and_packed():
    rng = np.random.default_rng(0)
    tokens = rng.integers(100, 400, 300)
    uneven = plan(tokens, 4 * tokens, max_tokens=512, max_patches=8192)
    now = uneven.pack_plan(0)
    better = uneven.fuller_rows(4)
    assert better and all(other.max_patches % 4 == 0 for other in better)
    fills = [other.token_fill + other.patch_fill for other in better]
    assert fills == sorted(fills, reverse=True)
    assert min(fills) > now.token_fill + now.patch_fill
    # A row of four short examples is fuller than one of two.
    assert better[0].max_tokens == 1024 and better[0].token_fill > 0.9
    # None that the largest example would not fit into.
    assert {other.max_tokens for other in better} <= {512, 1024}


def test_nothing_is_advised_for_rows_that_are_full_or_hold_no_media():
    assert plan([50] * 40, [206] * 40, max_tokens=100, max_patches=412).fuller_rows(2) == []
    assert plan([50] * 40, [0] * 40, max_tokens=80, max_patches=400).fuller_rows(2) == []


def test_the_lines_hold_80_columns():
    uneven = plan([60] * 40, [100] * 40, max_tokens=100, max_patches=1000)
    lines = list(fill_lines(uneven.pack_plan(0), uneven.fuller_rows(4)))
    assert all(len(line) <= 80 for line in lines)
    assert lines[0].startswith("an epoch of 40 examples is 40 rows")
    assert lines[2].split() == ["100", "1,000", "1.0", "60.0%", "10.0%", "as", "now"]
    assert "config.layout.row_patches" in lines[-1]
    full = plan([50] * 40, [200] * 40, max_tokens=100, max_patches=400)
    assert len(list(fill_lines(full.pack_plan(0), []))) == 3
