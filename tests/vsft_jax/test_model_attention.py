"""Attention against a plain numpy loop over heads."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vsft_jax.models.attention import attention


def _numpy_attention(q, k, v, q_segments, kv_segments, causal=False):
    out = np.zeros(q.shape)
    group = q.shape[2] // k.shape[2]
    for b in range(q.shape[0]):
        allowed = q_segments[b][:, None] == kv_segments[b][None, :]
        if causal:
            allowed &= np.tri(*allowed.shape, dtype=bool)
        for head in range(q.shape[2]):
            scores = q[b, :, head] @ k[b, :, head // group].T / np.sqrt(q.shape[-1])
            weights = np.exp(scores) * allowed
            weights = weights / np.maximum(weights.sum(-1, keepdims=True), 1e-30)
            out[b, :, head] = weights @ v[b, :, head // group]
    return out


def _qkv(length, kv_length=None, heads=4, kv_heads=2, seed=0):
    rng = np.random.default_rng(seed)
    shapes = [(2, length, heads, 8)] + 2 * [(2, kv_length or length, kv_heads, 8)]
    return [rng.normal(size=shape).astype(np.float32) for shape in shapes]


def _runs(length, longest, padding, seed=0):
    """Contiguous segments of random lengths up to `longest`, then `padding` zeros."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(2):
        ids, segment = [], 0
        while len(ids) < length - padding:
            segment += 1
            ids += [segment] * int(rng.integers(1, longest + 1))
        rows.append(ids[: length - padding] + [0] * padding)
    return np.array(rows, np.int32)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("length", [50, 600])  # one tile, and several with an uneven last
def test_equals_plain_attention(causal, length):
    q, k, v = _qkv(length)
    segments = _runs(length, 40, padding=7)
    found = attention(q, k, v, segment_ids=segments, causal=causal)
    expected = _numpy_attention(q, k, v, segments, segments, causal)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("length", [49, 64, 130])
def test_local_attention_equals_dense(length):
    """Runs as long as promised, at every offset to the blocks, padding longer than a block."""
    q, k, v = _qkv(length, kv_heads=4)
    segments = _runs(length, 16, padding=20)
    found = attention(q, k, v, segment_ids=segments, max_segment_length=16)
    expected = _numpy_attention(q, k, v, segments, segments)
    real = segments > 0
    np.testing.assert_allclose(np.asarray(found)[real], expected[real], atol=1e-5)
    assert np.isfinite(found).all()


def test_more_keys_than_queries():
    q, k, v = _qkv(1, 20)
    keys = (np.arange(20) % 3 == 0).astype(np.int32)[None].repeat(2, 0)
    ones = np.ones((2, 1), np.int32)
    found = attention(q, k, v, q_segment_ids=ones, kv_segment_ids=keys)
    np.testing.assert_allclose(found, _numpy_attention(q, k, v, ones, keys), atol=1e-5)


def test_nothing_to_attend_to_is_finite_forward_and_backward():
    q, k, v = _qkv(5, 6)
    ones, zeros = np.ones((2, 5), np.int32), np.zeros((2, 6), np.int32)

    def total(q, k, v):
        return attention(q, k, v, q_segment_ids=ones, kv_segment_ids=zeros).sum()

    value, gradients = jax.value_and_grad(total, argnums=(0, 1, 2))(q, k, v)
    assert np.isfinite(value)
    assert all(np.isfinite(gradient).all() for gradient in gradients)


def test_softmax_is_float32_under_bfloat16():
    """Many equal scores: bfloat16 sums of exponentials would stall at 256."""
    ones = jnp.ones((1, 1000, 1, 8), jnp.bfloat16)
    values = jnp.broadcast_to(jnp.arange(1000)[None, :, None, None] < 500, ones.shape)
    segments = jnp.ones((1, 1000), jnp.int32)
    found = attention(ones, ones, values.astype(jnp.bfloat16), segment_ids=segments)
    assert found.dtype == jnp.bfloat16
    np.testing.assert_allclose(found.astype(np.float32), 0.5, rtol=0.01)


def test_refuses_unclear_calls():
    q, k, v = _qkv(4)
    ids = np.ones((2, 4), np.int32)
    with pytest.raises(ValueError, match="implementation 'flash' is unknown"):
        attention(q, k, v, segment_ids=ids, implementation="flash")
    with pytest.raises(ValueError, match="not both"):
        attention(q, k, v, segment_ids=ids, q_segment_ids=ids)
    with pytest.raises(ValueError, match="for the queries and for the keys"):
        attention(q, k, v, q_segment_ids=ids)
    with pytest.raises(ValueError, match="bidirectional"):
        attention(q, k, v, segment_ids=ids, max_segment_length=2, causal=True)
