"""Generation for a batch of prompts, greedy or sampled, with a key-value cache.

A row holds beginnings, one after the other, each with the media that its prompts share; then the
endings of these prompts, each of which looks at its beginning and itself; then, a token of each
prompt at a time, the answers. So what prompts share is computed once, and what is computed for a
prompt does not depend on the others. One compiled function does all; it is compiled once for each
combination of shapes and `Decoding`, not for each seed.
"""

import dataclasses
from collections.abc import Collection, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array
from jax.sharding import PartitionSpec

from vsft_jax.inference.token_sampling import GREEDY, Sampling, draw, row_keys
from vsft_jax.models.shared.decoder import Attended, KVCache
from vsft_jax.models.shared.vlm import VisionLanguageModel
from vsft_jax.sharding import row_axes

_PROMPT_FIELDS = ("tokens", "positions", "segment_ids")
_MEDIA_FIELDS = (
    "visual_index",
    "visual_weights",
    "patches",
    "patch_coords",
    "patch_frames",
    "patch_windows",
)


class Endings(NamedTuple):
    """What the prompts of a batch have behind their beginnings: G in a row, W positions in all.

    tokens: int32[B, W], one ending after the other. positions: int32[B, W, 3]. prompts: int32[B,
    W], which of the row's prompts a token belongs to, 1 … G, 0 for padding. last: int32[B, G], the
    place in W of each prompt's last token, -1 for no prompt. beginnings: int32[B, G], the segment
    id of the beginning that each prompt goes on from. next_positions: int32[B, G], of the first
    token of the answer.
    """

    tokens: Array
    positions: Array
    prompts: Array
    last: Array
    beginnings: Array
    next_positions: Array


class Generated(NamedTuple):
    """What was generated, T = Decoding.max_new_tokens.

    tokens: int32[B, G, T]; behind the stop token, pad_id.
    logprobs: float32[B, G, T], of each token under the model's own distribution: banned tokens left
        out, at temperature 1 and with all other tokens, however it was drawn. The stop token's is
        included; 0 behind it.
    lengths: int32[B, G], tokens before the stop token. Where lengths < T, the token at that place
        is the stop token; where there is no prompt, length 0 and only padding.
    likeliest, likeliest_logprobs: int32 and float32[B, G, T, A], the A = Decoding.likeliest most
        likely tokens of each step, best first, by the same distribution; None where A is 0.
    """

    tokens: Array
    logprobs: Array
    lengths: Array
    likeliest: Array | None = None
    likeliest_logprobs: Array | None = None


@dataclasses.dataclass(frozen=True)
class Decoding:
    """How answers are generated; hashable, since each one is compiled for itself.

    max_new_tokens: T. stop_ids: an answer ends with the first of these that it chooses. banned_ids:
    never chosen; media tokens belong here, since no pixels stand behind them. pad_id: fills
    `Generated.tokens` behind the stop token. sampling: how tokens are chosen; by default the most
    likely one. likeliest: A, how many of the most likely tokens of each step are told.

    Raises ValueError: max_new_tokens is not positive, or every stop token is banned.
    """

    max_new_tokens: int
    stop_ids: Collection[int]
    banned_ids: Collection[int]
    pad_id: int
    sampling: Sampling = GREEDY
    likeliest: int = 0

    def __post_init__(self) -> None:
        for name in ("stop_ids", "banned_ids"):
            object.__setattr__(self, name, tuple(sorted({*getattr(self, name)})))
        if self.max_new_tokens <= 0:
            raise ValueError(f"max_new_tokens must be positive, not {self.max_new_tokens}")
        if self.stop_ids and set(self.stop_ids) <= set(self.banned_ids):
            raise ValueError(
                f"all stop tokens {self.stop_ids} are among the banned ones {self.banned_ids}"
            )


