"""The one attention function that every layer of every model calls.

Who may look at whom is said by segment ids alone: a position attends to the positions of its
own segment. Padding is segment 0. No [L, L] mask is ever stored: the comparison of segment ids
is part of the softmax's elementwise work.
"""

import functools
from typing import Any

import jax
from jax import Array
from jax.ad_checkpoint import checkpoint_name

from vsft_jax.models.shared.attention.per_device import Local, per_device
from vsft_jax.models.shared.attention.segments import TILE, segment_attention
from vsft_jax.models.shared.attention.whole_rows import block_local, dense
from vsft_jax.sharding import platform, position_axis

# "auto": splash where the program will run on TPU, segments on CPU, else xla. See docs/tpu.md and
# docs/performance.md. On TPU short segments have kernels of their own.
IMPLEMENTATIONS = ("auto", "xla", "segments", "splash")
_OF_PLATFORM = {"tpu": "splash", "cpu": "segments"}


def attention(
    q: Array,
    k: Array,
    v: Array,
    *,
    segment_ids: Array | None = None,
    q_segment_ids: Array | None = None,
    kv_segment_ids: Array | None = None,
    also_segment_ids: Array | None = None,
    causal: bool = False,
    window: int | None = None,
    ahead: Array | None = None,
    positions: tuple[Array, Array] | None = None,
    max_segment_length: int | None = None,
    within_share: bool = False,
    implementation: str = "auto",
) -> Array:
    """Scaled dot-product attention inside segments, softmax in float32.

    The result is named "attention" for remat policies.

    Args:
        q: float[B, Lq, H, K].
        k: float[B, Lk, G, K], where G divides H: grouped-query attention, heads not repeated.
        v: float[B, Lk, G, K].
        segment_ids: int[B, L], for self-attention (Lq = Lk); or else the next two.
        q_segment_ids: int[B, Lq].
        kv_segment_ids: int[B, Lk].
        also_segment_ids: int[B, Lq], a second segment that each query attends to. With
            q_segment_ids only.
        causal: a position attends to itself and earlier ones only; where Lq < Lk the queries are
            the last Lq positions.
        window: a position attends to itself and at most `window` - 1 earlier ones. With `causal`,
            or with `positions`.
        ahead: int[B, L], how many of the positions after itself each attends to as well, such as
            the rest of a picture. With segment_ids and `causal` only.
        positions: int[B, Lq] and int[B, Lk], what the window counts in place of places in the row.
            With q_segment_ids only.
        max_segment_length: promise that every segment except padding is one contiguous run of
            at most this many positions. Scores are then computed for neighbouring blocks only,
            in O(L · max_segment_length) instead of O(L²). Self-attention without `causal` only.
        within_share: promise that no segment but padding lies on two of the shares that the
            'context' mesh axis cuts rows into. Keys and values then stay where they are.
        implementation: one of `IMPLEMENTATIONS`. "splash" and "segments" are for self-attention
            given by `segment_ids`, each device computing its own rows and heads; anything else,
            such as decoding one token, is computed as by "xla".

    Returns:
        float[B, Lq, H, K] in q's dtype; finite everywhere, meaningless where the segment is 0.

    Raises:
        ValueError: unknown implementation, or arguments that do not go together.
    """
    if implementation not in IMPLEMENTATIONS:
        raise ValueError(
            f"attention implementation {implementation!r} is unknown; "
            f"ModelConfig.attention must be one of {IMPLEMENTATIONS}"
        )
    if segment_ids is not None:
        if q_segment_ids is not None or kv_segment_ids is not None or also_segment_ids is not None:
            raise ValueError("give segment_ids, or q_segment_ids and kv_segment_ids, not both")
        q_segment_ids = kv_segment_ids = segment_ids
    if q_segment_ids is None or kv_segment_ids is None:
        raise ValueError("attention needs segment ids for the queries and for the keys")
    if max_segment_length is not None and (causal or q.shape[1] != k.shape[1]):
        raise ValueError("max_segment_length is for bidirectional self-attention")
    if (ahead is not None and (segment_ids is None or not causal)) or (
        positions is not None and segment_ids is not None
    ):
        raise ValueError("ahead is for causal self-attention, positions are for other attention")
    if window is not None and not causal and positions is None:
        raise ValueError("a window is for causal attention")

    if implementation == "auto":
        implementation = _OF_PLATFORM.get(platform(), "xla")
    if segment_ids is not None and q.shape[1] > 1:
        local = _local(
            implementation,
            q.shape[1],
            causal=causal,
            window=window,
            max_segment_length=max_segment_length,
        )
        if local is not None:
            return per_device(local, q, k, v, segment_ids, ahead, within_share=within_share)
    return _by_xla(
        *(q, k, v, q_segment_ids, kv_segment_ids, ahead),
        causal=causal,
        window=window,
        max_segment_length=max_segment_length,
        also_segment_ids=also_segment_ids,
        positions=positions,
    )


def _local(implementation: str, length: int, **options: Any) -> Local | None:
    """What each device computes of self-attention; None for what is left to the compiler."""
    if implementation == "splash":
        return functools.partial(_by_kernels, interpret=platform() != "tpu", **options)
    if implementation == "segments" and length > TILE:
        return functools.partial(_by_tiles, **options)
    split = position_axis(jax.sharding.get_abstract_mesh(), length)
    return functools.partial(_by_xla, **options) if split else None


def _by_kernels(
    q: Array,
    k: Array,
    v: Array,
    q_segment_ids: Array,
    kv_segment_ids: Array,
    ahead: Array | None,
    first: Array | int,
    *,
    max_segment_length: int | None,
    **options: Any,
) -> Array:
    # Importing Pallas takes an eighth of a second, a twentieth of a first answer on a CPU.
    from vsft_jax.models.shared.attention import short_segments, splash

    short = max_segment_length is not None and max_segment_length <= short_segments.LONGEST
    if short and q.shape == k.shape:
        return short_segments.short_segment_attention(
            q, k, v, q_segment_ids, interpret=options["interpret"]
        )
    return splash.splash_attention(q, k, v, q_segment_ids, kv_segment_ids, ahead, first, **options)


def _by_tiles(
    q: Array,
    k: Array,
    v: Array,
    q_segment_ids: Array,
    kv_segment_ids: Array,
    ahead: Array | None,
    first: Array | int,
    **options: Any,
) -> Array:
    if q.shape[1] != k.shape[1]:  # a share of a row's queries
        return _by_xla(q, k, v, q_segment_ids, kv_segment_ids, ahead, first, **options)
    return segment_attention(
        *(q, k, v, q_segment_ids, ahead), causal=options["causal"], window=options["window"]
    )


def _by_xla(
    q: Array,
    k: Array,
    v: Array,
    q_segment_ids: Array,
    kv_segment_ids: Array,
    ahead: Array | None = None,
    first: Array | int | None = None,
    *,
    causal: bool,
    window: int | None,
    max_segment_length: int | None,
    also_segment_ids: Array | None = None,
    positions: tuple[Array, Array] | None = None,
) -> Array:
    near = max_segment_length is not None and 3 * max_segment_length < q.shape[1]
    if near and max_segment_length is not None and q.shape[1] == k.shape[1]:
        out = block_local(q, k, v, q_segment_ids, kv_segment_ids, max_segment_length)
    else:
        out = dense(
            *(q, k, v, q_segment_ids, kv_segment_ids, causal, also_segment_ids, first),
            window=window,
            ahead=ahead,
            positions=positions,
        )
    return checkpoint_name(out, "attention")
