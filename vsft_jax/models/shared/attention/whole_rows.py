"""Attention through XLA alone: every pair of positions, or of neighbouring blocks."""

import jax
import jax.numpy as jnp
from jax import Array

# Large enough to vanish under exp, small enough that a row with nothing to attend to stays finite.
_MASKED = -1e30

# Queries in a tile; smaller ones compile longer and gain nothing.
_SMALLEST_TILE = 256
# Beyond this many queries the backward pass computes scores again, tile by tile: O(L · tile)
# memory instead of O(L²).
_LONG = 2048


def dense(
    q: Array,
    k: Array,
    v: Array,
    q_segment_ids: Array,
    kv_segment_ids: Array,
    causal: bool,
    also_segment_ids: Array | None = None,
    first: Array | int | None = None,
    *,
    window: int | None = None,
    ahead: Array | None = None,
    positions: tuple[Array, Array] | None = None,
) -> Array:
    """All queries against all keys, in tiles of queries; arguments as in `attention`.

    Tiles keep the working set small, and under `causal` a tile leaves out the keys after it, and
    those before its window, where `first` is known: the keys before the first query, by default all
    that are more than queries.
    """
    batch, length, heads, width = q.shape
    kv_heads = k.shape[2]
    first = k.shape[1] - length if first is None else first
    q = (q * width**-0.5).reshape(batch, length, kv_heads, heads // kv_heads, width)
    q, k, v = jnp.moveaxis(q, 1, 3), jnp.moveaxis(k, 1, 2), jnp.moveaxis(v, 1, 2)

    # At most 16 tiles, since they are unrolled.
    size = max(_SMALLEST_TILE, -(-length // 16))
    tile = jax.checkpoint(_tile) if length > _LONG else _tile
    outs = []
    for start in range(0, length, size):
        queries = slice(start, min(start + size, length))
        keys = slice(0, k.shape[2])
        if causal and isinstance(first, int):
            begin = 0
            if window is not None and positions is None:
                begin = max(0, first + queries.start - window + 1)
            keys = slice(begin, k.shape[2] if ahead is not None else first + queries.stop)
        q_index = first + jnp.arange(queries.start, queries.stop)
        k_index = jnp.arange(keys.start, keys.stop)
        places = (q_index[None], k_index[None])
        if positions is not None:
            places = (positions[0][:, queries], positions[1][:, keys])
        outs.append(
            tile(
                q[..., queries, :],
                k[:, :, keys],
                v[:, :, keys],
                q_segment_ids[:, queries],
                kv_segment_ids[:, keys],
                _cut(also_segment_ids, queries),
                _ends(q_index, _cut(ahead, queries)) if causal else None,
                k_index,
                None if window is None else (*places, window),
            )
        )
    out = jnp.moveaxis(jnp.concatenate(outs, axis=3), 3, 1)
    return out.reshape(batch, length, heads, width)


def _tile(
    q: Array,
    k: Array,
    v: Array,
    q_segment_ids: Array,
    kv_segment_ids: Array,
    also_segment_ids: Array | None,
    ends: Array | None,
    k_index: Array,
    window: tuple[Array, Array, int] | None,
) -> Array:
    """q: [B, G, H/G, Q, K], k and v: [B, G, S, K] -> as q.

    ends: int[1 or B, Q], the last key of each query; k_index: int[S], which keys these are. window:
    places of queries, int[1 or B, Q], and of keys, int[1 or B, S], and how near they must be.
    """
    allowed = q_segment_ids[:, :, None] == kv_segment_ids[:, None, :]
    if also_segment_ids is not None:
        allowed |= also_segment_ids[:, :, None] == kv_segment_ids[:, None, :]
    if ends is not None:
        allowed &= ends[:, :, None] >= k_index
    if window is not None:
        q_place, k_place, size = window
        allowed &= q_place[:, :, None] - k_place[:, None, :] < size
    # Adding (instead of selecting) keeps the mask out of what the backward pass has to store.
    bias = jnp.where(allowed, 0.0, _MASKED)[:, None, None]
    scores = jnp.einsum("bghqk,bgsk->bghqs", q, k, preferred_element_type=jnp.float32) + bias
    highest = jax.lax.stop_gradient(scores.max(axis=-1, keepdims=True))
    weights = jnp.exp(scores - highest)
    total = weights.sum(axis=-1, keepdims=True)
    out = jnp.einsum(
        "bghqs,bgsk->bghqk", weights.astype(v.dtype), v, preferred_element_type=jnp.float32
    )
    # Dividing after the product saves a pass over [Q, S].
    return (out / total).astype(v.dtype)


def _cut(x: Array | None, queries: slice) -> Array | None:
    return None if x is None else x[:, queries]


def _ends(q_index: Array, ahead: Array | None) -> Array:
    return q_index[None] if ahead is None else q_index + ahead


def block_local(
    q: Array, k: Array, v: Array, q_segment_ids: Array, kv_segment_ids: Array, block: int
) -> Array:
    """Queries of a block against its own and the two neighbouring blocks of keys.

    A contiguous run of at most `block` positions touches at most two neighbouring blocks.
    """
    batch, length = q.shape[:2]
    blocks = -(-length // block)
    end = blocks * block - length

    def cut(x: Array, fill: int) -> Array:
        widths = [(0, 0), (0, end)] + [(0, 0)] * (x.ndim - 2)
        x = jnp.pad(x, widths, constant_values=fill)
        return x.reshape(batch, blocks, block, *x.shape[2:])

    def with_neighbours(x: Array, fill: int) -> Array:
        x = cut(x, fill)
        x = jnp.pad(x, [(0, 0), (1, 1)] + [(0, 0)] * (x.ndim - 2), constant_values=fill)
        x = jnp.concatenate([x[:, :-2], x[:, 1:-1], x[:, 2:]], axis=2)
        return x.reshape(batch * blocks, 3 * block, *x.shape[3:])

    def rows(x: Array) -> Array:
        return x.reshape(batch * blocks, *x.shape[2:])

    out = dense(
        rows(cut(q, 0)),
        with_neighbours(k, 0),
        with_neighbours(v, 0),
        rows(cut(q_segment_ids, 0)),
        with_neighbours(kv_segment_ids, -1),
        causal=False,
    )
    return out.reshape(batch, blocks * block, *out.shape[2:])[:, :length]
