"""Qwen3.5's linear layers: a short convolution and a gated delta rule along each text.

Follows transformers `models/qwen3_5/modeling_qwen3_5.py`.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.ad_checkpoint import checkpoint_name
from jax.sharding import PartitionSpec

from vsft_jax.models.qwen3_5.architecture import TextConfig
from vsft_jax.models.qwen3_5.convolution import short_convolution
from vsft_jax.models.qwen3_5.delta import Tokens, gated_delta_rule
from vsft_jax.models.shared.layers import Linear, RMSNorm
from vsft_jax.sharding import row_axes


class Memory(NamedTuple):
    """What n texts go on from, in one layer or with a leading axis of layers.

    states: float32[B, n, G, R, K, V], see `gated_delta_rule`. tails: float[B, n, G, taps - 1, X],
    see `short_convolution`.
    """

    states: Array
    tails: Array


class Convolution(nnx.Module):
    """The filters of queries, keys and values: each [channels, taps], the last for the token
    itself."""

    def __init__(self, text: TextConfig, *, param_dtype: str, rngs: nnx.Rngs):
        init = nnx.initializers.normal(text.taps**-0.5)

        def filters(heads: int, width: int) -> nnx.Param:
            return nnx.Param(init(rngs.params(), (heads * width, text.taps), param_dtype))

        self.q, self.k = (filters(text.state_key_heads, text.state_key_dim) for _ in range(2))
        self.v = filters(text.state_heads, text.state_dim)


class DeltaMixer(nnx.Module):
    """What stands in place of attention: projections, `_remember`, a gate."""

    def __init__(self, text: TextConfig, *, param_dtype: str, rngs: nnx.Rngs):
        keys, values = text.state_key_heads * text.state_key_dim, text.state_heads * text.state_dim

        def linear(inputs: int, outputs: int) -> Linear:
            return Linear(inputs, outputs, bias=False, param_dtype=param_dtype, rngs=rngs)

        self.q, self.k, self.v = (linear(text.width, n) for n in (keys, keys, values))
        self.z = linear(text.width, values)
        self.a, self.b = (linear(text.width, text.state_heads) for _ in range(2))
        self.conv = Convolution(text, param_dtype=param_dtype, rngs=rngs)
        rates = jax.random.uniform(rngs.params(), (text.state_heads,), minval=0.01, maxval=16.0)
        self.log_rate = nnx.Param(jnp.log(rates).astype(param_dtype))
        self.step_bias = nnx.Param(jnp.ones((text.state_heads,), param_dtype))
        self.head_norm = RMSNorm(text.state_dim, eps=text.norm_eps, param_dtype=param_dtype)
        self.o = linear(values, text.width)
        self.text = text

    def mix(
        self, x: Array, segment_ids: Array, memory: Memory | None
    ) -> tuple[Array, Memory | None]:
        """x: float[B, L, D], segment_ids: int[B, L] -> float[B, L, D], the memory after it.

        memory: of the texts of segments 1 … n; None: all begin here, and nothing is given on.
        """
        text = self.text
        groups, heads = text.state_key_heads, text.state_heads // text.state_key_heads

        def grouped(y: Array) -> Array:
            return y.reshape(*y.shape[:-1], groups, -1)

        inputs = [grouped(each(x)) for each in (self.q, self.k, self.v)]
        mixed = checkpoint_name(jnp.concatenate(inputs, axis=-1), "qkv")
        filters = [getattr(self.conv, part)[...] for part in "qkv"]
        weight = jnp.concatenate([f.reshape(groups, -1, text.taps) for f in filters], axis=1)
        # As of low precision where the model is: what decoding reads may be stored so.
        rate, bias = (
            each[...].astype(x.dtype).astype(jnp.float32).reshape(groups, heads)
            for each in (self.log_rate, self.step_bias)
        )
        decay = -jnp.exp(rate) * jax.nn.softplus(grouped(self.a(x)).astype(jnp.float32) + bias)
        beta = jax.nn.sigmoid(grouped(self.b(x))).astype(jnp.float32)
        remember = _per_device(_remember(text), groups)
        out, memory = remember(mixed, weight.astype(x.dtype), decay, beta, segment_ids, memory)
        gate = jax.nn.silu(self.z(x).astype(jnp.float32)).reshape(out.shape)
        out = (self.head_norm(out).astype(jnp.float32) * gate).astype(x.dtype)
        return self.o(out.reshape(*x.shape[:-1], -1)), memory


# (convolution's inputs, filters, decay, beta, segment ids, memory) -> (what is read, memory).
_Remember = Callable[
    [Array, Array, Array, Array, Array, Memory | None], tuple[Array, Memory | None]
]


def _remember(text: TextConfig) -> _Remember:
    """The convolution and the delta rule of some of the groups, those of its arguments."""
    width = text.state_key_dim

    def remember(
        mixed: Array,
        weight: Array,
        decay: Array,
        beta: Array,
        segment_ids: Array,
        memory: Memory | None,
    ) -> tuple[Array, Memory | None]:
        tails = None if memory is None else memory.tails
        seen, tails = short_convolution(mixed, weight, segment_ids, tails)
        seen = jax.nn.silu(seen).astype(mixed.dtype)
        q, k, v = jnp.split(seen, [width, 2 * width], axis=-1)
        v = v.reshape(*v.shape[:-1], -1, text.state_dim)
        tokens = Tokens(_unit(q) * width**-0.5, _unit(k), v, decay, beta, segment_ids)
        states = None if memory is None else memory.states
        out, states = gated_delta_rule(tokens, states)
        return out, None if tails is None else Memory(states, tails)

    return remember


def _unit(x: Array) -> Array:
    """float32, of length one over the last axis."""
    wide = x.astype(jnp.float32)
    return wide * jax.lax.rsqrt(jnp.sum(wide * wide, axis=-1, keepdims=True) + 1e-6)


def _per_device(remember: _Remember, groups: int) -> _Remember:
    """`remember` on each device's rows and groups, under a mesh (`jax.set_mesh`).

    States go along whole rows, so that devices among which the 'context' axis splits a row change
    over to splitting its groups, where it divides them; else each computes all of its row.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or mesh.are_all_axes_manual:
        return remember

    def sharded(
        mixed: Array,
        weight: Array,
        decay: Array,
        beta: Array,
        segment_ids: Array,
        memory: Memory | None,
    ) -> tuple[Array, Memory | None]:
        rows = row_axes(mesh, mixed.shape[0]) or None
        axes: tuple[str, ...] = ()
        for axis in ("tensor", "context"):
            sizes = [mesh.shape.get(name, 1) for name in (*axes, axis)]
            axes = (*axes, axis) if groups % math.prod(sizes) == 0 else axes
        split = tuple(axis for axis in axes if axis in mesh.axis_names) or None
        tokens, ids = PartitionSpec(rows, None, split), PartitionSpec(rows)
        kept: Any = None if memory is None else jax.tree.map(lambda _: tokens, memory)
        specs = (tokens, PartitionSpec(split), tokens, tokens, ids, kept)
        return jax.shard_map(remember, in_specs=specs, out_specs=(tokens, kept), check_vma=False)(
            mixed, weight, decay, beta, segment_ids, memory
        )

    return sharded
