"""The gated delta rule over packed rows, in chunks.

Each text of a row has a matrix S [K, V] that starts at zero. Token t fades it, corrects what it
holds under the token's key, and reads it with the token's query (arXiv 2412.06464, equation 10):

    S ← exp(decay_t) S;   S ← S + k_t ⊗ beta_t (v_t − k_t S);   out_t = q_t S

In chunks (section 3.3 there), all corrections of a chunk are one product with the inverse of a
triangular matrix, and S goes from chunk to chunk. Between tokens of different texts every product
is masked, and no token sees the S of another text.

Follows transformers `models/qwen3_5/modeling_qwen3_5.py`, which knows no texts in a row.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

CHUNK = 64  # tokens, at most


class Tokens(NamedTuple):
    """What the rule takes of every token: G groups of R heads, which share queries and keys.

    q, k: float[B, L, G, K], as they enter products. v: float[B, L, G, R, V]. decay, beta:
    float32[B, L, G, R], decay not above 0. segment_ids: int[B, L], contiguous.
    """

    q: Array
    k: Array
    v: Array
    decay: Array
    beta: Array
    segment_ids: Array


class _Carry(NamedTuple):
    """States [B, n, G, R, K, V] and the segments that they belong to, int[B, n]."""

    segments: Array
    states: Array


def gated_delta_rule(tokens: Tokens, states: Array | None = None) -> tuple[Array, Array]:
    """What every token reads, and what later tokens go on from.

    Args:
        tokens: see `Tokens`.
        states: float[B, n, G, R, K, V], what the texts of segments 1 … n have so far. None: all
            begin here, and however many they are, one state is carried along the row.

    Returns:
        float[B, L, G, R, V] in v's dtype, meaningless for segment 0; the states after these tokens,
        or without `states` that of the last segment, n = 1.
    """
    batch, length, groups, width = tokens.k.shape
    size = min(CHUNK, 1 << max(length - 1, 0).bit_length())
    wide = jnp.promote_types(tokens.v.dtype, jnp.float32)
    # A row of single precision is computed in it on TPUs too; products of shorter numbers are not
    # rounded more than these are.
    exact = tokens.v.dtype == wide
    if states is None:
        shape = (batch, 1, groups, *tokens.v.shape[3:4], width, tokens.v.shape[4])
        carry = _Carry(jnp.full((batch, 1), -1, jnp.int32), jnp.zeros(shape, wide))
        step = partial(_chunk, last_only=True, exact=exact)
    else:
        named = jnp.arange(1, states.shape[1] + 1, dtype=jnp.int32)
        carry = _Carry(jnp.broadcast_to(named, states.shape[:2]), states.astype(wide))
        step = partial(_chunk, last_only=False, exact=exact)

    def cut(x: Array, **fill: Any) -> Array:
        """[B, L, …] -> [chunks, B, C, …]."""
        x = jnp.pad(x, [(0, 0), (0, -length % size)] + [(0, 0)] * (x.ndim - 2), **fill)
        return jnp.moveaxis(x.reshape(batch, -1, size, *x.shape[2:]), 1, 0)

    # What fills up the last chunk belongs to the last text and neither fades nor corrects its S.
    q, k, v, decay, beta = map(cut, tokens[:-1])
    chunks = Tokens(q, k, v, decay, beta, cut(tokens.segment_ids, mode="edge"))
    # The backward pass computes a chunk's products again, from its S.
    carry, out = jax.lax.scan(jax.checkpoint(step, prevent_cse=False), carry, chunks)
    out = jnp.moveaxis(out, 0, 1).reshape(batch, -1, *tokens.v.shape[2:])
    return out[:, :length], carry.states


def _chunk(carry: _Carry, tokens: Tokens, *, last_only: bool, exact: bool) -> tuple[_Carry, Array]:
    """One chunk of C tokens. last_only: only the last token's segment goes on."""
    dtype, wide = tokens.v.dtype, carry.states.dtype
    ids = tokens.segment_ids
    q, k, v, decay, beta = (x.astype(wide) for x in tokens[:-1])
    decay, beta = (jnp.moveaxis(x, 1, -1) for x in (decay, beta))  # [B, G, R, C]
    v = jnp.moveaxis(v, 1, 3)  # [B, G, R, C, V]
    product = partial(jnp.einsum, precision="highest" if exact else None)
    added = partial(jnp.einsum, precision="highest")

    same = ids[:, :, None] == ids[:, None, :]
    seen = jnp.tril(same)
    # Sums of decays, each over just the tokens that it is about: differences of running sums would
    # lose what is small beside what came before, and with it that a text does not depend on that.
    size = ids.shape[1]
    later = jnp.tri(size, k=-1, dtype=wide)  # [t, j]: t comes after j
    between = added("it,bgrt,tj->bgrij", jnp.tri(size, dtype=wide), decay, later)
    since = added("bit,bgrt->bgri", seen.astype(wide), decay)
    until = added("bjt,bgrt->bgrj", jnp.triu(same, 1).astype(wide), decay)
    weights = jnp.where(seen[:, None, None], jnp.exp(between), 0)

    def from_states(x: Array) -> Array:
        """What x, [B, C, G, K], finds in its text's state as faded until then."""
        mine = (carry.segments[:, :, None] == ids[:, None, :]).astype(wide)
        found = product("bnigk,bngrkv->bgriv", mine[..., None, None] * x[:, None], carry.states)
        return found * jnp.exp(since)[..., None]

    overlap = product("bigk,bjgk->bgij", k, k)[:, :, None] * weights
    inverse = _unit_lower_inverse(jnp.tril(overlap * beta[..., None], -1))
    new = product("bgrij,bgrjv->bgriv", inverse, beta[..., None] * (v - from_states(k)))
    scores = product("bigk,bjgk->bgij", q, k)[:, :, None] * weights
    out = from_states(q) + product("bgrij,bgrjv->bgriv", scores, new)

    segments = ids[:, -1:] if last_only else carry.segments
    theirs = (segments[:, :, None] == ids[:, None, :]).astype(wide)
    faded = jnp.exp(added("bnt,bgrt->bngr", theirs, decay))
    faded = jnp.where((segments == carry.segments)[..., None, None], faded, 0)
    written = product(
        "bnjgk,bgrjv->bngrkv",
        theirs[..., None, None] * k[:, None],
        new * jnp.exp(until)[..., None],
    )
    states = carry.states * faded[..., None, None] + written
    return _Carry(segments, states), jnp.moveaxis(out, 3, 1).astype(dtype)


