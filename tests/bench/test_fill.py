"""The packers that are compared take every example, and count fill alike."""

import numpy as np
import pytest

from bench.fill.corpus import Sizes
from bench.fill.packers import grain_first_fit, ours, padded
from vsft_jax.plan.corpus import BUDGETS, PICTURES, TEXTS


def test_packers_on_the_same_examples():
    rng = np.random.default_rng(3)
    tokens = rng.integers(20, 400, 600)
    sizes = Sizes(tokens, rng.integers(0, 4, 600) * tokens)
    here, there = ours(sizes, 1000, 2000), grain_first_fit(sizes, 1000, 2000, bins=4)
    for fill in (here, there):
        assert fill.tokens == pytest.approx(sizes.tokens.sum() / fill.rows / 1000)
        assert fill.patches == pytest.approx(sizes.patches.sum() / fill.rows / 2000)
    assert here.rows <= there.rows
    alone = padded(sizes)
    assert alone.rows == 600
    assert alone.tokens == pytest.approx(tokens.mean() / tokens.max())


def test_the_corpus_has_the_budgets_of_the_paper():
    assert sum(BUDGETS.values()) == 74_500
    assert sum(n * k for n, k in BUDGETS.items()) / 74_500 == pytest.approx(11, abs=0.1)
    assert sum(PICTURES.values()) == pytest.approx(1) and sum(TEXTS.values()) == pytest.approx(1)
