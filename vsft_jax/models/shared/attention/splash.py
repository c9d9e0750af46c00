"""Attention on TPU: JAX's splash kernels, told at run time which blocks of scores matter.

The kernels keep scores in the chip's vector memory and go through them block by block (after
arXiv 2205.14135). Rows here are packed, so most blocks lie between different segments: each row's
segment ids say which blocks to visit, and the cost follows the segments' lengths, not the row's.
"""

import contextlib
import functools
import math
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.experimental.pallas.ops.tpu.splash_attention import (
    BlockSizes,
    SegmentIds,
    splash_attention_kernel,
    splash_attention_mask_info,
)

# Positions a side of a block, best first. Instruction bundles that libtpu 0.0.52 schedules on v5e
# for 1024 pairs of positions in a head of width 128, forward and fused backward: 4.5 and 8.8 in
# blocks of 1024, 4.6 and 8.8 of 512; 8.4 forward of 256. A block takes 200 to 600 more even where
# it is passed over, so there should be few.
_BLOCKS = (1024, 512, 256, 128)
# A row may grow by this part of its length to be cut into larger blocks.
_PADDING = 1 / 8
# Keys that the forward and backward loops take at a time: a tenth less forward than 1024.
_COMPUTE = 512
# The fused backward pass writes a gradient of all queries for every block of keys: with the square
# of a row's length. Beyond so many bytes of it, it is computed by a kernel of its own, which makes
# scores again: seven products instead of five.
_MOST_PARTIAL = 2**31
_PAD_SEGMENT = -1
# What kernels of layers with a window are told by in a compiled program.
WINDOW_SCOPE = "near_keys"