@jax.custom_vjp
def _unit_lower_inverse(a: Array) -> Array:
    """(1 + a)⁻¹ of strictly lower triangular matrices [..., C, C], C a power of two.

    Blocks on the diagonal grow from 1 to C: those of twice the size are [[P, 0], [R, Q]], whose
    inverse has −Q⁻¹ R P⁻¹ in the corner. Powers of a would grow beyond what they leave.
    """
    size = a.shape[-1]
    place = jnp.arange(size)
    inverse = jnp.broadcast_to(jnp.eye(size, dtype=a.dtype), a.shape)
    block = 1
    while block < size:
        half, pair = place // block, place // (2 * block)
        corner = (pair[:, None] == pair) & (half[:, None] > half)
        corners = jnp.where(corner, a, 0)
        if block > 1:
            corners = _exactly(_exactly(inverse, corners), inverse)
        inverse = inverse - corners
        block *= 2
    return inverse


def _inverse_forward(a: Array) -> tuple[Array, Array]:
    inverse = _unit_lower_inverse(a)
    return inverse, inverse


def _inverse_backward(inverse: Array, g: Array) -> tuple[Array]:
    turned = inverse.mT
    return (-jnp.tril(_exactly(_exactly(turned, g), turned), -1),)


_unit_lower_inverse.defvjp(_inverse_forward, _inverse_backward)


def _exactly(a: Array, b: Array) -> Array:
    return jnp.matmul(a, b, precision="highest")
