"""Token-weighted cross-entropy that never holds all logits at once."""

import functools
import math
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jax import Array
from jax.sharding import PartitionSpec

from vsft_jax.models.shared.experts import Load, balance
from vsft_jax.sharding import position_axis, row_axes

Tree = TypeVar("Tree")


class LossSums(NamedTuple):
    """Sums over tokens, float32[] each. Divide after summing over rows, steps and hosts.

    loss: weighted cross-entropy (nats). weight: of the weights. correct: weights of the tokens
    whose target has the highest logit (a tie counts as correct).
    """

    loss: Array
    weight: Array
    correct: Array

    def mean_of(self, total: Tree) -> Tree:
        """What was summed with them, arrays of any kind, as a mean over the weights; all answer
        tokens then count the same, in whichever row or microbatch they lie."""
        return jax.tree.map(lambda x: x / jnp.maximum(self.weight, 1.0), total)


class RouterSums(NamedTuple):
    """Sums over microbatches, float32[] each; zeros of a model without experts.

    loss, busiest: see `Balance`. batches: microbatches that had a real token.
    """

    loss: Array
    busiest: Array
    batches: Array

    @classmethod
    def of(cls, load: Load | None, chosen: int) -> "RouterSums":
        """Of one microbatch. load, chosen: see `balance`."""
        zero = jnp.zeros((), jnp.float32)
        if load is None:
            return cls(zero, zero, zero)
        return cls(*balance(load, chosen), (load.counts.sum() > 0).astype(jnp.float32))


def token_loss(
    kernel: Array,
    hidden: Array,
    targets: Array,
    weights: Array,
    chunk: int,
    logit_cap: float = 0.0,
) -> LossSums:
    """Cross-entropy of the next token, computed `chunk` positions of every row at a time.

    Under a mesh (`jax.set_mesh`) each device gathers the output matrix once and adds up its
    gradient over all its positions before it is reduced, instead of once for each chunk.

    Args:
        kernel: float[D, V], the output matrix, in any dtype; products take hidden's.
        hidden: float[B, L, D].
        targets: int[B, L], the token to predict at each position.
        weights: float32[B, L], 0 where there is nothing to predict.
        chunk: positions at a time; logits are float32[B, chunk, V] and are computed again in the
            backward pass. Positions of weight 0 come last, and chunks of nothing else are left out.
            With chunk >= L all are computed, once, and kept.
        logit_cap: see `VisionLanguageModel.logit_cap`.

    Raises:
        ValueError: chunk is not positive.
    """
    if chunk <= 0:
        raise ValueError(f"the loss chunk must be a positive number of positions, not {chunk}")
    local = functools.partial(_local_loss, chunk=chunk, cap=logit_cap)
    kernel = kernel.astype(hidden.dtype)
    mesh = jax.sharding.get_abstract_mesh()
    rows = row_axes(mesh, hidden.shape[0])
    positions = position_axis(mesh, hidden.shape[1]) if rows else None
    axes = (*rows, positions) if positions else rows
    if math.prod(mesh.shape[axis] for axis in axes) == 1:
        return local(kernel, hidden, targets, weights)
    split = "fsdp" if kernel.shape[0] % mesh.shape["fsdp"] == 0 else None

    def on_device(kernel: Array, hidden: Array, targets: Array, weights: Array) -> LossSums:
        if split:
            kernel = jax.lax.all_gather(kernel, split, axis=0, tiled=True)
        return jax.lax.psum(local(kernel, hidden, targets, weights), axes)

    share = PartitionSpec(rows, positions)
    return jax.shard_map(
        on_device,
        in_specs=(PartitionSpec(split), share, share, share),
        out_specs=PartitionSpec(),
        axis_names=set(axes),
        check_vma=False,
    )(kernel, hidden, targets, weights)


