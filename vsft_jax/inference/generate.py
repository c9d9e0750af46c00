"""Generation for a batch of prompts, greedy or sampled, with a key-value cache.

A row holds beginnings, one after the other, each with the media that its prompts share; then the
endings of these prompts, each of which looks at its beginning and itself; then, a token of each
prompt at a time, the answers. So what prompts share is computed once, and what is computed for a
prompt does not depend on the others. One compiled function does all, or, where tokens are wanted as
they come, one begins and one goes on; each is compiled once for each combination of shapes and
`Decoding`, not for each seed.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array
from jax.sharding import PartitionSpec

from vsft_jax.inference.decoding import Decoding, Endings, Generated, Step
from vsft_jax.inference.token_sampling import draw, row_keys
from vsft_jax.models.shared.decoder import Attended
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


class Draws(NamedTuple):
    """What tokens are chosen by besides their logits. keys: uint32[B, G], None where nothing is
    drawn. options: see `generate`."""

    seed: Array | np.uint32
    keys: Array | None
    options: Array | None


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
    cache: Any  # arrays [layers, B, S or texts, ...], then heads where they have those
    slots: Array  # int32[B, L + W + G (T - 1)], see `_prefill`
    out: Generated


def generate(
    model_graphdef: nnx.GraphDef,
    params: Any,
    arrays: Mapping[str, Array],
    endings: Endings,
    decoding: Decoding,
    *,
    seed: int = 0,
    keys: Array | None = None,
    options: Array | None = None,
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
        options: int32[B, G, C], tokens of which the most likely one is each prompt's first, -1 for
            none. Its logarithm stays that among all tokens.

    Raises:
        ValueError: keys are missing.
    """
    used, draws = _asked(arrays, decoding, seed, keys, options)
    return generate_compiled(model_graphdef, params, used, endings, draws, decoding=decoding)


def generate_stepwise(
    model_graphdef: nnx.GraphDef,
    params: Any,
    arrays: Mapping[str, Array],
    endings: Endings,
    decoding: Decoding,
    *,
    seed: int = 0,
    keys: Array | None = None,
) -> Iterator[Step]:
    """`generate`, a token of each prompt at a time as soon as it is there, until all have ended.

    Whoever takes no more steps ends it. Arguments and errors as of `generate`.
    """
    used, draws = _asked(arrays, decoding, seed, keys, None)
    state, step = begin_compiled(model_graphdef, params, used, endings, draws, decoding=decoding)
    for _ in range(decoding.max_new_tokens - 1):
        said = jax.device_get(step)
        yield said
        if said.done.all():
            return
        state, step = advance_compiled(
            model_graphdef, params, endings, draws, state, decoding=decoding
        )
    yield jax.device_get(step)


def _asked(
    arrays: Mapping[str, Array],
    decoding: Decoding,
    seed: int,
    keys: Array | None,
    options: Array | None,
) -> tuple[dict[str, Array], Draws]:
    drawn = decoding.sampling.temperature > 0
    if drawn and keys is None:
        raise ValueError(
            f"drawing with temperature = {decoding.sampling.temperature} needs keys, one a prompt"
        )
    used = {name: arrays[name] for name in _PROMPT_FIELDS}
    used |= {name: arrays[name] for name in _MEDIA_FIELDS if name in arrays}
    return used, Draws(np.uint32(seed), keys if drawn else None, options)


@partial(jax.jit, static_argnames=("model_graphdef", "decoding"))
def generate_compiled(
    model_graphdef: nnx.GraphDef,
    params: Any,
    arrays: dict[str, Array],
    endings: Endings,
    draws: Draws,
    *,
    decoding: Decoding,
) -> Generated:
    """`generate` under jit."""
    model = _for_decoding(model_graphdef, params)
    state = _begin(model, arrays, endings, draws, decoding)
    if decoding.max_new_tokens == 1:
        return state.out

    def unfinished(state: _State) -> Array:
        return (state.step < decoding.max_new_tokens) & ~state.done.all()

    def advance(state: _State) -> _State:
        return _advance(model, endings, draws, decoding, state)

    return jax.lax.while_loop(unfinished, advance, state).out