def generate(
    model_graphdef: nnx.GraphDef,
    params: Any,
    arrays: Mapping[str, Array],
    endings: Endings,
    decoding: Decoding,
    *,
    seed: int = 0,
    keys: Array | None = None,
) -> Generated:
    """Continues every prompt.

    Args:
        model_graphdef: of a model with `prefill`, `decode` and `unembed`.
        params: its parameters.
        arrays: fields of `Batch`, the beginnings: packed, in segments 1, 2, …. Fields that only
            training needs are ignored.
        endings: the rest of the prompts.
        decoding: how.
        seed: of what is drawn.
        keys: uint32[B, G], each prompt's own number, needed for drawing: what is drawn for it
            depends on the seed and this number, not on its place or the other prompts.

    Raises:
        ValueError: keys are missing.
    """
    drawn = decoding.sampling.temperature > 0
    if drawn and keys is None:
        raise ValueError(
            f"drawing with temperature = {decoding.sampling.temperature} needs keys, one a prompt"
        )
    used = {name: arrays[name] for name in _PROMPT_FIELDS}
    used |= {name: arrays[name] for name in _MEDIA_FIELDS if name in arrays}
    keys = keys if drawn else None
    return generate_compiled(
        model_graphdef, params, used, endings, np.uint32(seed), keys, decoding=decoding
    )


class _Choice(NamedTuple):
    """Fields of `Generated` in one step, without the axis T."""

    token: Array
    logprob: Array
    likeliest: Array | None
    likeliest_logprobs: Array | None


class _State(NamedTuple):
    step: Array  # tokens decided so far
    token: Array  # int32[B, G], the last ones
    done: Array  # bool[B, G]
    cache: KVCache
    slots: Array  # int32[B, L + W + G (T - 1)], see `_prefill`
    out: Generated


@partial(jax.jit, static_argnames=("model_graphdef", "decoding"))
def generate_compiled(
    model_graphdef: nnx.GraphDef,
    params: Any,
    arrays: dict[str, Array],
    endings: Endings,
    seed: Array,
    keys: Array | None,
    *,
    decoding: Decoding,
) -> Generated:
    """`generate` under jit."""
    new, sampling = decoding.max_new_tokens, decoding.sampling
    model = _for_decoding(model_graphdef, params)
    batch, count = endings.last.shape

    def choose(hidden: Array, step: Array) -> _Choice:
        """hidden: float[B, G, D]."""
        logits = model.unembed(hidden)
        if decoding.banned_ids:
            banned = np.zeros(logits.shape[-1], bool)
            banned[list(decoding.banned_ids)] = True
            logits = jnp.where(banned, -jnp.inf, logits)
        if keys is not None:
            flat = logits.reshape(-1, logits.shape[-1])
            token = draw(flat, sampling, row_keys(seed, keys.reshape(-1), step))
            token = token.reshape(batch, count)
        else:
            token = logits.argmax(axis=-1).astype(jnp.int32)
        total = jax.nn.logsumexp(logits, axis=-1)
        logprob = jnp.take_along_axis(logits, token[..., None], axis=-1)[..., 0] - total
        best = likeliest = None
        if decoding.likeliest:
            best, likeliest = jax.lax.top_k(logits, decoding.likeliest)
            best = best - total[..., None]
        return _Choice(token, logprob, likeliest, best)

    def record(
        out: Generated, step: Array, choice: _Choice, done: Array
    ) -> tuple[Array, Array, Generated]:
        """Writes column `step`; returns what to go on from."""
        token = jnp.where(done, decoding.pad_id, choice.token)
        stopped = done | jnp.isin(token, jnp.array(decoding.stop_ids, jnp.int32))

        def written(table: Any, column: Any) -> Any:
            return jax.tree.map(
                lambda x, y: jax.lax.dynamic_update_slice_in_dim(x, y[:, :, None], step, axis=2),
                table,
                column,
            )

        return (
            token,
            stopped,
            Generated(
                written(out.tokens, token),
                written(out.logprobs, jnp.where(done, 0.0, choice.logprob)),
                out.lengths + ~stopped,
                written(out.likeliest, choice.likeliest),
                written(out.likeliest_logprobs, choice.likeliest_logprobs),
            ),
        )

    hidden, cache, slots = _prefill(model, arrays, endings)
    first = choose(hidden, jnp.int32(0))
    several = (batch, count, new, decoding.likeliest)
    empty = Generated(
        jnp.full((batch, count, new), decoding.pad_id, jnp.int32),
        jnp.zeros((batch, count, new), jnp.float32),
        jnp.zeros((batch, count), jnp.int32),
        jnp.zeros(several, jnp.int32) if decoding.likeliest else None,
        jnp.zeros(several, jnp.float32) if decoding.likeliest else None,
    )
    token, done, out = record(empty, jnp.int32(0), first, endings.last < 0)
    start, more = slots.shape[1], count * (new - 1)
    cache = _shard(_longer(cache, more))
    slots = jnp.pad(slots, [(0, 0), (0, more)])
    names = jnp.broadcast_to(jnp.arange(1, count + 1), (batch, count))

    def unfinished(state: _State) -> Array:
        return (state.step < new) & ~state.done.all()

    def advance(state: _State) -> _State:
        # All write to the same slots, also those that have ended.
        slot = start + count * (state.step - 1)
        slots = jax.lax.dynamic_update_slice(state.slots, names, (0, slot))
        positions = endings.next_positions + state.step - 1
        hidden, cache = model.decode(
            state.token,
            jnp.repeat(positions[..., None], 3, axis=-1),
            state.cache,
            slot,
            Attended(names, -endings.beginnings, slots),
        )
        choice = choose(hidden, state.step)
        token, done, out = record(state.out, state.step, choice, state.done)
        return _State(state.step + 1, token, done, _shard(cache), slots, out)

    state = _State(jnp.int32(1), token, done, cache, slots, out)
    return jax.lax.while_loop(unfinished, advance, state).out


