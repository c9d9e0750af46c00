"""Generation for a batch of prompts, greedy or sampled, with a key-value cache.

One compiled function does prefill and decoding; it is compiled once for each combination of
shapes and `Decoding`, not for each seed.
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
from vsft_jax.models.shared.decoder import KVCache
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


class Generated(NamedTuple):
    """What was generated, T = Decoding.max_new_tokens.

    tokens: int32[B, T]; behind the stop token, pad_id.
    logprobs: float32[B, T], of each token under the model's own distribution: banned tokens left
        out, at temperature 1 and with all other tokens, however it was drawn. The stop token's is
        included; 0 behind it.
    lengths: int32[B], tokens before the stop token. Where lengths < T, tokens[b, lengths[b]] is
        the stop token; a row with no prompt has length 0 and only padding.
    likeliest, likeliest_logprobs: int32 and float32[B, T, A], the A = Decoding.likeliest most
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

    max_new_tokens: T. stop_ids: a row ends with the first of these that it chooses. banned_ids:
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
    prompt_lengths: Array,
    decoding: Decoding,
    *,
    seed: int = 0,
    keys: Array | None = None,
) -> Generated:
    """Continues one prompt a row.

    Args:
        model_graphdef: of a model with `prefill`, `decode` and `unembed`.
        params: its parameters.
        arrays: fields of `Batch` with one example a row, starting at column 0 (segment 1, padding
            0 on the right). Fields that only training needs are ignored.
        prompt_lengths: int32[B]; 0 for a row that only fills the batch.
        decoding: how.
        seed: of what is drawn.
        keys: uint32[B], each row's own number, needed for drawing: what is drawn for a row depends
            on the seed and this number, not on the row's place or the other rows.

    Raises:
        ValueError: keys are missing.
    """
    drawn = decoding.sampling.temperature > 0
    if drawn and keys is None:
        raise ValueError(
            f"drawing with temperature = {decoding.sampling.temperature} needs keys, one a row"
        )
    used = {name: arrays[name] for name in _PROMPT_FIELDS}
    used |= {name: arrays[name] for name in _MEDIA_FIELDS if name in arrays}
    keys = keys if drawn else None
    return generate_compiled(
        model_graphdef, params, used, prompt_lengths, np.uint32(seed), keys, decoding=decoding
    )


class _Choice(NamedTuple):
    """Fields of `Generated` in one step, without the axis T."""

    token: Array
    logprob: Array
    likeliest: Array | None
    likeliest_logprobs: Array | None


class _State(NamedTuple):
    step: Array  # tokens decided so far
    token: Array  # int32[B], the last one
    done: Array  # bool[B]
    cache: KVCache
    slots: Array  # int32[B, L + T], 1 where the cache holds something to attend to
    out: Generated


@partial(jax.jit, static_argnames=("model_graphdef", "decoding"))
def generate_compiled(
    model_graphdef: nnx.GraphDef,
    params: Any,
    arrays: dict[str, Array],
    prompt_lengths: Array,
    seed: Array,
    keys: Array | None,
    *,
    decoding: Decoding,
) -> Generated:
    """`generate` under jit."""
    new, sampling = decoding.max_new_tokens, decoding.sampling
    model = _for_decoding(model_graphdef, params)
    batch, length = arrays["tokens"].shape
    rows = jnp.arange(batch)
    prompt = (jnp.arange(length) < prompt_lengths[:, None]).astype(jnp.int32)

    def choose(hidden: Array, step: Array) -> _Choice:
        """hidden: float[B, D]."""
        logits = model.unembed(hidden)
        if decoding.banned_ids:
            banned = np.zeros(logits.shape[-1], bool)
            banned[list(decoding.banned_ids)] = True
            logits = jnp.where(banned, -jnp.inf, logits)
        if keys is not None:
            token = draw(logits, sampling, row_keys(seed, keys, step))
        else:
            token = logits.argmax(axis=-1).astype(jnp.int32)
        total = jax.nn.logsumexp(logits, axis=-1)
        best = likeliest = None
        if decoding.likeliest:
            best, likeliest = jax.lax.top_k(logits, decoding.likeliest)
            best = best - total[:, None]
        return _Choice(token, logits[rows, token] - total, likeliest, best)

    def record(
        out: Generated, step: Array, choice: _Choice, done: Array
    ) -> tuple[Array, Array, Generated]:
        """Writes column `step`; returns what to go on from."""
        token = jnp.where(done, decoding.pad_id, choice.token)
        stopped = done | jnp.isin(token, jnp.array(decoding.stop_ids, jnp.int32))

        def written(table: Any, column: Any) -> Any:
            return jax.tree.map(
                lambda x, y: jax.lax.dynamic_update_slice_in_dim(x, y[:, None], step, axis=1),
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

    hidden, cache = model.prefill({**arrays, "segment_ids": prompt * arrays["segment_ids"]})
    grow = [(0, 0), (0, 0), (0, new), (0, 0), (0, 0)]
    cache = _shard(jax.tree.map(lambda x: jnp.pad(x, grow), cache))
    # Text goes on from the highest position on any axis: a medium may end far beyond its tokens.
    next_position = (arrays["positions"] * prompt[..., None]).max(axis=(1, 2)) + 1

    last = jnp.maximum(prompt_lengths - 1, 0)
    first = choose(hidden[rows, last], jnp.int32(0))
    several = (batch, new, decoding.likeliest)
    empty = Generated(
        jnp.full((batch, new), decoding.pad_id, jnp.int32),
        jnp.zeros((batch, new), jnp.float32),
        jnp.zeros((batch,), jnp.int32),
        jnp.zeros(several, jnp.int32) if decoding.likeliest else None,
        jnp.zeros(several, jnp.float32) if decoding.likeliest else None,
    )
    token, done, out = record(empty, jnp.int32(0), first, prompt_lengths == 0)
    slots = jnp.pad(prompt, [(0, 0), (0, new)])

    def unfinished(state: _State) -> Array:
        return (state.step < new) & ~state.done.all()

    def advance(state: _State) -> _State:
        # Every row writes to the same slot; what lies between a short prompt and it stays empty.
        slot = length + state.step - 1
        slots = jax.lax.dynamic_update_slice(
            state.slots, jnp.ones((batch, 1), jnp.int32), (0, slot)
        )
        positions = jnp.broadcast_to((next_position + state.step - 1)[:, None, None], (batch, 1, 3))
        hidden, cache = model.decode(state.token[:, None], positions, state.cache, slot, slots)
        choice = choose(hidden[:, 0], state.step)
        token, done, out = record(state.out, state.step, choice, state.done)
        return _State(state.step + 1, token, done, _shard(cache), slots, out)

    state = _State(jnp.int32(1), token, done, cache, slots, out)
    return jax.lax.while_loop(unfinished, advance, state).out


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
