"""Token-weighted cross-entropy that never holds all logits at once."""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.sharding import PartitionSpec

from vsft_jax.sharding import position_axis, row_axes


class LossSums(NamedTuple):
    """Sums over tokens, float32[] each. Divide after summing over rows, steps and hosts.

    loss: weighted cross-entropy (nats). weight: of the weights. correct: weights of the tokens
    whose target has the highest logit (a tie counts as correct).
    """

    loss: Array
    weight: Array
    correct: Array


def token_loss(
    kernel: Array, hidden: Array, targets: Array, weights: Array, chunk: int
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
            backward pass. With chunk >= L they are computed once and kept.

    Raises:
        ValueError: chunk is not positive.
    """
    if chunk <= 0:
        raise ValueError(f"the loss chunk must be a positive number of positions, not {chunk}")
    local = functools.partial(_local_loss, chunk=chunk)
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
    kernel: Array, hidden: Array, targets: Array, weights: Array, *, chunk: int
) -> LossSums:
    # Gradients of the chunks add up in the wide type, products are in the narrow one.
    wide = kernel.astype(jnp.float32)

    def sums(hidden: Array, targets: Array, weights: Array) -> LossSums:
        logits = jnp.dot(hidden, wide.astype(hidden.dtype), preferred_element_type=jnp.float32)
        highest = jax.lax.stop_gradient(logits.max(axis=-1))
        log_total = highest + jnp.log(jnp.exp(logits - highest[..., None]).sum(axis=-1))
        target = jnp.take_along_axis(logits, targets[..., None], axis=-1, mode="clip")[..., 0]
        weights = weights.astype(jnp.float32)
        correct = weights * (target >= highest)
        return LossSums((weights * (log_total - target)).sum(), weights.sum(), correct.sum())

    length = hidden.shape[1]
    if chunk >= length:
        return sums(hidden, targets, weights)

    chunks = -(-length // chunk)

    def cut(x: Array) -> Array:
        """[B, L, ...] -> [chunks, B, chunk, ...], zeros (so weight 0) at the end."""
        x = jnp.pad(x, [(0, 0), (0, chunks * chunk - length)] + [(0, 0)] * (x.ndim - 2))
        return jnp.moveaxis(x.reshape(x.shape[0], chunks, chunk, *x.shape[2:]), 1, 0)

    @jax.checkpoint
    def add(total: LossSums, piece: tuple[Array, Array, Array]) -> tuple[LossSums, None]:
        return jax.tree.map(jnp.add, total, sums(*piece)), None

    zero = jnp.zeros((), jnp.float32)
    pieces = (cut(hidden), cut(targets), cut(weights))
    total, _ = jax.lax.scan(add, LossSums(zero, zero, zero), pieces)
    return total