@partial(jax.jit, static_argnames=("model_graphdef",))
def for_decoding(model_graphdef: nnx.GraphDef, params: nnx.State) -> nnx.State:
    """Parameters that generation need not convert; `generate_stepwise` would for each token."""
    return nnx.split(_for_decoding(model_graphdef, params))[1]


@partial(jax.jit, static_argnames=("model_graphdef", "decoding"))
def begin_compiled(
    model_graphdef: nnx.GraphDef,
    params: Any,
    arrays: dict[str, Array],
    endings: Endings,
    draws: Draws,
    *,
    decoding: Decoding,
) -> tuple[_State, Step]:
    """Everything up to the first tokens, under jit."""
    state = _begin(_for_decoding(model_graphdef, params), arrays, endings, draws, decoding)
    return state, _last_step(state)


@partial(jax.jit, static_argnames=("model_graphdef", "decoding"), donate_argnames=("state",))
def advance_compiled(
    model_graphdef: nnx.GraphDef,
    params: Any,
    endings: Endings,
    draws: Draws,
    state: _State,
    *,
    decoding: Decoding,
) -> tuple[_State, Step]:
    """One more token of each prompt, under jit; the state that went in is used up."""
    model = _for_decoding(model_graphdef, params)
    state = _advance(model, endings, draws, decoding, state)
    return state, _last_step(state)


def _begin(
    model: VisionLanguageModel,
    arrays: Mapping[str, Array],
    endings: Endings,
    draws: Draws,
    decoding: Decoding,
) -> _State:
    """Prompts, and the first token of each."""
    new, (batch, count) = decoding.max_new_tokens, endings.last.shape
    hidden, cache, slots = _prefill(model, arrays, endings)
    several = (batch, count, new, decoding.likeliest)
    empty = Generated(
        jnp.full((batch, count, new), decoding.pad_id, jnp.int32),
        jnp.zeros((batch, count, new), jnp.float32),
        jnp.zeros((batch, count), jnp.int32),
        jnp.zeros(several, jnp.int32) if decoding.likeliest else None,
        jnp.zeros(several, jnp.float32) if decoding.likeliest else None,
    )
    more = count * (new - 1)
    state = _State(
        step=jnp.int32(0),
        token=jnp.zeros((batch, count), jnp.int32),
        done=endings.last < 0,
        cache=_shard(model.longer(cache, more)),
        slots=jnp.pad(slots, [(0, 0), (0, more)]),
        out=empty,
    )
    return _decided(state, _choose(model.unembed(hidden), jnp.int32(0), draws, decoding), decoding)


def _advance(
    model: VisionLanguageModel,
    endings: Endings,
    draws: Draws,
    decoding: Decoding,
    state: _State,
) -> _State:
    """One more token of each prompt."""
    batch, count = endings.last.shape
    names = jnp.broadcast_to(jnp.arange(1, count + 1), (batch, count))
    # All write to the same slots, also those that have ended.
    start = state.slots.shape[1] - count * (decoding.max_new_tokens - 1)
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
    choice = _choose(model.unembed(hidden), state.step, draws._replace(options=None), decoding)
    return _decided(state._replace(cache=_shard(cache), slots=slots), choice, decoding)


def _choose(logits: Array, step: Array, draws: Draws, decoding: Decoding) -> _Choice:
    """logits: float32[B, G, V]."""
    if decoding.banned_ids:
        banned = np.zeros(logits.shape[-1], bool)
        banned[list(decoding.banned_ids)] = True
        logits = jnp.where(banned, -jnp.inf, logits)
    if draws.keys is not None:
        flat = logits.reshape(-1, logits.shape[-1])
        keys = row_keys(jnp.asarray(draws.seed), draws.keys.reshape(-1), step)
        token = draw(flat, decoding.sampling, keys).reshape(logits.shape[:-1])
    else:
        token = logits.argmax(axis=-1).astype(jnp.int32)
    if draws.options is not None:
        there = draws.options >= 0
        found = jnp.take_along_axis(logits, jnp.where(there, draws.options, 0), axis=-1)
        best = jnp.where(there, found, -jnp.inf).argmax(axis=-1, keepdims=True)
        option = jnp.take_along_axis(draws.options, best, axis=-1)[..., 0]
        token = jnp.where(there.any(axis=-1), option, token)
    total = jax.nn.logsumexp(logits, axis=-1)
    logprob = jnp.take_along_axis(logits, token[..., None], axis=-1)[..., 0] - total
    highest = likeliest = None
    if decoding.likeliest:
        highest, likeliest = jax.lax.top_k(logits, decoding.likeliest)
        highest = highest - total[..., None]
    return _Choice(token, logprob, likeliest, highest)


