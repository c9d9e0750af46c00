"""Row shapes for prompts: every prompt fits, few shapes, less padding than powers of two."""

import numpy as np
import pytest

from vsft_jax.inference import prompt_shapes as module
from vsft_jax.inference.prompt_shapes import prompt_shapes


def _sizes(count=400):
    rng = np.random.default_rng(0)
    patches = 4 * rng.integers(0, 2500, count) * (rng.random(count) < 0.8)
    return patches // 4 + rng.integers(10, 300, count), patches


@pytest.mark.parametrize("rows", [1, 8, 32])
def test_every_prompt_fits_and_shapes_are_few(rows):
    tokens, patches = _sizes()
    found = prompt_shapes(tokens, patches, rows)
    assert sorted(i for members in found.values() for i in members) == list(range(len(tokens)))
    assert 1 < len(found) <= module._MOST_SHAPES
    for shape, members in found.items():
        assert members == sorted(members)
        assert tokens[members].max() <= shape.tokens and patches[members].max() <= shape.patches
        assert shape.tokens % 64 == 0 and shape.patches % 64 == 0
    sizes = [(shape.patches, shape.tokens) for shape in found]
    assert sizes == sorted(sizes, reverse=True)


@pytest.mark.parametrize("rows", [8, 32])
def test_less_is_padded_than_with_powers_of_two(rows):
    def power(size):
        return max(64, 1 << (int(size) - 1).bit_length())

    def positions(groups):
        return sum(
            -(-len(members) // rows) * rows * (length + module._PATCH_COST * count)
            for (length, count), members in groups.items()
        )

    tokens, patches = _sizes()
    powers = {}
    for i, (length, count) in enumerate(zip(tokens, patches, strict=True)):
        powers.setdefault((power(length), power(count)), []).append(i)
    found = prompt_shapes(tokens, patches, rows)
    ours = {(shape.tokens, shape.patches): members for shape, members in found.items()}
    assert len(ours) <= len(powers)
    assert positions(ours) < 0.85 * positions(powers)


def test_a_few_prompts_share_one_batch():
    assert list(prompt_shapes([70, 90, 400], [0, 64, 100], 8).values()) == [[0, 1, 2]]
    assert len(prompt_shapes([70] * 8 + [4000] * 8, [0] * 16, 8)) == 2


def test_sizes_round_up_by_a_quarter_at_most():
    sizes = np.arange(1, 5000)
    rounded = np.array([module._round_up(int(size)) for size in sizes])
    assert (rounded >= sizes).all() and (rounded - sizes < np.maximum(64, sizes / 4)).all()
    assert len(np.unique(rounded)) < 30 and module._round_up(0) == 64
