"""Rows for prompts: everyone has a place, little is padded, shapes are few."""

import numpy as np
import pytest

from vsft_jax.inference import prompt_rows as module
from vsft_jax.inference.prompt_rows import padding, plan_rows

RNG = np.random.default_rng(0)


def _mixed(n):
    """Pictures of all sizes, and a clip now and then, with one to six questions of any length."""
    patches = 4 * np.where(
        RNG.random(n) < 0.05, RNG.integers(2000, 4000, n), RNG.integers(60, 900, n)
    )
    questions = RNG.integers(1, 7, n)
    endings = np.array([RNG.integers(10, 200, count).sum() for count in questions])
    return np.stack([patches // 4 + 25, patches, endings, questions], axis=1)


CORPORA = {
    "POPE": [[361, 1344, 18 * 24, 18]] * 500,
    "Video-MME": [[25 + 32 * 64, 32 * 256, 3 * 120 + i % 50, 3] for i in range(900)],
    "clips by the hybrid rule": [
        [25 + f * 70, f * 280, 3 * 40, 3] for f in RNG.choice([8, 16, 32, 64], 900).tolist()
    ],
    "one question each": [[4200 + i % 3, 16400, 1, 1] for i in range(64)],
    "60 questions about 15 clips": [[330, 1200, 4 * 50, 4]] * 15,
    "mixed": _mixed(1000).tolist(),
    "text": [[int(n), 0, 1, 1] for n in RNG.integers(40, 400, 300)],
}


def _check(plans, sizes, shards):
    assert sorted(i for plan in plans for row in plan.rows for i in row) == list(range(len(sizes)))
    for plan in plans:
        assert plan.batch_rows % shards == 0
        for row in plan.rows:
            assert (sizes[row].sum(axis=0) <= plan.shape).all()


@pytest.mark.parametrize("shards", [1, 8])
@pytest.mark.parametrize("name", CORPORA)
def test_less_than_15_percent_is_padding(name, shards):
    sizes = np.array(CORPORA[name])
    plans = plan_rows(sizes, 32, shards, tight=True)
    _check(plans, sizes, shards)
    assert len(plans) <= 4
    # With few rows on many devices some have nothing to do.
    rows = sum(len(plan.rows) for plan in plans)
    assert padding(plans, sizes) < 0.15 or rows < 4 * shards


def test_sixty_prompts_are_not_sixty_four_rows():
    sizes = np.array([[500, 1800, 1, 1]] * 60)
    (plan,) = plan_rows(sizes, 32, 1, tight=True)
    assert -(-len(plan.rows) // plan.batch_rows) * plan.batch_rows == len(plan.rows)
    assert padding([plan], sizes) < 0.05


def test_a_batch_takes_no_more_than_rows_of_the_longest_group():
    sizes = _mixed(300)
    for plan in plan_rows(sizes, 16, 4, tight=True):
        assert plan.batch_rows * plan.shape.tokens <= 1.07 * 16 * sizes[:, 0].max()


@pytest.mark.parametrize("rows", [1, 8])
def test_otherwise_a_prompt_has_a_row_and_shapes_come_again(rows):
    sizes = _mixed(40)
    sizes[:, 2:] = 1
    plans = plan_rows(sizes, rows, rows, tight=False)
    _check(plans, sizes, rows)
    shapes = set()
    for plan in plans:
        assert plan.batch_rows == rows and all(len(row) == 1 for row in plan.rows)
        assert plan.shape.endings == plan.shape.questions == 1
        shapes.add(plan.shape.tokens)
    for size in sizes[:10]:
        (plan,) = plan_rows(size[None], rows, rows, tight=False)
        assert plan.shape.tokens in {module._round_up(n, False) for n in range(1, 5000)}
    assert len({module._round_up(n, False) for n in range(1, 5000)}) < 30


def test_sizes_round_up_by_a_quarter_at_most():
    sizes = np.arange(1, 5000)
    for tight, share, least in ((False, 1 / 4, 64), (True, 1 / 16, 16)):
        rounded = np.array([module._round_up(int(size), tight) for size in sizes])
        assert (rounded >= sizes).all() and rounded[0] == 64
        past = sizes > 64
        assert (rounded - sizes < np.maximum(least, share * sizes))[past].all()


def test_no_prompts_make_no_rows():
    assert plan_rows(np.zeros((0, 4), int), 8, 8, tight=True) == []
