"""The layer: a router, the experts that it chooses among, and the way of the tokens to them.

Follows transformers `models/qwen3_vl_moe/modeling_qwen3_vl_moe.py`.
"""

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.ad_checkpoint import checkpoint_name
from jax.sharding import AbstractMesh, PartitionSpec

from vsft_jax.models.shared.experts.grouped import grouped_product
from vsft_jax.models.shared.layers import ACTIVATIONS, Linear
from vsft_jax.sharding import position_axis, row_axes


class Load(NamedTuple):
    """How a router spread the real tokens of rows, float32[B, E] each.

    counts: tokens that each expert got. chances: sums of the probabilities that the router gave it,
    chosen or not.
    """

    counts: Array
    chances: Array


class ExpertLinear(Linear):
    """x @ kernel of the row's group; kernel: [E, inputs, outputs], adapters alike."""

    def __init__(
        self, experts: int, inputs: int, outputs: int, *, param_dtype: str, rngs: nnx.Rngs
    ):
        init = nnx.initializers.lecun_normal(batch_axis=0)
        self.kernel = nnx.Param(init(rngs.params(), (experts, inputs, outputs), param_dtype))
        self.bias = None

    def of_groups(self, x: Array, sizes: Array) -> Array:
        """x: float[m, inputs], the rows of one expert after those of another; sizes: int32[E]."""
        y = grouped_product(x, self.kernel[...].astype(x.dtype), sizes)
        if self.lora_a is not None and self.lora_b is not None:
            low = grouped_product(x, self.lora_a[...].astype(x.dtype), sizes)
            y = y + grouped_product(self.lora_scale * low, self.lora_b[...].astype(x.dtype), sizes)
        return y


class ExpertMlps(nnx.Module):
    """Gated MLPs side by side: down(act(gate(x)) * up(x)), each for rows of its own.

    activation: a key of `ACTIVATIONS`.
    """

    def __init__(
        self,
        experts: int,
        width: int,
        mlp_width: int,
        *,
        activation: str,
        param_dtype: str,
        rngs: nnx.Rngs,
    ):
        make = functools.partial(ExpertLinear, experts, param_dtype=param_dtype, rngs=rngs)
        self.gate, self.up = make(width, mlp_width), make(width, mlp_width)
        self.down = make(mlp_width, width)
        self.activation = activation

    def __call__(self, x: Array, sizes: Array) -> Array:
        """x: float[m, D], sizes: int32[E], see `grouped_product` -> float[m, D]."""
        gate = checkpoint_name(self.gate.of_groups(x, sizes), "mlp")
        up = checkpoint_name(self.up.of_groups(x, sizes), "mlp")
        return self.down.of_groups(ACTIVATIONS[self.activation](gate) * up, sizes)


class Experts(nnx.Module):
    """A router, and the MLPs of which it takes `chosen` for each token."""

    def __init__(
        self,
        width: int,
        mlp_width: int,
        experts: int,
        chosen: int,
        *,
        activation: str = "silu",
        param_dtype: str,
        rngs: nnx.Rngs,
    ):
        options: dict[str, Any] = dict(param_dtype=param_dtype, rngs=rngs)
        self.router = Linear(width, experts, bias=False, **options)
        self.experts = ExpertMlps(experts, width, mlp_width, activation=activation, **options)
        self.count, self.chosen = experts, chosen

    def chances(self, seen: Array) -> Array:
        """float[B, L, D] -> float32[B, L, E], what the router gives each expert; their sum is 1."""
        return jax.nn.softmax(self.router(seen).astype(jnp.float32))

    def weighed(self, weights: Array, chosen: Array) -> Array:
        """float32[B, L, k], what the outputs of the chosen experts are multiplied by.

        weights: the router's probabilities, float32[B, L, k]; chosen: int32[B, L, k].
        """
        return weights / weights.sum(-1, keepdims=True)

    def __call__(
        self, x: Array, real: Array | None = None, seen: Array | None = None
    ) -> tuple[Array, Load]:
        """Every real token goes to all experts that its router chooses, however many do.

        Args:
            x: float[B, L, D].
            real: bool[B, L]; None: all. Other tokens go nowhere: 0 comes out for them.
            seen: float[B, L, D], what the router chooses by; None: x.

        Returns:
            float[B, L, D], the experts' outputs weighted by the router's probabilities, which are
            made to sum to 1 over the chosen; and the load.
        """
        chances = self.chances(x if seen is None else seen)
        weights, chosen = jax.lax.top_k(chances, self.chosen)
        weights = self.weighed(weights, chosen).astype(x.dtype)
        real = jnp.ones(x.shape[:2], bool) if real is None else real
        chosen = jnp.where(real[..., None], chosen, self.count)
        hits = chosen[..., None] == jnp.arange(self.count)
        load = Load(
            hits.sum((1, 2), dtype=jnp.float32), jnp.where(real[..., None], chances, 0).sum(1)
        )
        return self._mixed(x, weights, chosen), load

    def _mixed(self, x: Array, weights: Array, chosen: Array) -> Array:
        """What the chosen experts make of the tokens. Under a mesh each device takes its tokens to
        the experts of its share of the 'tensor' axis, whose matrices it gathers over 'fsdp'."""
        mesh = jax.sharding.get_abstract_mesh()
        if mesh.empty or mesh.are_all_axes_manual:
            return _mix(self.experts, x, weights, chosen, 0)
        rows = row_axes(mesh, x.shape[0])
        tokens = PartitionSpec(rows or None, position_axis(mesh, x.shape[1]))
        graphdef, params = nnx.split(self.experts)
        # Before they are gathered and not after, which would move twice as much.
        params = jax.tree.map(lambda p: p.astype(x.dtype), params)
        specs = jax.tree.map(lambda p: _split(p.shape, mesh), params)
        shared = self.count % mesh.shape["tensor"] == 0

        def on_device(params: nnx.State, x: Array, weights: Array, chosen: Array) -> Array:
            experts = nnx.merge(graphdef, jax.tree.map(_gathered, params, specs))
            first = jax.lax.axis_index("tensor") * experts.gate.kernel.shape[0] if shared else 0
            y = _mix(experts, x, weights, chosen, first)
            return jax.lax.psum(y, "tensor") if shared else y

        sharded = jax.shard_map(
            on_device,
            in_specs=(specs, tokens, tokens, tokens),
            out_specs=tokens,
            check_vma=False,
        )
        return sharded(params, x, weights, chosen)


