"""Attention on CPUs: a loop over those tiles of scores that lie inside segments.

Rows are packed, so most pairs of positions lie in different segments. For each tile of queries the
segment ids say, at run time, which tiles of keys can matter: the cost follows the lengths of the
segments, not that of the row. The softmax is computed along the way and the backward pass computes
scores anew from its logarithm (after arXiv 2205.14135), so memory grows with the row's length only.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.ad_checkpoint import checkpoint_name

# Positions a side of a tile. Forward and backward on two cores of an EPYC, 8 heads of width 64 and
# segments of 200 positions: 22 and 110 ms of CPU for rows of 1024 and 4096 in tiles of 64, 36 and
# 182 of 128; in windows of 64 patches, 16 and 29.
TILE = 64
_MASKED = -1e30  # as in whole_rows.py


def segment_attention(
    q: Array,
    k: Array,
    v: Array,
    segment_ids: Array,
    ahead: Array | None = None,
    *,
    causal: bool,
    window: int | None = None,
) -> Array:
    """Self-attention inside segments; arguments as in `attention.attention`.

    The output and the softmax's logarithm are named "attention" for remat: without the latter the
    backward pass would have to run the forward loop again. Reverse-mode gradients only, once.
    """
    length, heads, width = q.shape[1:]
    groups = k.shape[2]
    end = -length % TILE

    def tiled(x: Array) -> Array:
        """[B, L, G * R, K] -> [B, N, G, R * T, K]: R heads of queries share those of keys."""
        x = jnp.pad(x, [(0, 0), (0, end), (0, 0), (0, 0)])
        x = x.reshape(x.shape[0], -1, TILE, groups, x.shape[2] // groups, width)
        x = jnp.moveaxis(x, 2, 4)
        return x.reshape(*x.shape[:3], -1, width)

    ids = jnp.pad(segment_ids, [(0, 0), (0, end)]).reshape(q.shape[0], -1, TILE)
    ends = None
    if causal:
        here = jnp.arange(length + end)
        further = 0 if ahead is None else jnp.pad(ahead, [(0, 0), (0, end)])
        ends = jnp.broadcast_to(here + further, (q.shape[0], length + end)).reshape(ids.shape)
    row = functools.partial(_row, window)
    rows = (tiled(q * width**-0.5), tiled(k), tiled(v), ids, ends)
    out = jax.lax.map(lambda each: row(*each), rows)
    out = out.reshape(*out.shape[:3], heads // groups, TILE, width)
    return jnp.moveaxis(out, 4, 2).reshape(q.shape[0], -1, heads, width)[:, :length]


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _row(window: int | None, q: Array, k: Array, v: Array, ids: Array, ends: Array | None) -> Array:
    """q: [N, G, R * T, K], k and v: [N, G, T, K], ids: int[N, T] -> as q. ends: int[N, T], the last
    key that each query may look at; None: all."""
    return _forward(window, q, k, v, ids, ends)[0]


def _row_forward(
    window: int | None, q: Array, k: Array, v: Array, ids: Array, ends: Array | None
) -> tuple[Array, tuple[Array | None, ...]]:
    found = _forward(window, q, k, v, ids, ends)
    out, log_total = (checkpoint_name(x, "attention") for x in found)
    return out, (q, k, v, ids, ends, out, log_total)


class _Tile(NamedTuple):
    """A tile of queries, and the keys that it looks at: tiles first to last - 1."""

    place: Array
    first: Array
    last: Array
    q: Array
    ids: Array
    ends: Array | None


def _forward(
    window: int | None, q: Array, k: Array, v: Array, ids: Array, ends: Array | None
) -> tuple[Array, Array]:
    """(as q, log of the softmax's sums: float32[N, G, R * T, 1])."""

    def queries(tile: _Tile) -> tuple[Array, Array]:
        def keys(j: Array, so_far: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
            highest, total, out = so_far
            scores = _scores(tile, k[j], ids[j], j, window)
            higher = jnp.maximum(highest, scores.max(axis=-1, keepdims=True))
            weights = jnp.exp(scores - higher)
            kept = jnp.exp(highest - higher)
            total = total * kept + weights.sum(axis=-1, keepdims=True)
            out = out * kept + _product("gms,gsk->gmk", weights.astype(v.dtype), v[j])
            return higher, total, out

        column = jnp.zeros((*tile.q.shape[:-1], 1), jnp.float32)
        start = (column + _MASKED, column, jnp.zeros(tile.q.shape, jnp.float32))
        highest, total, out = jax.lax.fori_loop(tile.first, tile.last, keys, start)
        return (out / total).astype(v.dtype), highest + jnp.log(total)

    return jax.lax.map(queries, _tiles(q, ids, ends, window))


def _row_backward(
    window: int | None, kept: tuple[Any, ...], g: Array
) -> tuple[Array, Array, Array, None, None]:
    q, k, v, ids, ends, out, log_total = kept
    # What a score's weight changes in the output, less what all of them change it by.
    shared = (g.astype(jnp.float32) * out.astype(jnp.float32)).sum(axis=-1, keepdims=True)

    def queries(
        sums: tuple[Array, Array], given: tuple[_Tile, Array, Array, Array]
    ) -> tuple[tuple[Array, Array], Array]:
        tile, g, log_total, shared = given

        def keys(j: Array, so_far: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
            dq, dk, dv = so_far
            weights = jnp.exp(_scores(tile, k[j], ids[j], j, window) - log_total)
            dv = _add(dv, j, _product("gms,gmk->gsk", weights.astype(g.dtype), g))
            scores = weights * (_product("gmk,gsk->gms", g, v[j]) - shared)
            scores = scores.astype(q.dtype)
            dk = _add(dk, j, _product("gms,gmk->gsk", scores, tile.q))
            return dq + _product("gms,gsk->gmk", scores, k[j]), dk, dv

        start = (jnp.zeros(tile.q.shape, jnp.float32), *sums)
        dq, dk, dv = jax.lax.fori_loop(tile.first, tile.last, keys, start)
        return (dk, dv), dq.astype(q.dtype)

    zeros = (jnp.zeros(k.shape, jnp.float32), jnp.zeros(v.shape, jnp.float32))
    (dk, dv), dq = jax.lax.scan(
        queries, zeros, (_tiles(q, ids, ends, window), g, log_total, shared)
    )
    return dq, dk.astype(k.dtype), dv.astype(v.dtype), None, None


_row.defvjp(_row_forward, _row_backward)


def _tiles(q: Array, ids: Array, ends: Array | None, window: int | None) -> _Tile:
    """Every tile of a row's queries, stacked. Padding, segment 0, looks at its own tile only."""
    count = len(ids)
    real = ids > 0
    lowest = jnp.where(real, ids, jnp.iinfo(ids.dtype).max).min(axis=1)
    highest = jnp.where(real, ids, 0).max(axis=1)
    # Never false where a query and a key share a segment, for any ids.
    needed = (lowest[:, None] <= highest) & (highest[:, None] >= lowest)
    needed |= jnp.eye(count, dtype=bool)
    begins = TILE * jnp.arange(count)
    if ends is not None:
        needed &= begins <= ends.max(axis=1)[:, None]
    if window is not None:
        needed &= begins + TILE - 1 > begins[:, None] - window
    first = needed.argmax(axis=1)
    last = count - needed[:, ::-1].argmax(axis=1)
    return _Tile(jnp.arange(count), first, last, q, ids, ends)


def _scores(tile: _Tile, k: Array, ids: Array, place: Array, window: int | None) -> Array:
    """float32[G, R * T, T] of a tile of queries and one of keys."""
    allowed = tile.ids[:, None] == ids
    here = jnp.arange(TILE)
    if tile.ends is not None:
        allowed &= tile.ends[:, None] >= place * TILE + here
    if window is not None:
        allowed &= (tile.place * TILE + here)[:, None] - (place * TILE + here) < window
    scores = _product("gmk,gsk->gms", tile.q, k)
    bias = jnp.where(allowed, 0.0, _MASKED)
    return (scores.reshape(len(scores), -1, TILE, TILE) + bias).reshape(scores.shape)


def _product(axes: str, a: Array, b: Array) -> Array:
    return jnp.einsum(axes, a, b, preferred_element_type=jnp.float32)


def _add(sums: Array, place: Array, part: Array) -> Array:
    return jax.lax.dynamic_update_index_in_dim(sums, sums[place] + part, place, 0)
