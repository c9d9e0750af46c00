"""The language model of Qwen3.5: of every few layers one attends, the others carry a state.

Follows transformers `models/qwen3_5/modeling_qwen3_5.py`.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.ad_checkpoint import checkpoint_name

from vsft_jax.models.qwen3_5.architecture import FULL, LINEAR, TextConfig
from vsft_jax.models.qwen3_5.config import ModelConfig
from vsft_jax.models.qwen3_5.mixer import DeltaMixer, Memory
from vsft_jax.models.qwen3_5.mixture import Mixture, mlp
from vsft_jax.models.shared import decoder
from vsft_jax.models.shared.attention import attention
from vsft_jax.models.shared.block import Attend
from vsft_jax.models.shared.decoder import Attended, KVCache
from vsft_jax.models.shared.experts import Load
from vsft_jax.models.shared.layers import Linear, Mlp, Rotary, unit_rms
from vsft_jax.models.shared.stacks import make_stack, scan_mixed
from vsft_jax.sharding import shard_rows


class Cache(NamedTuple):
    """What generation goes on from. full: keys and values of the full layers. linear: of the other
    layers, float[layers, …], the texts' n memories."""

    full: KVCache
    linear: Memory


class CentredNorm(nnx.Module):
    """Root-mean-square normalisation over the last axis, in float32, times 1 + scale."""

    def __init__(self, width: int, *, eps: float, param_dtype: str):
        self.scale = nnx.Param(jnp.zeros((width,), param_dtype))
        self.eps = eps

    def __call__(self, x: Array) -> Array:
        # As of low precision where the model is: what decoding reads may be stored so.
        scale = self.scale[...].astype(x.dtype).astype(jnp.float32)
        return (unit_rms(x, self.eps) * (1 + scale)).astype(x.dtype)


class _Layer(nnx.Module):
    """What layers of both kinds have: normalisations, and an MLP or experts."""

    def __init__(self, text: TextConfig, *, param_dtype: str, rngs: nnx.Rngs):
        self.norm1, self.norm2 = (
            CentredNorm(text.width, eps=text.norm_eps, param_dtype=param_dtype) for _ in range(2)
        )
        options: dict[str, Any] = dict(param_dtype=param_dtype, rngs=rngs)
        if text.experts:
            self.mlp: Mlp | Mixture = Mixture(text, **options)
        else:
            self.mlp = mlp(text.width, text.mlp_width, **options)

    def add(self, x: Array, mixed: Array, real: Array | None) -> tuple[Array, Load | None]:
        """The stream with what was mixed and what the MLP makes of both; the load of the experts if
        any. real: bool[B, L], tokens that are no padding; None: all are."""
        x, load = x + mixed, None
        y = self.norm2(x)
        if isinstance(self.mlp, Mixture):
            y, load = self.mlp(y, real)
        else:
            y = self.mlp(y)
        return x + y, load


class LinearLayer(_Layer, DeltaMixer):
    """A layer that carries states along texts."""

    def __init__(self, text: TextConfig, *, param_dtype: str, rngs: nnx.Rngs):
        _Layer.__init__(self, text, param_dtype=param_dtype, rngs=rngs)
        DeltaMixer.__init__(self, text, param_dtype=param_dtype, rngs=rngs)

    def __call__(
        self, x: Array, segment_ids: Array, memory: Memory | None
    ) -> tuple[Array, Memory | None, Load | None]:
        """x: float[B, L, D] -> float[B, L, D], memory, load; the rest as in `DeltaMixer.mix`."""
        mixed, memory = self.mix(self.norm1(x), segment_ids, memory)
        x, load = self.add(x, mixed, segment_ids > 0)
        return x, memory, load