def _split(shape: tuple[int, ...], mesh: AbstractMesh) -> PartitionSpec:
    """How an array [E, …] of experts is split, as by its partition rule (shared/partition.py):
    experts over 'tensor' and 'fsdp'; where 'fsdp' does not divide them, the first axis that it does
    divide."""
    tensor, fsdp = mesh.shape["tensor"], mesh.shape["fsdp"]
    axes: list[list[str]] = [[] for _ in shape]
    if shape[0] % tensor == 0:
        axes[0].append("tensor")
    left = (shape[0] // math.prod(mesh.shape[a] for a in axes[0]), *shape[1:])
    for dimension, size in enumerate(left):
        if size % fsdp == 0:
            axes[dimension].append("fsdp")
            break
    return PartitionSpec(*(tuple(names) or None for names in axes))


def _gathered(share: Array, spec: PartitionSpec) -> Array:
    for dimension, names in enumerate(spec):
        if names and "fsdp" in names:
            return jax.lax.all_gather(share, "fsdp", axis=dimension, tiled=True)
    return share


def _mix(experts: ExpertMlps, x: Array, weights: Array, chosen: Array, first: Array | int) -> Array:
    """The weighted outputs of those experts that are here, numbered from `first`; 0 of others.

    x: float[B, L, D]; weights: float[B, L, k]; chosen: int32[B, L, k].
    """
    here, k = experts.gate.kernel.shape[0], chosen.shape[-1]
    expert = chosen.reshape(-1) - first
    expert = jnp.where((expert >= 0) & (expert < here), expert, here)
    sizes = (expert[:, None] == jnp.arange(here)).sum(0, dtype=jnp.int32)
    order = jnp.argsort(expert, stable=True)
    places = jnp.argsort(order)
    rows = _spread(x.reshape(-1, x.shape[-1]), order, places, k)
    y = _put_back(experts(rows, sizes), order, places).reshape(*chosen.shape, -1)
    return jnp.einsum("blkd,blk->bld", y, weights)


# Each row's gradient is fetched from where it went: added up by the compiler, it would be scattered
# row by row.


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def _spread(x: Array, order: Array, places: Array, k: int) -> Array:
    """x: float[T, D] -> float[T k, D], where the i-th is token order[i] // k. places: inverse of
    order."""
    return jnp.take(x, order // k, axis=0, mode="clip")


def _spread_forward(
    x: Array, order: Array, places: Array, k: int
) -> tuple[Array, tuple[Array, ...]]:
    return _spread(x, order, places, k), (places,)


def _spread_backward(k: int, kept: tuple[Array, ...], g: Array) -> tuple[Array, None, None]:
    each = jnp.take(g, kept[0], axis=0, mode="clip").reshape(-1, k, g.shape[-1])
    return each.sum(1), None, None


_spread.defvjp(_spread_forward, _spread_backward)


@jax.custom_vjp
def _put_back(y: Array, order: Array, places: Array) -> Array:
    """y: float[T k, D], row i of which goes to place order[i]. places: inverse of order."""
    return jnp.take(y, places, axis=0, mode="clip")


def _put_back_forward(y: Array, order: Array, places: Array) -> tuple[Array, Array]:
    return _put_back(y, order, places), order


def _put_back_backward(order: Array, g: Array) -> tuple[Array, None, None]:
    return jnp.take(g, order, axis=0, mode="clip"), None, None


_put_back.defvjp(_put_back_forward, _put_back_backward)
