"""Gradients, curvature and step sizes, on losses whose answers are known."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from evaluation.diagnostics.gradients import (
    change_of_sign,
    cosines,
    curvature,
    gradient_of,
    steps_of,
)


def _quadratic(eigenvalues, seed=0):
    """½ xᵀ A x over two leaves, and A."""
    rng = np.random.default_rng(seed)
    size = len(eigenvalues)
    basis, _ = np.linalg.qr(rng.normal(size=(size, size)))
    matrix = (basis * eigenvalues) @ basis.T

    def loss(tree):
        x = jnp.concatenate([tree["a"], tree["b"].ravel()])
        return 0.5 * x @ jnp.asarray(matrix, jnp.float32) @ x

    return loss, matrix


def _tree(values):
    values = np.asarray(values, np.float32)
    return {"a": values[:2], "b": values[2:].reshape(1, -1)}


@pytest.mark.parametrize("eigenvalues", [(5.0, 1.0, 0.5, 0.1), (1.0, 0.5, -7.0, 0.2)])
def test_curvature_is_the_largest_eigenvalue(eigenvalues):
    loss, _ = _quadratic(np.array(eigenvalues))
    at = _tree([0.3, -0.2, 0.5, 0.1])
    found = curvature(jax.grad(loss), at, iterations=40)
    assert found == pytest.approx(max(map(abs, eigenvalues)), rel=1e-2)


def test_steps_below_the_bound_raise_the_loss_on_pictures():
    """Proposition 1, with the curvature of the pictures' loss for β: true of quadratics."""
    image, matrix = _quadratic(np.array([4.0, 2.0, 1.0, 0.5]))
    at = _tree([1.0, -0.5, 0.3, 0.8])
    target = _tree(np.concatenate([at["a"], at["b"].ravel()]) * 3)

    def video(tree):  # pulls outwards, against the pictures, and is flatter
        return 0.05 * sum(jnp.sum((tree[k] - target[k]) ** 2) for k in tree)

    gradients = jax.grad(image)(at), jax.grad(video)(at)
    beta = curvature(jax.grad(image), at, iterations=40)
    found = steps_of(*gradients, at, beta, lambda t: (float(image(t)), float(video(t))))
    g_image, g_video = (np.concatenate([g["a"], g["b"].ravel()]) for g in gradients)
    assert found.product == pytest.approx(g_image @ g_video, rel=1e-4) and found.product < 0
    expected = -2 * (g_image @ g_video) / (np.linalg.norm(matrix, 2) * (g_video @ g_video))
    assert found.bound == pytest.approx(expected, rel=1e-2)
    for rate, on_pictures, on_clips in found.changes:
        if rate < found.bound:
            assert on_pictures > 0
        exact = -rate * (g_image @ g_video) + 0.5 * rate**2 * g_video @ matrix @ g_video
        assert on_pictures == pytest.approx(exact, rel=1e-2, abs=1e-4)
        assert rate > 2 / 0.1 or on_clips < 0  # falls below 2 / β of its own


def test_where_clips_agree_with_pictures_there_is_no_bound():
    loss, _ = _quadratic(np.array([1.0, 1.0, 1.0, 1.0]))
    at = _tree([1.0, 2.0, 3.0, 4.0])
    gradient = jax.grad(loss)(at)
    found = steps_of(gradient, gradient, at, 1.0, lambda t: (float(loss(t)),) * 2)
    assert found.bound is None and found.product > 0
    assert all(on_pictures < 0 for rate, on_pictures, _ in found.changes if rate < 2)


def test_cosines_are_of_the_parts():
    one = {"llm": {"q": np.array([1.0, 0.0])}, "visual": np.array([0.0, 2.0])}
    other = {"llm": {"q": np.array([3.0, 0.0])}, "visual": np.array([0.0, -2.0])}
    parts = {"llm": lambda p: p.startswith("llm"), "tower": lambda p: p.startswith("visual")}
    found = cosines(one, other, {**parts, "none": lambda p: False})
    assert (found["llm"], found["tower"]) == (pytest.approx(1), pytest.approx(-1))
    assert found["all"] == pytest.approx((3 - 4) / math.sqrt(5 * 13))
    assert math.isnan(found["none"])


def test_a_mean_gradient_knows_how_much_of_it_is_scatter():
    rng = np.random.default_rng(0)
    signal = np.full(200, 0.3)
    batches = [{"x": signal + rng.normal(size=200)} for _ in range(400)]
    found = gradient_of(lambda batch: batch, batches)
    assert found.second_moment == pytest.approx(200 * (0.09 + 1), rel=0.02)
    assert found.noise == pytest.approx(1 / 1.09, rel=0.02)
    with pytest.raises(ValueError, match="needs batches"):
        gradient_of(lambda batch: batch, [])


def test_where_cooperation_turns_into_conflict():
    assert change_of_sign({2: 0.4, 4: 0.2, 8: -0.2, 16: -0.3}) == pytest.approx(4 * 2**0.5)
    assert change_of_sign({2: 0.4, 4: 0.2}) is None
    assert change_of_sign({2: -0.4, 4: -0.5}) is None