class FullLayer(_Layer):
    """A layer that attends. Each head's queries have a gate for its output beside them."""

    def __init__(self, text: TextConfig, *, param_dtype: str, rngs: nnx.Rngs):
        super().__init__(text, param_dtype=param_dtype, rngs=rngs)
        inner, kv_inner = (count * text.head_dim for count in (text.heads, text.kv_heads))

        def linear(inputs: int, outputs: int) -> Linear:
            return Linear(inputs, outputs, bias=False, param_dtype=param_dtype, rngs=rngs)

        self.q = linear(text.width, 2 * inner)
        self.k, self.v = (linear(text.width, kv_inner) for _ in range(2))
        self.q_norm, self.k_norm = (
            CentredNorm(text.head_dim, eps=text.norm_eps, param_dtype=param_dtype) for _ in range(2)
        )
        self.o = linear(inner, text.width)
        self.head_dim = text.head_dim

    def __call__(
        self, x: Array, rotary: Rotary, attend: Attend, real: Array
    ) -> tuple[Array, Any, Load | None]:
        """x: float[B, L, D] -> float[B, L, D], attend's extra, load. real: see `_Layer.add`."""
        y = self.norm1(x)

        def heads(linear: Linear, width: int) -> Array:
            return linear(y).reshape(*y.shape[:-1], -1, width)

        q, gate = jnp.split(heads(self.q, 2 * self.head_dim), 2, axis=-1)
        k, v = heads(self.k, self.head_dim), heads(self.v, self.head_dim)
        q, k = rotary(self.q_norm(q)), rotary(self.k_norm(k))
        q, k, v = (checkpoint_name(each, "qkv") for each in (q, k, v))
        out, extra = attend(q, k, v)
        out = out * jax.nn.sigmoid(gate)
        x, load = self.add(x, self.o(out.reshape(*out.shape[:-2], -1)), real)
        return x, extra, load


_LAYERS: dict[str, type[LinearLayer] | type[FullLayer]] = {LINEAR: LinearLayer, FULL: FullLayer}