def splash_attention(
    q: Array,
    k: Array,
    v: Array,
    q_segment_ids: Array,
    kv_segment_ids: Array,
    ahead: Array | None,
    first: Array | int,
    *,
    causal: bool,
    window: int | None,
    interpret: bool,
) -> Array:
    """Attention inside segments of rows, or of as many queries of each from its `first` position
    on; arguments as in `attention.attention`.

    interpret: run the kernels off TPU, which is slow: for tests.
    The softmax's sums and the output are named "attention" for remat: without the sums the
    backward pass would have to run the kernel again.
    """
    block = row_block(q.shape[1])
    lanes = -(-q.shape[-1] // 128) * 128
    partial = k.shape[1] // block * math.prod(q.shape[:3]) * lanes * q.dtype.itemsize

    def padded(x: Array, fill: int = 0) -> Array:
        end = -x.shape[1] % block
        return jnp.pad(x, [(0, 0), (0, end)] + [(0, 0)] * (x.ndim - 2), constant_values=fill)

    def heads_first(x: Array) -> Array:
        return jnp.moveaxis(padded(x), 2, 1)

    ids = [padded(x.astype(jnp.int32), _PAD_SEGMENT) for x in (q_segment_ids, kv_segment_ids)]
    ahead = None if ahead is None else padded(ahead.astype(jnp.int32))

    def row(*arrays: Any) -> Array:
        return _row(
            *arrays,
            first=first,
            block=block,
            causal=causal,
            window=window,
            fused=partial <= _MOST_PARTIAL,
            interpret=interpret,
        )

    scaled = q * jnp.asarray(q.shape[-1] ** -0.5, q.dtype)
    with jax.named_scope(WINDOW_SCOPE) if window is not None else contextlib.nullcontext():
        out = jax.vmap(row)(heads_first(scaled), heads_first(k), heads_first(v), *ids, ahead)
    return jnp.moveaxis(out, 1, 2)[:, : q.shape[1]]


def row_block(length: int) -> int:
    """The side of the blocks that a row is cut into."""
    padded = {block: -(-length // block) * block for block in _BLOCKS}
    fitting = [block for block in _BLOCKS if padded[block] <= length * (1 + _PADDING)]
    return fitting[0] if fitting else _BLOCKS[-1]


def _row(
    q: Array,
    k: Array,
    v: Array,
    q_ids: Array,
    kv_ids: Array,
    ahead: Array | None,
    *,
    first: Array | int,
    block: int,
    causal: bool,
    window: int | None,
    fused: bool,
    interpret: bool,
) -> Array:
    """One row: q float[H, Lq, K], k and v float[G, Lk, K], ids int32[Lq] and int32[Lk] ->
    float[H, Lq, K]."""
    needed = _needed_blocks(q_ids, kv_ids, ahead, first, block, causal, window)

    # For causal attention the kernel compares positions; these are the queries', each with how far
    # it looks ahead in its high bits: of 31, what a row's places leave.
    positions: Any = first + np.arange(len(q_ids), dtype=np.int32) if causal else None
    place_bits = (len(kv_ids) - 1).bit_length() if ahead is not None else 31
    if ahead is not None:
        far = jnp.minimum(ahead, 2 ** (31 - place_bits) - 1)
        positions = positions + (far << place_bits)

    def mask_info(needed: Array, *, transpose: bool) -> splash_attention_mask_info.MaskInfo:
        """needed: as `_needed_blocks`, or transposed. transpose: for the pass over blocks of keys,
        which reads it like that."""
        data_next, block_mask = _next_visited(needed), needed.astype(jnp.int32)
        if transpose:
            data_next, block_mask = data_next.T, block_mask.T
        return splash_attention_mask_info.MaskInfo(
            data_next=data_next[None],
            mask_next=None,
            block_mask=block_mask[None],
            partial_mask_blocks=None,
            q_sequence=positions,
        )

    compute = min(block, _COMPUTE)
    queries = mask_info(needed, transpose=False)
    kernel = splash_attention_kernel.SplashAttentionKernel(
        queries,
        None if fused else queries,
        mask_info(needed.T, transpose=True),
        block_sizes=BlockSizes(
            block_q=block,
            block_kv=block,
            block_kv_compute=compute,
            block_q_dkv=block,
            block_kv_dkv=block,
            block_kv_dkv_compute=compute,
            block_q_dq=None if fused else block,
            block_kv_dq=None if fused else block,
            use_fused_bwd_kernel=fused,
        ),
        is_mqa=False,
        save_residuals=False,
        mask_value=splash_attention_kernel.DEFAULT_MASK_VALUE,
        attn_logits_soft_cap=None,
        residual_checkpoint_name="attention",
        mask_function=functools.partial(_in_reach, window, place_bits) if causal else None,
        interpret=interpret,
    )
    return cast(Array, kernel(q, k, v, SegmentIds(q_ids, kv_ids)))  # a tuple with residuals only


def _in_reach(window: int | None, place_bits: int, q_positions: Array, k_positions: Array) -> Array:
    ends = q_positions
    if place_bits < 31:
        q_positions = ends & (2**place_bits - 1)
        ends = q_positions + (ends >> place_bits)
    allowed = ends >= k_positions
    return allowed if window is None else allowed & (q_positions - k_positions < window)


def _needed_blocks(
    q_ids: Array,
    kv_ids: Array,
    ahead: Array | None,
    first: Array | int,
    block: int,
    causal: bool,
    window: int | None,
) -> Array:
    """bool[Lq / block, Lk / block]: whether queries (rows) and keys (columns) may share a segment.

    Never false where they do, for any ids; rarely true in vain where ids do not fall along the row.
    """
    q_cut, kv_cut = q_ids.reshape(-1, block), kv_ids.reshape(-1, block)
    lowest, highest = q_cut.min(axis=1)[:, None], q_cut.max(axis=1)[:, None]
    needed = (lowest <= kv_cut.max(axis=1)) & (highest >= kv_cut.min(axis=1))
    if causal:
        begins = np.arange(0, len(kv_ids), block)
        last = first + np.arange(block - 1, len(q_ids), block)
        if ahead is not None:
            places = first + np.arange(len(q_ids))
            last = (places + ahead).reshape(-1, block).max(axis=1)
        needed &= begins <= last[:, None]
        if window is not None:
            first_of_each = first + np.arange(0, len(q_ids), block)
            needed &= begins + block - 1 > first_of_each[:, None] - window
    return needed


def _next_visited(visited: Array) -> Array:
    """int32, as visited: the column of the first visited block from each one on, row by row.

    The kernel fetches that block while it computes others.
    """
    places = jnp.arange(visited.size, dtype=jnp.int32)
    places = jnp.where(visited.ravel(), places, visited.size)
    ahead = jax.lax.cummin(places, reverse=True)
    # After the last one the next head begins with the first one.
    ahead = jnp.where(ahead == visited.size, ahead[0], ahead)
    return (ahead % visited.shape[1]).reshape(visited.shape)
