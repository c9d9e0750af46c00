"""Attention inside short segments on TPU: Pallas kernels that look at near positions only.

A segment of at most `LONGEST` positions lies in a tile of twice as many, or across the border of
two tiles. So the queries of a tile need its own keys and half a tile on either side, all at once:
nothing is carried from block to block, and there is no table of blocks to visit.

Positions lie along the lanes of the chip's registers, the dimensions of heads along the sublanes:
heads of width 80 fill those without padding, and a softmax over keys stays inside its lane. The
compiler keeps the order in which products are written, so like steps of all tiles stand together:
one tile's products run beside another one's softmax.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.ad_checkpoint import checkpoint_name
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

LONGEST = 64  # positions of a segment
TILE = 2 * LONGEST  # the lanes of a register
# Positions and heads that a program computes. See docs/tpu.md.
BLOCK = 1024
HEADS = 4
_MASKED = -1e30  # as in whole_rows.py
_PAD_SEGMENT = -1


def short_segment_attention(
    q: Array, k: Array, v: Array, segment_ids: Array, *, interpret: bool
) -> Array:
    """Self-attention inside segments, each of them one contiguous run of at most `LONGEST`
    positions, except padding; arguments as in `attention.attention`, with keys for every head.

    interpret: run the kernels off TPU, which is slow: for tests.
    The output and the softmax's logarithm are named "attention" for remat: without the latter the
    backward pass would have to run the forward kernel again. Reverse-mode gradients only, once.
    """
    length, width = q.shape[1], q.shape[-1]
    blocks = -(-length // BLOCK)
    block = -(-length // (blocks * TILE)) * TILE
    end = blocks * block - length

    def lanes(x: Array) -> Array:
        """[B, L, H, K] -> [B, H, K, L], padded."""
        return jnp.pad(jnp.moveaxis(x, 1, 3), [(0, 0)] * 3 + [(0, end)])

    # The chip computes powers of two: exp(x) is 2 to the power of x * log2(e).
    scaled = q * jnp.asarray(width**-0.5 * math.log2(math.e), q.dtype)
    ids = _around(segment_ids.astype(jnp.int32), block, end)
    out = _attend(interpret, lanes(scaled), lanes(k), lanes(v), ids)
    return jnp.moveaxis(out, 3, 1)[:, :length]


def _around(ids: Array, block: int, end: int) -> Array:
    """int32[B, L] -> int32[B, L / block, 1, block + 2 * TILE]: of each block, with a tile on either
    side of it."""
    padded = jnp.pad(ids, [(0, 0), (TILE, end + TILE)], constant_values=_PAD_SEGMENT)

    def blocks(first: int) -> Array:
        cut = padded[:, first : first + ids.shape[1] + end]
        return cut.reshape(len(ids), -1, 1, block)

    parts = blocks(0)[..., :TILE], blocks(TILE), blocks(2 * TILE)[..., -TILE:]
    return jnp.concatenate(parts, axis=-1)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _attend(interpret: bool, q: Array, k: Array, v: Array, ids: Array) -> Array:
    """q, k and v: [B, H, K, L], ids as of `_around` -> as q."""
    return _forward(interpret, q, k, v, ids)[0]


def _attend_forward(
    interpret: bool, q: Array, k: Array, v: Array, ids: Array
) -> tuple[Array, tuple[Array, ...]]:
    out, log_total = (checkpoint_name(x, "attention") for x in _forward(interpret, q, k, v, ids))
    return out, (q, k, v, ids, out, log_total)


# Under jit, since a kernel whose results are kept already is left out of a remat only like that.
@functools.partial(jax.jit, static_argnums=0)
def _forward(interpret: bool, q: Array, k: Array, v: Array, ids: Array) -> tuple[Array, Array]:
    """(as q, log2 of the softmax's sums: float32[B, H, 1, L])."""
    log_total = jax.ShapeDtypeStruct((*q.shape[:2], 1, q.shape[3]), jnp.float32)
    return _call(_forward_kernel, interpret, ids, [q], [k, v], [_like(q), log_total])


def _attend_backward(
    interpret: bool, kept: tuple[Array, ...], g: Array
) -> tuple[Array, Array, Array, None]:
    q, k, v, ids, out, log_total = kept
    around = [q, k, v, g, out, log_total]
    dq, dk, dv = _call(_backward_kernel, interpret, ids, [], around, [_like(x) for x in (q, k, v)])
    return dq, dk, dv, None


_attend.defvjp(_attend_forward, _attend_backward)


def _like(x: Array) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(x.shape, x.dtype)


def _call(
    kernel: Callable[..., None],
    interpret: bool,
    ids: Array,
    alone: Sequence[Array],
    around: Sequence[Array],
    outs: Sequence[jax.ShapeDtypeStruct],
) -> Any:
    """Runs a kernel for every row, group of heads and block of positions.

    alone: arrays of which it sees a block. around: of which it sees a tile on either side too, at
    the ends of a row some other one.
    """
    rows, heads, _, length = outs[0].shape
    block = ids.shape[-1] - 2 * TILE
    group, tiles = math.gcd(HEADS, heads), block // TILE

    def spec(x: Any, size: int = block, place: Callable = lambda i: i) -> pl.BlockSpec:
        return pl.BlockSpec((None, group, x.shape[2], size), lambda b, h, i: (b, h, 0, place(i)))

    def with_neighbours(x: Array) -> list[pl.BlockSpec]:
        before = spec(x, TILE, lambda i: jnp.maximum(i * tiles - 1, 0))
        after = spec(x, TILE, lambda i: jnp.minimum((i + 1) * tiles, length // TILE - 1))
        return [before, spec(x), after]

    of_ids = pl.BlockSpec((None, None, 1, block + 2 * TILE), lambda b, h, i: (b, i, 0, 0))
    return pl.pallas_call(
        functools.partial(kernel, tiles=tiles),
        out_shape=list(outs),
        grid=(rows, heads // group, length // block),
        in_specs=[of_ids, *map(spec, alone), *(s for x in around for s in with_neighbours(x))],
        out_specs=[spec(x) for x in outs],
        compiler_params=pltpu.CompilerParams(dimension_semantics=("parallel",) * 3),
        name="short_segments" + kernel.__name__.removesuffix("_kernel"),
        interpret=interpret,
    )(ids, *alone, *(x for x in around for _ in range(3)))


def _forward_kernel(ids_ref: Any, q_ref: Any, *refs: Any, tiles: int) -> None:
    """A tile of queries at a time: against their own tile, and the near halves of its neighbours.

    refs: k and v, each before the block, in it and after it; the output and `log_total`.
    """
    k_refs, v_refs, out_ref, log_ref = refs[:3], refs[3:6], refs[6], refs[7]
    ids = _cut(ids_ref[...], tiles + 2)
    masks = []
    for t in range(tiles):
        near = jnp.concatenate([ids[t + 1], _joined(ids[t], ids[t + 2])], axis=1)
        masks.append(_mask(near, ids[t + 1]))

    @pl.loop(0, q_ref.shape[0])
    def _(head: Any) -> None:
        k, v = (_tiles(each, head, tiles) for each in (k_refs, v_refs))
        turned = [x.T for x in k]
        scores = []
        for t, q in enumerate(_cut(q_ref[head], tiles)):
            keys = [turned[t + 1], turned[t + 2][:LONGEST], turned[t][LONGEST:]]
            scores.append(_product(jnp.concatenate(keys), q, (1, 0)) + masks[t])
        highest = [x.max(axis=0, keepdims=True) for x in scores]
        weights = [jnp.exp2(x - y) for x, y in zip(scores, highest, strict=True)]
        total = [x.sum(axis=0, keepdims=True) for x in weights]
        for t, here in enumerate(_places(tiles)):
            values = jnp.concatenate([v[t + 1], _joined(v[t], v[t + 2])], axis=1)
            out = _product(values, weights[t].astype(values.dtype), (1, 0)) / total[t]
            out_ref[head, :, here] = out.astype(out_ref.dtype)
            log_ref[head, :, here] = highest[t] + jnp.log2(total[t])


def _backward_kernel(ids_ref: Any, *refs: Any, tiles: int) -> None:
    """Pairs of positions inside each tile, and pairs across each border of tiles. Those of a
    block's first and last border are computed by both blocks.

    refs: q, k, v, the output's gradient, the output and `log_total`, each before the block, in it
    and after it; gradients of q, k and v.
    """
    kept, gradients = [refs[i : i + 3] for i in range(0, 18, 3)], refs[18:]

    def pairs(x: list[Array]) -> list[Array]:
        """The block's tiles, then its borders': half of the tile on either side."""
        return x[1:-1] + [_joined(x[t], x[t + 1]) for t in range(tiles + 1)]

    def turned(x: list[Array]) -> list[Array]:
        """The same, positions along the sublanes."""
        x = [each.T for each in x]
        halves = [(x[t + 1][:LONGEST], x[t][LONGEST:]) for t in range(tiles + 1)]
        return x[1:-1] + [jnp.concatenate(each) for each in halves]

    ids = pairs(_cut(ids_ref[...], tiles + 2))
    masks = [_mask(x, x) for x in ids]
    before, after = (jax.lax.broadcasted_iota(jnp.int32, (TILE, TILE), d) for d in (0, 1))
    across = (before < LONGEST) != (after < LONGEST)
    masks[tiles:] = [jnp.where(across, x, _MASKED) for x in masks[tiles:]]

    @pl.loop(0, gradients[0].shape[0])
    def _(head: Any) -> None:
        read = [_tiles(each, head, tiles) for each in kept]
        q, k, _, g, out, log_total = map(pairs, read)
        turned_k, turned_v = turned(read[1]), turned(read[2])
        # What a score's weight changes in the output, less what all of them change it by.
        shared = [
            (x.astype(jnp.float32) * y.astype(jnp.float32)).sum(axis=0, keepdims=True)
            for x, y in zip(g, out, strict=True)
        ]
        every = range(len(masks))
        scores = [_product(turned_k[n], q[n], (1, 0)) + masks[n] - log_total[n] for n in every]
        change = [_product(turned_v[n], g[n], (1, 0)) - shared[n] for n in every]
        weights = [jnp.exp2(x) for x in scores]
        change = [(x * y).astype(q[0].dtype) for x, y in zip(change, weights, strict=True)]
        dv = [_product(g[n], weights[n].astype(g[n].dtype), (1, 1)) for n in every]
        dk = [_product(q[n], change[n], (1, 1)) for n in every]
        dq = [_product(k[n], change[n], (1, 0)) for n in every]
        for ref, each, scale in zip(gradients, (dq, dk, dv), _SCALES, strict=True):
            for t, here in enumerate(_places(tiles)):
                borders = _joined(each[tiles + t + 1], each[tiles + t])
                ref[head, :, here] = (scale * (each[t] + borders)).astype(ref.dtype)


# Of the gradients of queries, keys and values: the scores are exponents of 2.
_SCALES = (math.log(2), math.log(2), 1.0)


def _places(tiles: int) -> list[slice]:
    return [slice(t * TILE, (t + 1) * TILE) for t in range(tiles)]


def _cut(x: Array, tiles: int) -> list[Array]:
    """[..., tiles * TILE] -> [..., TILE] each."""
    return [x[..., here] for here in _places(tiles)]


def _tiles(refs: Sequence[Any], head: Any, tiles: int) -> list[Array]:
    """A head's tiles: the one before the block, its own, the one after it."""
    before, own, after = (each[head] for each in refs)
    return [before, *_cut(own, tiles), after]


def _joined(earlier: Array, later: Array) -> Array:
    """The first half of the later tile and the second half of the earlier one, where they lie."""
    lane = jax.lax.broadcasted_iota(jnp.int32, later.shape, 1)
    return jnp.where(lane < LONGEST, later, earlier)


def _mask(keys: Array, queries: Array) -> Array:
    """What is added to scores: float32[S, T] of segment ids int32[1, S] and int32[1, T]."""
    keys = jnp.broadcast_to(keys, (queries.shape[1], keys.shape[1])).T
    return jnp.where(keys == queries, 0.0, _MASKED)


def _product(a: Array, b: Array, over: tuple[int, int]) -> Array:
    """In float32, over a dimension of each."""
    return jax.lax.dot_general(
        *(a, b, (((over[0],), (over[1],)), ((), ()))),
        precision=jax.lax.Precision.HIGHEST if a.dtype == jnp.float32 else None,
        preferred_element_type=jnp.float32,
    )
