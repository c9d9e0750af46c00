"""One transformer layer, of the kinds that the models have; for stacks of them see `stacks`."""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal, Protocol

import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.ad_checkpoint import checkpoint_name

from vsft_jax.models.shared.experts import Experts, Load
from vsft_jax.models.shared.layers import NORMS, LayerNorm, Linear, Mlp, RMSNorm, Rotary

# What a block does with its queries, keys and values: [B, L, H, K], [B, L, G, K] x 2 ->
# (float[B, L, H, K], anything the caller wants back from each layer).
Attend = Callable[[Array, Array, Array], tuple[Array, Any]]


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
    experts: gated MLPs of mlp_width of which a router takes `experts_per_token` for each token, in
        place of one MLP; 0 for that one.
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
    experts: int = 0
    experts_per_token: int = 0

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
    """Pre-norm transformer layer: self-attention, rotary or not, then an MLP or experts."""

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
        if spec.experts:
            counts = spec.experts, spec.experts_per_token
            self.mlp: Mlp | Experts = Experts(width, spec.mlp_width, *counts, **options)
        else:
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

    def __call__(
        self, x: Array, rotary: Rotary | None, attend: Attend, real: Array | None = None
    ) -> tuple[Array, Any, Load | None]:
        """x: float[B, L, D] -> float[B, L, D], attend's extra, the load of the experts if any.

        rotary: None where positions are learned and already in x. real: bool[B, L], tokens that are
        no padding; None: all are real.
        """

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
        y, load = self.norm2(x), None
        if isinstance(self.mlp, Experts):
            y, load = self.mlp(y, real)
        else:
            y = self.mlp(y)
        return x + scaled(y, self.scale2), extra, load
