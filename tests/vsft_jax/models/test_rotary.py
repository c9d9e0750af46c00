"""Rotary positions as they are computed on TPU, against halves of heads that change places."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vsft_jax.models.shared import layers
from vsft_jax.models.shared.layers import Rotary

_JAX = {"float32": (jnp.float32, 1e-6), "bfloat16": (jnp.bfloat16, 0)}


@pytest.mark.parametrize("width", [80, 128])
@pytest.mark.parametrize("dtype", _JAX)
def test_partners_by_a_product_are_those_by_halves(monkeypatch, width, dtype):
    """The same numbers, and the same gradient. Each partner is one number, so the product is
    exact in any type."""
    kind, tolerance = _JAX[dtype]
    rng = np.random.default_rng(width)
    x = jnp.asarray(rng.standard_normal((2, 7, 3, width)), kind)
    g = jnp.asarray(rng.standard_normal(x.shape), kind)
    rotary = Rotary.of(jnp.asarray(100 * rng.random((2, 7, width // 2)), jnp.float32), 1.1)
    out, back = jax.vjp(rotary, x)
    monkeypatch.setattr(layers, "platform", lambda: "tpu")
    by_product, back_too = jax.vjp(rotary, x)
    assert by_product.dtype == out.dtype
    np.testing.assert_allclose(
        by_product.astype(np.float32), out.astype(np.float32), atol=tolerance
    )
    # In bfloat16 the two parts of a gradient are rounded before they are added.
    np.testing.assert_allclose(
        back_too(g)[0].astype(np.float32), back(g)[0].astype(np.float32), atol=tolerance or 0.05
    )
