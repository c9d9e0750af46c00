"""Choosing tokens: against plain loops, transformers' logits processors and the softmax."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from vsft_jax.inference.token_sampling import GREEDY, Sampling, draw, narrow, row_keys

RULES = [
    Sampling(0.7),
    Sampling(1.0, top_k=1),
    Sampling(1.3, top_k=7),
    Sampling(1.0, top_p=0.4),
    Sampling(0.6, top_p=0.9),
    Sampling(0.8, top_p=0.75, top_k=12),
    Sampling(1.0, top_p=1e-6),
    Sampling(1.0, top_k=1000),
]


def _logits(rows=16, size=40):
    """Logits of different sharpness, some tokens banned."""
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(rows, size)) * np.linspace(0.3, 6, rows)[:, None]
    logits[:, [3, 17]] = -np.inf
    return logits.astype(np.float32)


def _kept_by_loop(logits, sampling):
    """Indices that may be drawn, by sorting and adding up in float64."""
    scaled = logits.astype(np.float64) / sampling.temperature
    order = [i for i in np.argsort(-scaled) if scaled[i] > -np.inf]
    if sampling.top_k:
        order = order[: sampling.top_k]
    weights = np.exp(scaled[order] - scaled[order[0]])
    kept, total = [], 0.0
    for i, weight in zip(order, weights / weights.sum(), strict=True):
        if total >= sampling.top_p:
            break
        kept.append(int(i))
        total += weight
    return set(kept)


@pytest.mark.parametrize("sampling", RULES, ids=str)
def test_narrowing_against_a_plain_loop(sampling):
    logits = _logits()
    found = np.asarray(narrow(jnp.asarray(logits), sampling))
    for row, before in zip(found, logits, strict=True):
        kept = _kept_by_loop(before, sampling)
        assert set(np.flatnonzero(row > -np.inf)) == kept
        np.testing.assert_allclose(
            row[sorted(kept)], before[sorted(kept)] / sampling.temperature, rtol=1e-6
        )


@pytest.mark.parametrize("sampling", RULES, ids=str)
def test_narrowing_against_transformers(sampling):
    torch = pytest.importorskip("torch")
    processors = pytest.importorskip("transformers.generation.logits_process")
    logits = _logits()
    steps = [processors.TemperatureLogitsWarper(float(sampling.temperature))]
    if sampling.top_k:
        steps.append(processors.TopKLogitsWarper(sampling.top_k))
    if sampling.top_p < 1:
        steps.append(processors.TopPLogitsWarper(sampling.top_p))
    expected = torch.from_numpy(logits)
    for step in steps:
        expected = step(None, expected)
    np.testing.assert_allclose(narrow(jnp.asarray(logits), sampling), expected.numpy(), rtol=1e-6)


def test_equally_likely_tokens_stay_together():
    logits = jnp.log(jnp.array([[0.4, 0.2, 0.2, 0.2]]))
    for sampling in (Sampling(1.0, top_k=2), Sampling(1.0, top_p=0.5)):
        assert (narrow(logits, sampling) > -jnp.inf).all()


@pytest.mark.parametrize("sampling", [Sampling(1.0), Sampling(0.7, top_p=0.9, top_k=6)], ids=str)
def test_draws_follow_the_softmax(sampling):
    logits = np.random.default_rng(2).normal(size=10).astype(np.float32) * 1.5
    logits[4] = -np.inf
    kept = sorted(_kept_by_loop(logits, sampling))
    expected = np.exp(logits[kept].astype(np.float64) / sampling.temperature)
    expected /= expected.sum()

    count, keys_of = 6000, jax.jit(row_keys)
    rows = jnp.arange(count, dtype=jnp.uint32)
    take = jax.jit(lambda keys: draw(jnp.broadcast_to(logits, (count, 10)), sampling, keys))
    for seed, step in ((0, 0), (0, 5), (7, 0)):
        drawn = np.asarray(take(keys_of(np.uint32(seed), rows, np.int32(step))))
        counts = np.bincount(drawn, minlength=10)
        assert counts[kept].sum() == count
        assert stats.chisquare(counts[kept], count * expected).pvalue > 1e-3


def test_a_draw_is_the_rows_own():
    rows = jnp.array([5, 9, 5, 2**32 - 1], jnp.uint32)
    logits = jnp.zeros((4, 1000))
    drawn = [
        np.asarray(draw(logits, Sampling(1.0), row_keys(np.uint32(seed), rows, np.int32(step))))
        for seed, step in ((0, 0), (0, 1), (1, 0))
    ]
    assert all(found[0] == found[2] for found in drawn)
    assert len({int(x) for found in drawn for x in found[[0, 1, 3]]}) == 9
    order = jnp.array([3, 1])
    again = draw(logits[:2], Sampling(1.0), row_keys(np.uint32(0), rows[order], np.int32(0)))
    assert again.tolist() == drawn[0][[3, 1]].tolist()


def test_values_that_make_no_sense_are_named():
    for values, message in (
        ({"temperature": -1.0}, "temperature = -1.0 must not be negative"),
        ({"temperature": 1.0, "top_p": 0.0}, "top_p = 0.0 must be above 0"),
        ({"temperature": 1.0, "top_p": 1.5}, "top_p = 1.5 must be above 0 and at most 1"),
        ({"temperature": 1.0, "top_k": -2}, "top_k = -2 must not be negative"),
        ({"top_p": 0.9}, "no effect with temperature = 0"),
        ({"top_k": 5}, "no effect with temperature = 0"),
    ):
        with pytest.raises(ValueError, match=message):
            Sampling(**values)
    assert GREEDY.temperature == 0
