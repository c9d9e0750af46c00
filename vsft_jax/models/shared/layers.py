"""Layers that the models share; `block` puts them together to one of a transformer.

Parameters keep their own dtype; every layer computes in the dtype of its input.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array
from jax.ad_checkpoint import checkpoint_name

from vsft_jax.sharding import platform, position_axis

# A bound that holds nothing back: finite, so that sums and multiples of it are.
UNBOUNDED = 1e38


class Linear(nnx.Module):
    """x @ kernel (+ bias); kernel: [inputs, outputs].

    With adapters (vsft_jax/lora.py puts them there) also + lora_scale · (x @ lora_a) @ lora_b.
    """

    lora_a: nnx.Param | None = None  # [inputs, rank]
    lora_b: nnx.Param | None = None  # [rank, outputs]
    lora_scale: float = 0.0

    def __init__(self, inputs: int, outputs: int, *, bias: bool, param_dtype: str, rngs: nnx.Rngs):
        # Deviation 1 / sqrt(inputs): 0.017 at a width of 3584, and right for tiny models too.
        init = nnx.initializers.lecun_normal()
        self.kernel = nnx.Param(init(rngs.params(), (inputs, outputs), param_dtype))
        self.bias = nnx.Param(jnp.zeros((outputs,), param_dtype)) if bias else None

    def __call__(self, x: Array) -> Array:
        # Rows and positions as one axis: the kernel's gradient is then a plain product, which saves
        # a fifth of a CPU step over the transposed copies of the three-dimensional one. Where
        # devices share rows, their parts of several rows would be no run of that axis.
        mesh = jax.sharding.get_abstract_mesh()
        shared = x.ndim > 2 and position_axis(mesh, x.shape[1]) is not None
        flat = x if shared else x.reshape(-1, x.shape[-1])
        y = flat @ self.kernel[...].astype(x.dtype)
        if self.lora_a is not None and self.lora_b is not None:
            low = self.lora_scale * (flat @ self.lora_a[...].astype(x.dtype))
            y = y + low @ self.lora_b[...].astype(x.dtype)
        y = y.reshape(*x.shape[:-1], y.shape[-1])
        return y if self.bias is None else y + self.bias[...].astype(x.dtype)


def unit_rms(x: Array, eps: float) -> Array:
    """float32: x with a root mean square of one over the last axis, without a learned scale."""
    wide = x.astype(jnp.float32)
    return wide * jax.lax.rsqrt(jnp.mean(wide * wide, axis=-1, keepdims=True) + eps)


class RMSNorm(nnx.Module):
    """Root-mean-square normalisation over the last axis, in float32."""

    def __init__(self, width: int, *, eps: float, param_dtype: str):
        self.scale = nnx.Param(jnp.ones((width,), param_dtype))
        self.eps = eps

    def __call__(self, x: Array) -> Array:
        return unit_rms(x, self.eps).astype(x.dtype) * self.scale[...].astype(x.dtype)


class LayerNorm(nnx.Module):
    """Mean and variance normalisation over the last axis, in float32, with scale and bias."""

    def __init__(self, width: int, *, eps: float, param_dtype: str):
        self.scale = nnx.Param(jnp.ones((width,), param_dtype))
        self.bias = nnx.Param(jnp.zeros((width,), param_dtype))
        self.eps = eps

    def __call__(self, x: Array) -> Array:
        wide = x.astype(jnp.float32)
        wide = unit_rms(wide - wide.mean(axis=-1, keepdims=True), self.eps)
        return (wide * self.scale[...] + self.bias[...]).astype(x.dtype)


NORMS: dict[str, type[RMSNorm] | type[LayerNorm]] = {"rms": RMSNorm, "layer": LayerNorm}

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "silu": jax.nn.silu,
    "gelu": lambda x: jax.nn.gelu(x, approximate=False),
    "gelu_tanh": lambda x: jax.nn.gelu(x, approximate=True),
    "quick_gelu": lambda x: x * jax.nn.sigmoid(1.702 * x),
}


class Mlp(nnx.Module):
    """down(activation(up(x))), or gated: down(activation(gate(x)) * up(x))."""

    def __init__(
        self,
        width: int,
        mlp_width: int,
        *,
        activation: str,
        gated: bool,
        bias: bool,
        param_dtype: str,
        rngs: nnx.Rngs,
        linear: type[Linear] = Linear,
    ):
        options: dict[str, Any] = dict(bias=bias, param_dtype=param_dtype, rngs=rngs)
        self.gate = linear(width, mlp_width, **options) if gated else None
        self.up = linear(width, mlp_width, **options)
        self.down = linear(mlp_width, width, **options)
        self.activation = activation

    def __call__(self, x: Array) -> Array:
        activate = ACTIVATIONS[self.activation]
        if self.gate is None:
            return self.down(activate(checkpoint_name(self.up(x), "mlp")))
        gate = checkpoint_name(self.gate(x), "mlp")
        up = checkpoint_name(self.up(x), "mlp")
        return self.down(activate(gate) * up)


class Rotary(NamedTuple):
    """Cosine and sine of the rotary angles, float32[B, L, 1, K/2], shared by all layers."""

    cos: Array
    sin: Array

    @classmethod
    def of(cls, angles: Array, scale: float = 1.0) -> "Rotary":
        """angles: float32[B, L, K/2]. scale: factor on what is turned."""
        return cls(*(scale * turn(angles)[:, :, None] for turn in (jnp.cos, jnp.sin)))

    def __call__(self, x: Array) -> Array:
        """Turns dimension i together with i + K/2, in float32. x: [B, L, H, K or more], of which
        what is more stays as it is -> as x."""
        width = 2 * self.cos.shape[-1]
        if x.shape[-1] > width:
            return jnp.concatenate([self(x[..., :width]), x[..., width:]], axis=-1)
        if platform() == "tpu":
            return self._by_product(x)
        first, second = jnp.split(x.astype(jnp.float32), 2, axis=-1)
        turned = [first * self.cos - second * self.sin, second * self.cos + first * self.sin]
        return jnp.concatenate(turned, axis=-1).astype(x.dtype)

    def _by_product(self, x: Array) -> Array:
        """The same, each dimension's partner fetched by a product with a matrix of -1, 0 and 1.

        Halves of a head would lie padded to the 128 lanes of a TPU, each of them, in memory.
        """
        half = x.shape[-1] // 2
        partner = jnp.asarray(np.eye(2 * half, k=half) - np.eye(2 * half, k=-half), x.dtype)
        exact = jax.lax.Precision.HIGHEST if x.dtype == jnp.float32 else None
        other = jnp.matmul(x, partner, precision=exact, preferred_element_type=jnp.float32)
        cos, sin = (jnp.concatenate([each, each], axis=-1) for each in self)
        return (x.astype(jnp.float32) * cos + other * sin).astype(x.dtype)


def rotary_frequencies(width: int, theta: float) -> np.ndarray:
    """float32[width / 2]: theta^(-2i / width)."""
    return (1.0 / theta ** (np.arange(0, width, 2, dtype=np.float32) / width)).astype(np.float32)


def yarn_frequencies(
    width: int,
    theta: float,
    *,
    factor: float,
    positions: int,
    fast: float,
    slow: float,
    truncate: bool,
) -> np.ndarray:
    """float32[width / 2]: rotary frequencies stretched by parts (YaRN, arXiv 2309.00071, 3.2).

    Over `positions` positions a frequency makes some number of turns. With more than `fast` it
    stays, with fewer than `slow` it is divided by `factor`, and between the two it is mixed by its
    place. truncate: the two places are rounded outwards. As transformers' `modeling_rope_utils`.
    """

    def place(turns: float) -> float:
        return width * math.log(positions / (turns * 2 * math.pi)) / (2 * math.log(theta))

    first, last = place(fast), place(slow)
    if truncate:
        first, last = math.floor(first), math.ceil(last)
    first, last = max(first, 0), min(last, width - 1)
    span = last - first or 0.001
    stretched = np.clip((np.arange(width // 2, dtype=np.float32) - first) / span, 0, 1)
    frequencies = rotary_frequencies(width, theta)
    return (frequencies * (1 - stretched) + frequencies / factor * stretched).astype(np.float32)