class Decoder(decoder.Decoder):
    """Embedding, layers of two kinds, final norm and (unless tied) the output matrix."""

    config: ModelConfig

    def make_layers(self, rngs: nnx.Rngs) -> nnx.Dict:
        """See `shared.decoder.Decoder.make_layers`."""
        text, param_dtype = self.config.text, self.config.param_dtype

        def stack(kind: str) -> Any:
            def make(rngs: nnx.Rngs) -> nnx.Module:
                return _LAYERS[kind](text, param_dtype=param_dtype, rngs=rngs)

            return make_stack(len(text.layers_of(kind)), make, rngs)

        return nnx.Dict({kind: stack(kind) for kind in dict.fromkeys(text.kinds)})

    def make_norm(self) -> CentredNorm:
        """See `shared.decoder.Decoder.make_norm`."""
        text = self.config.text
        return CentredNorm(text.width, eps=text.norm_eps, param_dtype=self.config.param_dtype)

    def __call__(
        self, x: Array, positions: Array, segment_ids: Array, deepstack: Array | None = None
    ) -> tuple[Array, Load | None]:
        """See `shared.decoder.Decoder`; loads of a kind of layers together."""
        x, _, load = self._through(x, positions, segment_ids, None)
        return x, load

    def begin(
        self, x: Array, positions: Array, segment_ids: Array, texts: int
    ) -> tuple[Array, Cache]:
        """As `__call__`, and what goes on from there: of S = L slots, and of segments 1 … texts."""
        x, found, _ = self._through(x, positions, segment_ids, texts)
        return x, Cache(found[FULL], found[LINEAR])

    def _through(
        self, x: Array, positions: Array, segment_ids: Array, texts: int | None
    ) -> tuple[Array, dict[str, Any], Load | None]:
        """texts: see `begin`; None: nothing goes on."""
        rotary = self._rotary(positions)
        memory = None if texts is None else self._empty(x, texts)

        def attend(q: Array, k: Array, v: Array) -> tuple[Array, KVCache | None]:
            out = attention(
                q,
                k,
                v,
                segment_ids=segment_ids,
                causal=True,
                implementation=self.config.attention,
            )
            return out, None if texts is None else KVCache(k, v)

        def step(kind: str, layer: LinearLayer | FullLayer, x: Array, _: Any) -> tuple[Array, Any]:
            x = shard_rows(x)
            if isinstance(layer, LinearLayer):
                x, kept, load = layer(x, segment_ids, memory)
            else:
                x, kept, load = layer(x, rotary, attend, segment_ids > 0)
            return x, (kept, load)

        text, remat = self.config.text, self.config.remat
        x, extras = scan_mixed(self.layers, step, x, text.kinds, remat=remat)
        loads = [load for _, load in extras.values()]
        load = jax.tree.map(lambda *x: jnp.concatenate(x), *loads) if text.experts else None
        return self.norm(x), {kind: kept for kind, (kept, _) in extras.items()}, load

    def _empty(self, x: Array, texts: int) -> Memory:
        """Before the beginning of so many texts a row. x: float[B, L, D]."""
        text, groups = self.config.text, self.config.text.state_key_heads
        heads, shape = text.state_heads // groups, (x.shape[0], texts, groups)
        channels = 2 * text.state_key_dim + heads * text.state_dim
        states = jnp.zeros((*shape, heads, text.state_key_dim, text.state_dim), jnp.float32)
        return Memory(states, jnp.zeros((*shape, text.taps - 1, channels), x.dtype))

    def decode(
        self,
        x: Array,
        positions: Array,
        cache: Any,
        slot: Array,
        attended: Attended,
        *,
        causal: bool = False,
    ) -> tuple[Array, Any]:
        """n new tokens a row: as in `shared.decoder.Decoder.decode`.

        With `causal` the texts 1 … n of `attended.own` begin here, each where the segment that
        `attended.beginning` says ended; otherwise they go on.
        """
        rotary, ids = self._rotary(positions), attended.own
        memories = cache.linear
        if causal:
            memories = jax.tree.map(lambda x: _of_beginnings(x, attended), memories)

        # The cache travels through the layers whole, so that each writes its part in place.
        Carry = tuple[Array, Cache]

        def step(
            kind: str, layer: LinearLayer | FullLayer, carry: Carry, given: tuple[Array, None]
        ) -> tuple[Carry, None]:
            (x, (full, linear)), (place, _) = carry, given
            if isinstance(layer, LinearLayer):
                mine = jax.tree.map(
                    lambda x: jax.lax.dynamic_index_in_dim(x, place, keepdims=False), linear
                )
                x, after, _ = layer(x, ids, mine)
                linear = jax.tree.map(
                    lambda x, new: jax.lax.dynamic_update_index_in_dim(x, new, place, 0),
                    linear,
                    after,
                )
                return (x, Cache(full, linear)), None

            def attend(q: Array, k: Array, v: Array) -> tuple[Array, KVCache]:
                return decoder.attend_to_cache(
                    *(q, KVCache(k, v), full, place, slot, attended),
                    causal=causal,
                    implementation=self.config.attention,
                )

            x, full, _ = layer(x, rotary, attend, ids > 0)
            return (x, Cache(full, linear)), None

        carry = (x, Cache(cache.full, memories))
        kinds = self.config.text.kinds
        (x, cache), _ = scan_mixed(self.layers, step, carry, kinds, remat="none")
        return self.norm(x), cache


def _of_beginnings(kept: Array, attended: Attended) -> Array:
    """What each text begins with. kept: [layers, B, n, …], by segment -> the same, by text."""
    names = jnp.arange(1, kept.shape[2] + 1)
    mine = attended.own[:, None, :] == names[:, None]  # [B, n, tokens]
    segments = jnp.where(mine, -attended.beginning[:, None, :], 0).max(axis=-1)
    place = jnp.maximum(segments - 1, 0)
    place = place.reshape(1, *place.shape, *[1] * (kept.ndim - 3))
    begun = jnp.take_along_axis(kept, place, axis=2)
    there = (segments > 0).reshape(place.shape)
    return jnp.where(there, begun, 0)