def _decided(state: _State, choice: _Choice, decoding: Decoding) -> _State:
    """The state with one more token of each prompt written down."""
    step, done, out = state.step, state.done, state.out
    token = jnp.where(done, decoding.pad_id, choice.token)
    stopped = done | jnp.isin(token, jnp.array(decoding.stop_ids, jnp.int32))

    def written(table: Any, column: Any) -> Any:
        return jax.tree.map(
            lambda x, y: jax.lax.dynamic_update_slice_in_dim(x, y[:, :, None], step, axis=2),
            table,
            column,
        )

    out = Generated(
        written(out.tokens, token),
        written(out.logprobs, jnp.where(done, 0.0, choice.logprob)),
        out.lengths + ~stopped,
        written(out.likeliest, choice.likeliest),
        written(out.likeliest_logprobs, choice.likeliest_logprobs),
    )
    return state._replace(step=step + 1, token=token, done=stopped, out=out)


def _last_step(state: _State) -> Step:
    def column(table: Any) -> Any:
        return jax.tree.map(
            lambda x: jax.lax.dynamic_index_in_dim(x, state.step - 1, axis=2, keepdims=False),
            table,
        )

    out = state.out
    return Step(
        state.token,
        column(out.logprobs),
        state.done,
        column(out.likeliest),
        column(out.likeliest_logprobs),
    )


def _prefill(
    model: VisionLanguageModel, arrays: Mapping[str, Array], endings: Endings
) -> tuple[Array, Any, Array]:
    """The hidden states of the last tokens, float[B, G, D]; the cache; and the ids of its slots,
    int32[B, L + W]: minus the segment of a beginning, the number of a prompt, 0 for empty ones."""
    # Of a row's prompts each begins with one of its segments.
    _, cache = model.prefill(arrays, endings.last.shape[1])
    length, width = arrays["tokens"].shape[1], endings.tokens.shape[1]
    slots = jnp.concatenate([-arrays["segment_ids"], endings.prompts], axis=1)
    of_each = jnp.pad(endings.beginnings, [(0, 0), (1, 0)])
    beginning = -jnp.take_along_axis(of_each, endings.prompts, axis=1)
    hidden, cache = model.decode(
        endings.tokens,
        endings.positions,
        _shard(model.longer(cache, width)),
        jnp.int32(length),
        Attended(endings.prompts, beginning, slots),
        causal=True,
    )
    last = jnp.maximum(endings.last, 0)[..., None]
    return jnp.take_along_axis(hidden, last, axis=1), cache, slots


def _for_decoding(graphdef: nnx.GraphDef, params: nnx.State) -> VisionLanguageModel:
    """The model, with the language model's parameters in its compute dtype.

    Its layers convert them anyway, so nothing changes but that a decoding step, whose time goes
    into reading them, reads them converted.
    """
    dtype = nnx.merge(graphdef, params).config.dtype
    llm = jax.tree.map(lambda x: x.astype(dtype), params["llm"])
    return nnx.merge(graphdef, nnx.merge_state(params, nnx.State({"llm": llm})))


def _shard(cache: Any) -> Any:
    """Keeps a cache split over its rows, and over its heads where tensor parallelism divides them.

    Long prompts' caches can outgrow the parameters, so no device may hold more than its part. XLA
    finds the same by itself today; this holds it to it.
    """
    mesh, free = jax.sharding.get_abstract_mesh(), PartitionSpec.UNCONSTRAINED

    def shard(x: Array) -> Array:
        axes = row_axes(mesh, x.shape[1])
        if not axes:
            return x
        heads: list[Any] = [free] * (x.ndim - 3)
        if heads and "tensor" in mesh.axis_names and x.shape[3] % mesh.shape["tensor"] == 0:
            heads[0] = "tensor"
        return jax.lax.with_sharding_constraint(x, PartitionSpec(None, axes, None, *heads))

    return jax.tree.map(shard, cache)
