"""A short causal convolution along each text of a packed row, one filter a channel."""

import jax.numpy as jnp
from jax import Array


def short_convolution(
    x: Array, weight: Array, segment_ids: Array, tails: Array | None = None
) -> tuple[Array, Array | None]:
    """Of every token, the weighted sum of it and those before it in its text.

    Args:
        x: float[B, L, G, X].
        weight: float[G, X, taps], the last for the token itself.
        segment_ids: int[B, L], contiguous.
        tails: float[B, n, G, taps - 1, X], what the texts of segments 1 … n ended with so far, zero
            before their beginning. None: all begin here.

    Returns:
        float32[B, L, G, X], meaningless for segment 0; the tails after these tokens.
    """
    taps, length = weight.shape[-1], x.shape[1]
    weight = weight.astype(jnp.float32)
    same = [_shifted(segment_ids, back, -1) == segment_ids for back in range(taps)]
    # Tokens of the same text right before each, as far as a filter reaches.
    before = sum(each.astype(jnp.int32) for each in same[1:])
    out = x.astype(jnp.float32) * weight[..., -1]
    for back in range(1, taps):
        tap = jnp.where(same[back][..., None, None], _shifted(x, back, 0), 0)
        if tails is not None:
            place = taps - 1 - back + before  # in the tail; meaningless where the row has it
            kept = _from_tails(tails, segment_ids, jnp.minimum(place, taps - 2))
            tap = jnp.where(same[back][..., None, None], tap, kept)
        out = out + tap.astype(jnp.float32) * weight[..., -1 - back]
    if tails is None:
        return out, None

    count = tails.shape[1]
    named = jnp.arange(1, count + 1)
    mine = segment_ids[:, None, :] == named[:, None]  # [B, n, L]
    tokens = mine.sum(-1)
    last = jnp.where(mine, jnp.arange(length), 0).max(-1)
    ends = []
    for place in range(taps - 1):
        back = taps - 2 - place  # from the text's last token
        here = jnp.maximum(last - back, 0)
        new = jnp.take_along_axis(x, here[..., None, None], axis=1)
        old_place = jnp.minimum(place + tokens, taps - 2)
        old = jnp.take_along_axis(tails, old_place[..., None, None, None], axis=3)[..., 0, :]
        ends.append(jnp.where((back < tokens)[..., None, None], new.astype(tails.dtype), old))
    return out, jnp.stack(ends, axis=3)


def _shifted(x: Array, back: int, fill: int) -> Array:
    """x of the token so many places before each: [B, L, …]."""
    if back == 0:
        return x
    widths = [(0, 0), (back, 0)] + [(0, 0)] * (x.ndim - 2)
    return jnp.pad(x, widths, constant_values=fill)[:, : x.shape[1]]


def _from_tails(tails: Array, segment_ids: Array, place: Array) -> Array:
    """tails: [B, n, G, taps - 1, X]; segment_ids, place: int[B, L] -> [B, L, G, X]."""
    text = jnp.clip(segment_ids - 1, 0, tails.shape[1] - 1)
    of_text = jnp.take_along_axis(tails, text[..., None, None, None], axis=1)
    return jnp.take_along_axis(of_text, place[..., None, None, None], axis=3)[..., 0, :]
