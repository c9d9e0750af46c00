"""The gated delta rule in chunks, and its convolution, against a loop over tokens in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vsft_jax.models.qwen3_5.convolution import short_convolution
from vsft_jax.models.qwen3_5.delta import CHUNK, Tokens, gated_delta_rule

G, R, K, V, TAPS, X = 2, 2, 8, 6, 4, 5
# Lengths of segments, -n: padding. Borders inside chunks, at their ends, none at all; single
# tokens; a chunk of many texts; padding at the end and none.
ROWS = {
    "one text": [3 * CHUNK + 5],
    "short": [7],
    "borders": [10, 30, 100, 1, 59, CHUNK, 13, -20],
    "at chunks' ends": [CHUNK, 2 * CHUNK, CHUNK],
    "many": [1, 2, 3, 1, 1, 4, 9, 2, 1, 17, 5, -3],
}


ROWS |= {
    f"random {mean}": [*np.random.default_rng(mean).geometric(1 / mean, 300 // mean).tolist(), -9]
    for mean in (5, 30, 100)
}


def _row(lengths):
    ids = []
    for i, length in enumerate(lengths):
        ids += [0 if length < 0 else i + 1] * abs(length)
    return np.array(ids)


def _tokens(length, seed=0, fade=1.0, beta=None):
    """Unit keys; some tokens fade nothing, some nearly everything."""
    rng = np.random.default_rng(seed)
    q, k = rng.standard_normal((2, length, G, K))
    k /= np.linalg.norm(k, axis=-1, keepdims=True)
    v = rng.standard_normal((length, G, R, V))
    decay = -fade * rng.exponential(1.0, (length, G, R)) ** 3
    given = rng.uniform(0, 1, (length, G, R)) if beta is None else np.full((length, G, R), beta)
    return q, k, v, decay, given


def _oracle(q, k, v, decay, beta, ids, states=None):
    """Token by token; each text has its own S."""
    out = np.zeros(v.shape)
    found = {} if states is None else {i + 1: s.copy() for i, s in enumerate(states)}
    for t, segment in enumerate(ids):
        state = found.setdefault(segment, np.zeros((G, R, K, V)))
        for g in range(G):
            for r in range(R):
                s = np.exp(decay[t, g, r]) * state[g, r]
                s += np.outer(k[t, g], beta[t, g, r] * (v[t, g, r] - k[t, g] @ s))
                out[t, g, r] = q[t, g] @ s
                state[g, r] = s
    return out, found


def _run(arrays, ids, states=None, dtype=np.float32):
    tokens = Tokens(*(jnp.asarray(x[None], dtype) for x in arrays), jnp.asarray(ids[None]))
    given = None if states is None else jnp.asarray(states[None], dtype)
    out, after = jax.jit(gated_delta_rule)(tokens, given)
    return np.asarray(out)[0], np.asarray(after)[0]


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("fade", [0.01, 1.0, 30.0])
def test_chunks_equal_a_loop_over_tokens(name, fade):
    ids = _row(ROWS[name])
    arrays = _tokens(len(ids), fade=fade)
    expected, states = _oracle(*arrays, ids)
    found, after = _run(arrays, ids)
    real = ids > 0
    np.testing.assert_allclose(found[real], expected[real], atol=1e-5)
    np.testing.assert_allclose(after[0], states[ids[-1]], atol=1e-5)


@pytest.mark.parametrize("fade", [0.0, 1.0])
def test_keys_that_are_all_alike(fade):
    """The matrix to be inverted has ones below its diagonal, and its powers overflow nothing."""
    ids = _row([150])
    q, k, v, decay, beta = _tokens(len(ids), fade=fade, beta=1.0)
    k[:] = k[0]
    expected, _ = _oracle(q, k, v, decay, beta, ids)
    found, _ = _run((q, k, v, decay, beta), ids)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("name", ROWS)
def test_texts_go_on_from_their_states(name):
    """Those that have tokens here, and one that has none."""
    ids = _row(ROWS[name])
    arrays = _tokens(len(ids), 1)
    before = np.random.default_rng(2).standard_normal((len(ROWS[name]) + 1, G, R, K, V))
    expected, states = _oracle(*arrays, ids, before)
    found, after = _run(arrays, ids, before)
    real = ids > 0
    np.testing.assert_allclose(found[real], expected[real], atol=1e-5)
    for segment in range(1, len(before) + 1):
        np.testing.assert_allclose(after[segment - 1], states[segment], atol=1e-5)


def test_packed_equals_alone():
    """With neighbours that are a thousand times as large, and fade nothing or all."""
    lengths = [70, 45, 90]
    ids = _row(lengths)
    arrays = _tokens(len(ids), 3)
    for edge in (slice(0, 70), slice(115, None)):
        arrays[2][edge] *= 1000
        arrays[3][edge] *= 100
    packed, _ = _run(arrays, ids)
    alone, _ = _run([x[70:115] for x in arrays], np.ones(45, int))
    np.testing.assert_allclose(packed[70:115], alone, atol=1e-5)


@pytest.mark.parametrize("name", ["borders", "many"])
def test_gradients(name):
    """Against those of texts alone, by the same rule a token at a time, in float64."""
    ids = _row(ROWS[name])
    arrays = _tokens(len(ids), 4)
    weights = (
        np.random.default_rng(5).standard_normal(arrays[2].shape) * (ids > 0)[:, None, None, None]
    )

    def recurrent(q, k, v, decay, beta):
        starts = jnp.asarray(np.diff(ids, prepend=-1) != 0)

        def step(state, token):
            q, k, v, decay, beta, starts = token
            state = jnp.where(starts, 0, state) * jnp.exp(decay)[..., None, None]
            seen = jnp.einsum("gk,grkv->grv", k, state)
            state += jnp.einsum("gk,grv->grkv", k, beta[..., None] * (v - seen))
            return state, jnp.einsum("gk,grkv->grv", q, state)

        start = jnp.zeros((G, R, K, V), q.dtype)
        return jax.lax.scan(step, start, (q, k, v, decay, beta, starts))[1]

    def chunks(*arrays):
        tokens = Tokens(*(x[None] for x in arrays), jnp.asarray(ids[None]))
        return gated_delta_rule(tokens)[0][0]

    def gradients(rule, dtype):
        given = [jnp.asarray(x, dtype) for x in arrays]
        loss = lambda *x: (rule(*x) * jnp.asarray(weights, dtype)).sum()  # noqa: E731
        return jax.jit(jax.grad(loss, argnums=(0, 1, 2, 3, 4)))(*given)

    with jax.enable_x64(True):
        expected = [np.asarray(x) for x in gradients(recurrent, np.float64)]
    for found, theirs in zip(gradients(chunks, np.float32), expected, strict=True):
        np.testing.assert_allclose(found, theirs, atol=3e-5)


def _convolved(x, weight, ids, tails=None):
    """Token by token; and the last inputs of each text."""
    past = {} if tails is None else {i + 1: [*tail] for i, tail in enumerate(tails.swapaxes(1, 2))}
    out = np.zeros(x.shape)
    for t, segment in enumerate(ids):
        seen = past.setdefault(segment, [np.zeros((G, X))] * (TAPS - 1))
        seen.append(x[t])
        out[t] = sum(weight[..., -1 - back] * seen[-1 - back] for back in range(TAPS))
    return out, {i: np.stack(seen[1 - TAPS :], 1) for i, seen in past.items()}


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("goes_on", [False, True])
def test_convolution(name, goes_on):
    ids = _row(ROWS[name])
    rng = np.random.default_rng(6)
    x, weight = rng.standard_normal((len(ids), G, X)), rng.standard_normal((G, X, TAPS))
    tails = rng.standard_normal((len(ROWS[name]) + 1, G, TAPS - 1, X)) if goes_on else None
    expected, after = _convolved(x, weight, ids, tails)
    given = None if tails is None else jnp.asarray(tails[None])
    out, found = short_convolution(
        jnp.asarray(x[None]), jnp.asarray(weight), jnp.asarray(ids[None]), given
    )
    real = ids > 0
    np.testing.assert_allclose(out[0][real], expected[real], atol=1e-5)
    for segment in range(1, len(tails) + 1) if goes_on else ():
        np.testing.assert_allclose(found[0, segment - 1], after[segment], atol=1e-6)