def _local_loss(
    kernel: Array, hidden: Array, targets: Array, weights: Array, *, chunk: int, cap: float
) -> LossSums:
    length = hidden.shape[1]
    if chunk >= length:
        return _sums(cap, kernel.astype(jnp.float32), hidden, targets, weights)

    # Few positions are answers. With those first in every row, most chunks have nothing to predict.
    idle = weights == 0
    order = jnp.argsort(idle, axis=1, stable=True)
    turns = -(-(length - idle.sum(axis=1).min()) // chunk)
    pieces = [chunks(jnp.take_along_axis(x, order, axis=1), chunk) for x in (targets, weights)]
    return _first_chunks(cap, kernel, chunks(_ordered(hidden, order), chunk), *pieces, turns)


def chunks(x: Array, size: int) -> Array:
    """[B, L, ...] -> [chunks, B, size, ...], zeros (so weight 0) at the end."""
    x = jnp.pad(x, [(0, 0), (0, -x.shape[1] % size)] + [(0, 0)] * (x.ndim - 2))
    return jnp.moveaxis(x.reshape(x.shape[0], -1, size, *x.shape[2:]), 1, 0)


def capped(logits: Array, cap: float) -> Array:
    """See `VisionLanguageModel.logit_cap`."""
    return cap * jnp.tanh(logits / cap) if cap else logits


def _sums(cap: float, wide: Array, hidden: Array, targets: Array, weights: Array) -> LossSums:
    """Of all positions at once. wide: float32[D, V]; products are in hidden's type."""
    logits = jnp.dot(hidden, wide.astype(hidden.dtype), preferred_element_type=jnp.float32)
    logits = capped(logits, cap)
    highest = jax.lax.stop_gradient(logits.max(axis=-1))
    log_total = highest + jnp.log(jnp.exp(logits - highest[..., None]).sum(axis=-1))
    # Selected and not looked up: the gradient is then one more term beside the softmax, where that
    # of a look-up is a scatter into zeros of the logits' size.
    hit = targets[..., None] == jnp.arange(logits.shape[-1], dtype=targets.dtype)
    target = jnp.where(hit, logits, 0).sum(axis=-1)
    weights = weights.astype(jnp.float32)
    correct = weights * (target >= highest)
    return LossSums((weights * (log_total - target)).sum(), weights.sum(), correct.sum())


@jax.custom_vjp
def _ordered(hidden: Array, order: Array) -> Array:
    """hidden: float[B, L, D] -> as hidden, position order[b, i] at place i of row b. Each occurs
    once, so the gradient is put back by a look-up too, not added up."""
    return jnp.take_along_axis(hidden, order[..., None], axis=1)


def _ordered_forward(hidden: Array, order: Array) -> tuple[Array, Array]:
    return _ordered(hidden, order), order


def _ordered_backward(order: Array, g: Array) -> tuple[Array, None]:
    return jnp.take_along_axis(g, jnp.argsort(order, axis=1)[..., None], axis=1), None


_ordered.defvjp(_ordered_forward, _ordered_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _first_chunks(
    cap: float, kernel: Array, hidden: Array, targets: Array, weights: Array, turns: Array
) -> LossSums:
    """Sums over the first `turns` chunks; what the others hold counts as nothing. hidden: float[N,
    B, chunk, D], targets and weights: [N, B, chunk]. Reverse-mode gradients only, once."""
    wide = kernel.astype(jnp.float32)

    def add(i: Array, total: LossSums) -> LossSums:
        return jax.tree.map(jnp.add, total, _sums(cap, wide, hidden[i], targets[i], weights[i]))

    zero = jnp.zeros((), jnp.float32)
    return jax.lax.fori_loop(0, turns, add, LossSums(zero, zero, zero))


def _first_chunks_forward(cap: float, *arguments: Array) -> tuple[LossSums, tuple[Array, ...]]:
    return _first_chunks(cap, *arguments), arguments


def _first_chunks_backward(
    cap: float, arguments: tuple[Array, ...], g: LossSums
) -> tuple[Array, Array, None, Array, None]:
    kernel, hidden, targets, weights, turns = arguments
    # Gradients of the chunks add up in the wide type.
    wide = kernel.astype(jnp.float32)

    def add(i: Array, so_far: tuple[Array, Array]) -> tuple[Array, Array]:
        total, each = so_far

        def loss(wide: Array, hidden: Array) -> Array:
            return _sums(cap, wide, hidden, targets[i], weights[i]).loss

        to_kernel, to_hidden = jax.vjp(loss, wide, hidden[i])[1](g.loss)
        return total + to_kernel, jax.lax.dynamic_update_index_in_dim(each, to_hidden, i, 0)

    nothing = (jnp.zeros_like(wide), jnp.zeros_like(hidden))
    to_kernel, to_hidden = jax.lax.fori_loop(0, turns, add, nothing)
    return to_kernel.astype(kernel.dtype), to_hidden, None, jnp.zeros_like(weights), None


_first_chunks.defvjp(_first_chunks_forward, _first_chunks_backward)
