"""Attention on TPU: JAX's splash kernels, told at run time which blocks of scores matter.

The kernels keep scores in the chip's vector memory and go through them block by block (after
arXiv 2205.14135). Rows here are packed, so most blocks lie between different segments: each row's
segment ids say which blocks to visit, and the cost follows the segments' lengths, not the row's.
"""

import functools
from typing import cast

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

from vsft_jax.models.shared.attention.per_device import per_device

# Positions a side of a block, best first. Instruction bundles that libtpu 0.0.52 schedules on v5e
# for 1024 pairs of positions in a head of width 128, forward and fused backward: 4.5 and 8.8 in
# blocks of 1024, 4.6 and 8.8 of 512; 8.4 forward of 256. A block takes 200 to 600 more even where
# it is passed over, so there should be few.
_BLOCKS = (1024, 512, 256, 128)
# A row may grow by this part of its length to be cut into larger blocks.
_PADDING = 1 / 8
# Keys that the forward and backward loops take at a time: a tenth less forward than 1024.
_COMPUTE = 512
# Where no segment is longer than this, a block looks at its two neighbours only. For 16384 patches
# in windows of 64, 16 heads of width 80, forward and backward on v5e: 7.3 million bundles in blocks
# of 256, 7.4 of 128, 8.1 of 512; 30 million cycles for dense scores of near windows through XLA.
_LOCAL_BLOCK = 256
_PAD_SEGMENT = -1


def splash_attention(
    q: Array,
    k: Array,
    v: Array,
    segment_ids: Array,
    *,
    causal: bool,
    max_segment_length: int | None,
    interpret: bool,
) -> Array:
    """Self-attention inside segments; arguments as in `attention.attention`.

    interpret: run the kernels off TPU, which is slow: for tests.
    The softmax's sums and the output are named "attention" for remat: without the sums the
    backward pass would have to run the kernel again.
    """
    local = functools.partial(
        _rows,
        causal=causal,
        local=max_segment_length is not None and max_segment_length <= _LOCAL_BLOCK,
        interpret=interpret,
    )
    return per_device(local, q, k, v, segment_ids)


def _rows(
    q: Array,
    k: Array,
    v: Array,
    segment_ids: Array,
    *,
    causal: bool,
    local: bool,
    interpret: bool,
) -> Array:
    """One device's share of `splash_attention`."""
    length, block = _cut(q.shape[1], local)
    end = length - q.shape[1]

    def heads_first(x: Array) -> Array:
        return jnp.moveaxis(jnp.pad(x, [(0, 0), (0, end), (0, 0), (0, 0)]), 2, 1)

    ids = jnp.pad(segment_ids.astype(jnp.int32), [(0, 0), (0, end)], constant_values=_PAD_SEGMENT)
    row = functools.partial(_row, block=block, causal=causal, local=local, interpret=interpret)
    q = q * jnp.asarray(q.shape[-1] ** -0.5, q.dtype)
    out = jax.vmap(row)(heads_first(q), heads_first(k), heads_first(v), ids)
    return jnp.moveaxis(out, 1, 2)[:, : q.shape[1]]


def _cut(length: int, local: bool) -> tuple[int, int]:
    """The length to pad a row to, and the side of its blocks."""
    if local:
        return -(-length // _LOCAL_BLOCK) * _LOCAL_BLOCK, _LOCAL_BLOCK
    padded = {block: -(-length // block) * block for block in _BLOCKS}
    fitting = [block for block in _BLOCKS if padded[block] <= length * (1 + _PADDING)]
    block = fitting[0] if fitting else _BLOCKS[-1]
    return padded[block], block


def _row(
    q: Array,
    k: Array,
    v: Array,
    ids: Array,
    *,
    block: int,
    causal: bool,
    local: bool,
    interpret: bool,
) -> Array:
    """One row: q float[H, L, K], k and v float[G, L, K], ids int32[L] -> float[H, L, K]."""
    needed = _needed_blocks(ids, block, causal)
    count = needed.shape[0]
    # Key blocks that a block of queries looks at, int[count, width]; some lie outside the row.
    columns = np.arange(count)[None].repeat(count, 0)
    if local and count > 3:
        columns = np.arange(count)[:, None] + np.arange(-1, 2)

    def mask_info(needed: Array, *, transpose: bool) -> splash_attention_mask_info.MaskInfo:
        """needed: bool[count, count]. transpose: how the pass over blocks of keys reads it."""
        inside = (columns >= 0) & (columns < count)
        near = np.clip(columns, 0, count - 1)
        visited = jnp.take_along_axis(needed, near, axis=1) & inside
        data_next, block_mask = _next_visited(visited, near), visited.astype(jnp.int32)
        if transpose:
            data_next, block_mask = data_next.T, block_mask.T
        return splash_attention_mask_info.MaskInfo(
            data_next=data_next[None],
            mask_next=None,
            block_mask=block_mask[None],
            partial_mask_blocks=None,
            # For causal attention the kernel compares positions; these are the queries'.
            q_sequence=np.arange(len(ids), dtype=np.int32) if causal else None,
        )

    compute = min(block, _COMPUTE)
    # The fused backward pass writes a gradient of all queries for every block of keys, in vain
    # where only neighbours count.
    fused = not local
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
        mask_function=_not_later if causal else None,
        interpret=interpret,
    )
    return cast(Array, kernel(q, k, v, SegmentIds(ids, ids)))  # a tuple with residuals only


def _not_later(q_positions: Array, k_positions: Array) -> Array:
    return q_positions >= k_positions


def _needed_blocks(ids: Array, block: int, causal: bool) -> Array:
    """bool[L / block, L / block]: whether queries (rows) and keys (columns) may share a segment.

    Never false where they do, for any ids; rarely true in vain where ids do not fall along the row.
    """
    cut = ids.reshape(-1, block)
    lowest, highest = cut.min(axis=1), cut.max(axis=1)
    needed = (lowest[:, None] <= highest) & (highest[:, None] >= lowest)
    return jnp.tril(needed) if causal else needed


def _next_visited(visited: Array, columns: np.ndarray) -> Array:
    """int32, as visited: the column of the first visited block from each one on, row by row.

    The kernel fetches that block while it computes others.
    """
    places = jnp.arange(visited.size, dtype=jnp.int32)
    places = jnp.where(visited.ravel(), places, visited.size)
    ahead = jax.lax.cummin(places, reverse=True)
    # After the last one the next head begins with the first one.
    ahead = jnp.where(ahead == visited.size, ahead[0], ahead)
    return jnp.asarray(columns, jnp.int32).ravel()[ahead].reshape(visited.shape)
