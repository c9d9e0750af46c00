"""Layers of Gemma 4's tower and decoder: normalised on both sides of attention and MLP.

Follows transformers `models/gemma4/modeling_gemma4.py`.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from vsft_jax.models.shared.layers import UNBOUNDED, Linear, RMSNorm, unit_rms


def normalise(x: Array, eps: float) -> Array:
    """Root-mean-square normalisation over the last axis without a learned scale, in x's dtype."""
    return unit_rms(x, eps).astype(x.dtype)


class ClippedLinear(Linear):
    """A `Linear` whose inputs and outputs are held inside bounds. The bounds do not train."""

    def __init__(self, inputs: int, outputs: int, *, bias: bool, param_dtype: str, rngs: nnx.Rngs):
        super().__init__(inputs, outputs, bias=bias, param_dtype=param_dtype, rngs=rngs)

        def bound(value: float) -> nnx.Param:
            return nnx.Param(jnp.full((1,), value, param_dtype))

        self.input_min, self.input_max = bound(-UNBOUNDED), bound(UNBOUNDED)
        self.output_min, self.output_max = bound(-UNBOUNDED), bound(UNBOUNDED)

    def __call__(self, x: Array) -> Array:
        def clip(x: Array, low: nnx.Param, high: nnx.Param) -> Array:
            bounds = (jax.lax.stop_gradient(each[...].astype(x.dtype)) for each in (low, high))
            return jnp.clip(x, *bounds)

        y = super().__call__(clip(x, self.input_min, self.input_max))
        return clip(y, self.output_min, self.output_max)


class AroundNorms(nnx.Module):
    """The normalisations before and after attention and MLP."""

    def __init__(self, width: int, *, eps: float, param_dtype: str):
        self.norm1, self.post_norm1, self.norm2, self.post_norm2 = (
            RMSNorm(width, eps=eps, param_dtype=param_dtype) for _ in range(4)
        )


def heads(linear: Linear, x: Array, head_dim: int) -> Array:
    """float[B, L, D] -> float[B, L, H, head_dim]."""
    return linear(x).reshape(*x.shape[:-1], -1, head_dim)


def unscaled(q: Array) -> Array:
    """Queries whose products with keys the shared attention, which divides by the root of a head's
    width, leaves as they are."""
    return q * jnp.asarray(q.shape[-1] ** 0.5, q.dtype)


def linear_options(param_dtype: str, rngs: nnx.Rngs) -> dict[str, Any]:
    """What every matrix here is made with."""
    return {"bias": False, "param_dtype": param_dtype, "rngs": rngs}
