"""The chunked loss against the plain one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from vsft_jax.sharding import batch_sharding, make_mesh
from vsft_jax.train.loss import token_loss

B, L, D, V = 3, 10, 8, 21


def _case(seed):
    rng = np.random.default_rng(seed)
    hidden = rng.normal(size=(B, L, D)).astype(np.float32)
    kernel = rng.normal(size=(D, V)).astype(np.float32)
    targets = rng.integers(0, V, (B, L)).astype(np.int32)
    weights = (rng.random((B, L)) < 0.6) * rng.random((B, L))
    return hidden, kernel, targets, weights.astype(np.float32)


def _plain(hidden, kernel, targets, weights):
    """float64 numpy, all logits at once."""
    logits = hidden.astype(np.float64) @ kernel.astype(np.float64)
    probabilities = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    picked = np.take_along_axis(probabilities, targets[..., None], -1)[..., 0]
    right = logits.argmax(-1) == targets
    return -(weights * np.log(picked)).sum(), weights.sum(), (weights * right).sum(), probabilities


def test_chunks_without_answers_are_left_out():
    """Where nothing is to be predicted, hidden states are not looked at beyond the last chunk that
    holds an answer: what is not a number there reaches neither loss nor gradient."""
    hidden, kernel, targets, weights = _case(5)
    weights[:] = 0
    weights[0, [2, 5, 9]], weights[2, 7] = 1.0, 0.5

    def loss(hidden, kernel):
        return token_loss(kernel, hidden, targets, weights, 4).loss

    value, (to_hidden, to_kernel) = jax.value_and_grad(loss, argnums=(0, 1))(hidden, kernel)
    # Beside answers, a chunk of 4 holds the first positions of the row.
    spoilt = hidden.copy()
    spoilt[0, [3, 4, 6, 7, 8]] = spoilt[1, 4:] = np.nan
    spoilt[2, [3, 4, 5, 6, 8, 9]] = np.nan
    same, (hidden_too, kernel_too) = jax.value_and_grad(loss, argnums=(0, 1))(spoilt, kernel)
    assert float(same) == pytest.approx(_plain(hidden, kernel, targets, weights)[0], rel=1e-5)
    assert float(same) == float(value)
    np.testing.assert_array_equal(hidden_too, to_hidden)
    np.testing.assert_array_equal(kernel_too, to_kernel)
    assert not to_hidden[weights == 0].any() and to_hidden[weights > 0].any(axis=-1).all()


@pytest.mark.parametrize("chunk", [1, 4, 5, 10, 64])  # 4 leaves an uneven rest
def test_equals_plain_computation_and_its_gradient(chunk):
    hidden, kernel, targets, weights = _case(0)
    targets[0, :3] = (hidden @ kernel).argmax(-1)[0, :3]
    weights[0, :3] = (0.5, 1.0, 2.0)

    @jax.jit
    def loss(hidden, kernel):
        sums = token_loss(kernel, hidden, targets, weights, chunk)
        return sums.loss, sums

    gradient = jax.grad(loss, argnums=(0, 1), has_aux=True)
    (to_hidden, to_kernel), sums = gradient(hidden, kernel)
    value, weight, correct, probabilities = _plain(hidden, kernel, targets, weights)
    np.testing.assert_allclose(sums.loss, value, rtol=1e-5)
    np.testing.assert_allclose(sums.weight, weight, rtol=1e-6)
    np.testing.assert_allclose(sums.correct, correct, rtol=1e-6)
    assert 3.5 <= correct < weight

    # d loss / d logits = weight · (softmax - one-hot)
    to_logits = weights[..., None] * (probabilities - np.eye(V)[targets])
    np.testing.assert_allclose(to_hidden, to_logits @ kernel.T, atol=1e-5)
    np.testing.assert_allclose(
        to_kernel, np.einsum("bld,blv->dv", hidden, to_logits), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("mesh", [(2, 2, 2), (1, 8, 1), (4, 1, 2)])
def test_equals_one_device_on_a_mesh(mesh):
    """Output matrix split over 'fsdp' and 'tensor', rows over 'data' and 'fsdp'; 5 does not divide
    by 'fsdp', so that one is not gathered."""
    rng = np.random.default_rng(3)
    for width in (16, 5):
        kernel = rng.normal(size=(width, 24)).astype(np.float32)
        hidden = rng.normal(size=(8, 12, width)).astype(np.float32)
        targets, weights = rng.integers(0, 24, (8, 12)), rng.integers(0, 2, (8, 12))

        def loss(kernel, hidden):
            return token_loss(kernel, hidden, targets, weights, 5).loss  # noqa: B023

        gradient = jax.value_and_grad(loss, argnums=(0, 1))
        alone = jax.jit(gradient)(kernel, hidden)
        devices = make_mesh(dict(zip(("data", "fsdp", "tensor"), mesh, strict=True)))
        axes = ("fsdp" if width == 16 else None, "tensor")
        with jax.set_mesh(devices):
            found = jax.jit(gradient)(
                jax.device_put(kernel, NamedSharding(devices, PartitionSpec(*axes))),
                jax.device_put(hidden, batch_sharding(devices)),
            )
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), found, alone
        )


def test_sums_add_up_over_rows():
    """Rows with unequal weights: sums over parts of the batch equal the sum over all of it."""
    hidden, kernel, targets, weights = _case(1)

    def sums(rows):
        return token_loss(kernel, hidden[rows], targets[rows], weights[rows], 4)

    whole = sums(slice(None))
    parts = jax.tree.map(jnp.add, sums(slice(0, 1)), sums(slice(1, None)))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), whole, parts)


def test_huge_logits_stay_finite():
    hidden = jnp.full((1, 2, 1), 1e4)
    kernel = jnp.array([[1.0, -1.0]])
    sums = token_loss(kernel, hidden, jnp.array([[0, 1]]), jnp.ones((1, 2)), 1)
    np.testing.assert_allclose(sums.loss, 2e4, rtol=1e-6)
    assert sums.correct == 1


def test_all_logits_never_exist():
    """No intermediate of the compiled gradient has B · L · V elements."""
    rows, length, width, vocabulary, chunk = 2, 64, 4, 1000, 8
    hidden = jnp.ones((rows, length, width))
    kernel = jnp.ones((width, vocabulary))
    targets = jnp.zeros((rows, length), jnp.int32)

    def loss(hidden, kernel):
        weights = jnp.ones((rows, length))
        return token_loss(kernel, hidden, targets, weights, chunk).loss

    compiled = jax.jit(jax.grad(loss, argnums=(0, 1))).lower(hidden, kernel).compile()
    most = compiled.memory_analysis().temp_size_in_bytes
    assert most < 4 * rows * length * vocabulary


def test_chunk_must_be_positive():
    hidden, kernel, targets, weights = _case(0)
    with pytest.raises(ValueError, match="positive number of positions, not 0"):
        token_loss(kernel, hidden, targets, weights, 0)
