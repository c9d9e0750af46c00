"""The one attention function that every layer of every model calls.

Who may look at whom is said by segment ids alone: a position attends to the positions of its
own segment. Padding is segment 0. No [L, L] mask is ever stored: the comparison of segment ids
is part of the softmax's elementwise work.
"""

import jax
import jax.numpy as jnp
from jax import Array
from jax.ad_checkpoint import checkpoint_name

# "auto": splash where the program will run on TPU, else xla. See docs/tpu.md.
IMPLEMENTATIONS = ("auto", "xla", "splash")

# Large enough to vanish under exp, small enough that a row with nothing to attend to stays finite.
_MASKED = -1e30

# Queries in a tile. Measured on a CPU with rows of 512: a fifth off a whole training step, at no
# cost in compile time; smaller tiles compile longer and gain nothing.
_SMALLEST_TILE = 256
# Beyond this many queries the backward pass computes scores again, tile by tile: O(L · tile)
# memory instead of O(L²).
_LONG = 2048


def attention(
    q: Array,
    k: Array,
    v: Array,
    *,
    segment_ids: Array | None = None,
    q_segment_ids: Array | None = None,
    kv_segment_ids: Array | None = None,
    causal: bool = False,
    max_segment_length: int | None = None,
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
        causal: a position attends to itself and earlier ones only (needs Lq = Lk).
        max_segment_length: promise that every segment except padding is one contiguous run of
            at most this many positions. Scores are then computed for neighbouring blocks only,
            in O(L · max_segment_length) instead of O(L²). Self-attention without `causal` only.
        implementation: one of `IMPLEMENTATIONS`. "splash" is for self-attention given by
            `segment_ids`; anything else, such as decoding one token, is computed as by "xla".

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
        if q_segment_ids is not None or kv_segment_ids is not None:
            raise ValueError("give segment_ids, or q_segment_ids and kv_segment_ids, not both")
        q_segment_ids = kv_segment_ids = segment_ids
    if q_segment_ids is None or kv_segment_ids is None:
        raise ValueError("attention needs segment ids for the queries and for the keys")
    if max_segment_length is not None and (causal or q.shape[1] != k.shape[1]):
        raise ValueError("max_segment_length is for bidirectional self-attention")

    if implementation == "auto":
        implementation = "splash" if _platform() == "tpu" else "xla"
    if implementation == "splash" and segment_ids is not None and q.shape[1] > 1:
        # Importing Pallas takes an eighth of a second, a twentieth of a first answer on a CPU.
        from vsft_jax.models.shared.splash import splash_attention

        # Names its own result.
        return splash_attention(
            q,
            k,
            v,
            segment_ids,
            causal=causal,
            max_segment_length=max_segment_length,
            interpret=_platform() != "tpu",
        )
    if max_segment_length is not None and 3 * max_segment_length < q.shape[1]:
        out = _block_local(q, k, v, q_segment_ids, kv_segment_ids, max_segment_length)
    else:
        out = _dense(q, k, v, q_segment_ids, kv_segment_ids, causal)
    return checkpoint_name(out, "attention")


def _platform() -> str:
    """What the program being traced will run on: the mesh's platform, or the default one."""
    device = jax.sharding.get_abstract_mesh().abstract_device
    return jax.default_backend() if device is None else device.platform


def _dense(
    q: Array, k: Array, v: Array, q_segment_ids: Array, kv_segment_ids: Array, causal: bool
) -> Array:
    """All queries against all keys, in tiles of queries; shapes as in `attention`.

    Tiles keep the working set small, and under `causal` a tile leaves out the keys after it.
    """
    batch, length, heads, width = q.shape
    kv_heads = k.shape[2]
    q = (q * width**-0.5).reshape(batch, length, kv_heads, heads // kv_heads, width)
    q, k, v = jnp.moveaxis(q, 1, 3), jnp.moveaxis(k, 1, 2), jnp.moveaxis(v, 1, 2)

    # At most 16 tiles, since they are unrolled.
    size = max(_SMALLEST_TILE, -(-length // 16))
    tile = jax.checkpoint(_tile) if length > _LONG else _tile
    outs = []
    for start in range(0, length, size):
        queries = slice(start, min(start + size, length))
        keys = slice(0, queries.stop if causal else k.shape[2])
        q_index = jnp.arange(queries.start, queries.stop) if causal else None
        outs.append(
            tile(
                q[..., queries, :],
                k[:, :, keys],
                v[:, :, keys],
                q_segment_ids[:, queries],
                kv_segment_ids[:, keys],
                q_index,
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
    q_index: Array | None,
) -> Array:
    """q: [B, G, H/G, Q, K], k and v: [B, G, S, K]; q_index: int[Q] for causal -> as q."""
    allowed = q_segment_ids[:, :, None] == kv_segment_ids[:, None, :]
    if q_index is not None:
        allowed &= q_index[:, None] >= jnp.arange(k.shape[2])
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


def _block_local(
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

    out = _dense(
        rows(cut(q, 0)),
        with_neighbours(k, 0),
        with_neighbours(v, 0),
        rows(cut(q_segment_ids, 0)),
        with_neighbours(kv_segment_ids, -1),
        causal=False,
    )
    return out.reshape(batch, blocks * block, *out.shape[2:])[:, :length]
