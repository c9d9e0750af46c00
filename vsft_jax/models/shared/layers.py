"""Layers that the models share; for stacks of them see `stacks`.

Parameters keep their own dtype; every layer computes in the dtype of its input.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array
from jax.ad_checkpoint import checkpoint_name

from vsft_jax.sharding import platform, position_axis

# What a block does with its queries, keys and values: [B, L, H, K], [B, L, G, K] x 2 ->
# (float[B, L, H, K], anything the caller wants back from each layer).
Attend = Callable[[Array, Array, Array], tuple[Array, Any]]


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


class RMSNorm(nnx.Module):
    """Root-mean-square normalisation over the last axis, in float32."""

    def __init__(self, width: int, *, eps: float, param_dtype: str):
        self.scale = nnx.Param(jnp.ones((width,), param_dtype))
        self.eps = eps

    def __call__(self, x: Array) -> Array:
        wide = x.astype(jnp.float32)
        wide = wide * jax.lax.rsqrt(jnp.mean(wide * wide, axis=-1, keepdims=True) + self.eps)
        return wide.astype(x.dtype) * self.scale[...].astype(x.dtype)


class LayerNorm(nnx.Module):
    """Mean and variance normalisation over the last axis, in float32, with scale and bias."""

    def __init__(self, width: int, *, eps: float, param_dtype: str):
        self.scale = nnx.Param(jnp.ones((width,), param_dtype))
        self.bias = nnx.Param(jnp.zeros((width,), param_dtype))
        self.eps = eps

    def __call__(self, x: Array) -> Array:
        wide = x.astype(jnp.float32)
        wide = wide - wide.mean(axis=-1, keepdims=True)
        wide = wide * jax.lax.rsqrt(jnp.mean(wide * wide, axis=-1, keepdims=True) + self.eps)
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
    ):
        options: dict[str, Any] = dict(bias=bias, param_dtype=param_dtype, rngs=rngs)
        self.gate = Linear(width, mlp_width, **options) if gated else None
        self.up = Linear(width, mlp_width, **options)
        self.down = Linear(mlp_width, width, **options)
        self.activation = activation

    def __call__(self, x: Array) -> Array:
        activate = ACTIVATIONS[self.activation]
        if self.gate is None:
            return self.down(activate(checkpoint_name(self.up(x), "mlp")))
        gate = checkpoint_name(self.gate(x), "mlp")
        up = checkpoint_name(self.up(x), "mlp")
        return self.down(activate(gate) * up)


class TowerNumbers(Protocol):
    """The fields of a tower's config that make its layers."""

    @property
    def width(self) -> int: ...

    @property
    def mlp_width(self) -> int: ...

    @property
    def heads(self) -> int: ...

    @property
    def norm_eps(self) -> float: ...


@dataclasses.dataclass(frozen=True)
class BlockSpec:
    """The numbers and kinds of one transformer layer.

    mlp: "swiglu", or an activation of `ACTIVATIONS` for a plain two-matrix MLP.
    qkv_bias: of queries, keys and values; bias: of the output projection and the MLP.
    qk_norm: RMS normalisation of each head's queries and keys, before they are turned.
    layer_scale: learned factors, one a channel, on what attention and MLP add to the stream.
    """

    width: int
    mlp_width: int
    heads: int
    kv_heads: int
    head_dim: int
    norm: Literal["rms", "layer"]
    norm_eps: float
    mlp: str
    qkv_bias: bool
    bias: bool
    qk_norm: bool = False
    layer_scale: bool = False

    @classmethod
    def of_tower(
        cls, tower: TowerNumbers, *, norm: Literal["rms", "layer"], mlp: str, **more: Any
    ) -> "BlockSpec":
        """A layer of a vision tower: a key for every query, biases everywhere."""
        return cls(
            width=tower.width,
            mlp_width=tower.mlp_width,
            heads=tower.heads,
            kv_heads=tower.heads,
            head_dim=tower.width // tower.heads,
            norm=norm,
            norm_eps=tower.norm_eps,
            mlp=mlp,
            qkv_bias=True,
            bias=True,
            **more,
        )


class Block(nnx.Module):
    """Pre-norm transformer layer: self-attention, rotary or not, then an MLP."""

    def __init__(self, spec: BlockSpec, *, param_dtype: str, rngs: nnx.Rngs):
        self.head_dim = spec.head_dim
        options: dict[str, Any] = dict(param_dtype=param_dtype, rngs=rngs)
        width, inner, kv_inner = (
            spec.width,
            spec.heads * spec.head_dim,
            spec.kv_heads * spec.head_dim,
        )

        def norm() -> RMSNorm | LayerNorm:
            return NORMS[spec.norm](width, eps=spec.norm_eps, param_dtype=param_dtype)

        def head_norm() -> RMSNorm | None:
            if not spec.qk_norm:
                return None
            return RMSNorm(spec.head_dim, eps=spec.norm_eps, param_dtype=param_dtype)

        self.norm1 = norm()
        self.q = Linear(width, inner, bias=spec.qkv_bias, **options)
        self.k = Linear(width, kv_inner, bias=spec.qkv_bias, **options)
        self.v = Linear(width, kv_inner, bias=spec.qkv_bias, **options)
        self.q_norm, self.k_norm = head_norm(), head_norm()
        self.o = Linear(inner, width, bias=spec.bias, **options)
        self.norm2 = norm()
        gated = spec.mlp == "swiglu"
        self.mlp = Mlp(
            width,
            spec.mlp_width,
            activation="silu" if gated else spec.mlp,
            gated=gated,
            bias=spec.bias,
            **options,
        )

        def scale() -> nnx.Param | None:
            return nnx.Param(jnp.ones((width,), param_dtype)) if spec.layer_scale else None

        self.scale1, self.scale2 = scale(), scale()

    def __call__(self, x: Array, rotary: "Rotary | None", attend: Attend) -> tuple[Array, Any]:
        """x: float[B, L, D] -> float[B, L, D], attend's extra. rotary: None where positions are
        learned and already in x."""

        def heads(linear: Linear, norm: RMSNorm | None = None) -> Array:
            each = linear(y).reshape(*y.shape[:-1], -1, self.head_dim)
            return each if norm is None else norm(each)

        def scaled(update: Array, scale: nnx.Param | None) -> Array:
            return update if scale is None else update * scale[...].astype(update.dtype)

        y = self.norm1(x)
        q, k, v = heads(self.q, self.q_norm), heads(self.k, self.k_norm), heads(self.v)
        if rotary is not None:
            q, k = rotary(q), rotary(k)
        q, k, v = (checkpoint_name(each, "qkv") for each in (q, k, v))
        out, extra = attend(q, k, v)
        x = x + scaled(self.o(out.reshape(*out.shape[:-2], -1)), self.scale1)
        return x + scaled(self.mlp(self.norm2(x)), self.scale2), extra


class Rotary(NamedTuple):
    """Cosine and sine of the rotary angles, float32[B, L, 1, K/2], shared by all layers."""

    cos: Array
    sin: Array

    @classmethod
    def of(cls, angles: Array, scale: float = 1.0) -> "Rotary":
        """angles: float32[B, L, K/2]. scale: factor on what is turned."""
        return cls(*(scale * turn(angles)[:, :, None] for turn in (jnp.cos, jnp.sin)))

    def __call__(self, x: Array) -> Array:
        """Turns dimension i together with i + K/2, in float32. x: [B, L, H, K] -> as x."""
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