def _prefill(
    model: VisionLanguageModel, arrays: Mapping[str, Array], endings: Endings
) -> tuple[Array, KVCache, Array]:
    """The hidden states of the last tokens, float[B, G, D]; the cache; and the ids of its slots,
    int32[B, L + W]: minus the segment of a beginning, the number of a prompt, 0 for empty ones."""
    _, cache = model.prefill(arrays)
    length, width = arrays["tokens"].shape[1], endings.tokens.shape[1]
    slots = jnp.concatenate([-arrays["segment_ids"], endings.prompts], axis=1)
    of_each = jnp.pad(endings.beginnings, [(0, 0), (1, 0)])
    beginning = -jnp.take_along_axis(of_each, endings.prompts, axis=1)
    hidden, cache = model.decode(
        endings.tokens,
        endings.positions,
        _shard(_longer(cache, width)),
        jnp.int32(length),
        Attended(endings.prompts, beginning, slots),
        causal=True,
    )
    last = jnp.maximum(endings.last, 0)[..., None]
    return jnp.take_along_axis(hidden, last, axis=1), cache, slots


def _longer(cache: KVCache, slots: int) -> KVCache:
    """With so many more slots, empty ones."""
    more = [(0, 0), (0, 0), (0, slots), (0, 0), (0, 0)]
    return jax.tree.map(lambda x: jnp.pad(x, more), cache)


def _for_decoding(graphdef: nnx.GraphDef, params: nnx.State) -> VisionLanguageModel:
    """The model, with the language model's parameters in its compute dtype.

    Its layers convert them anyway, so nothing changes but that a decoding step, whose time goes
    into reading them, reads them converted.
    """
    dtype = nnx.merge(graphdef, params).config.dtype
    llm = jax.tree.map(lambda x: x.astype(dtype), params["llm"])
    return nnx.merge(graphdef, nnx.merge_state(params, nnx.State({"llm": llm})))


def _shard(cache: KVCache) -> KVCache:
    """Keeps a cache split over its rows, and over its heads where tensor parallelism divides them.

    Long prompts' caches can outgrow the parameters, so no device may hold more than its part. XLA
    finds the same by itself today; this holds it to it.
    """
    mesh = jax.sharding.get_abstract_mesh()
    _, rows, _, heads, _ = cache.keys.shape
    axes = row_axes(mesh, rows)
    if not axes:
        return cache
    divides = "tensor" in mesh.axis_names and heads % mesh.shape["tensor"] == 0
    free = PartitionSpec.UNCONSTRAINED
    spec = PartitionSpec(None, axes, None, "tensor" if divides else free, free)
    return jax.tree.map(lambda x: jax.lax.with_sharding_constraint(x, spec), cache)
