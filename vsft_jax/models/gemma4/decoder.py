"""The language model of Gemma 4: sliding and full layers, of which the last share keys and values.

Follows transformers `models/gemma4/modeling_gemma4.py`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.ad_checkpoint import checkpoint_name

from vsft_jax.models.gemma4.config import LayerSpec, ModelConfig, TextConfig
from vsft_jax.models.gemma4.layers import AroundNorms, heads, linear_options, normalise, unscaled
from vsft_jax.models.gemma4.mixture import Mixture
from vsft_jax.models.shared.attention import attention
from vsft_jax.models.shared.decoder import Attended, Embedding, KVCache, attend_to_cache
from vsft_jax.models.shared.experts import Load
from vsft_jax.models.shared.layers import ACTIVATIONS, Linear, Mlp, RMSNorm, Rotary
from vsft_jax.models.shared.stacks import make_stack, scan_mixed
from vsft_jax.sharding import shard_rows

_ACTIVATION = "gelu_tanh"
# What a layer does with its queries, keys and values; None for keys and values that it has not.
_Attend = Callable[[Array, Array | None, Array | None], tuple[Array, Any]]


class Beside(NamedTuple):
    """What the layers look at beside the stream.

    inputs: float[layers, B, L, P], each layer's own of every token; None where there are none.
    ahead: int32[B, L], how many of the next positions belong to the same picture or frame; None
        where pictures are read like text.
    """

    inputs: Array | None
    ahead: Array | None


class Cache(NamedTuple):
    """Keys and values of the layers that have their own, by kind, and positions of their slots.

    sliding, full: see `KVCache`. positions: int32[1, B, S].
    """

    sliding: KVCache
    full: KVCache
    positions: Array


class LayerInput(nnx.Module):
    """What a layer makes of its own input of every token."""

    def __init__(self, text: TextConfig, *, param_dtype: str, rngs: nnx.Rngs):
        options = linear_options(param_dtype, rngs)
        self.gate = Linear(text.width, text.layer_input_width, **options)
        self.proj = Linear(text.layer_input_width, text.width, **options)
        self.norm = RMSNorm(text.width, eps=text.norm_eps, param_dtype=param_dtype)

    def __call__(self, x: Array, inputs: Array) -> Array:
        """x: float[B, L, D], inputs: float[B, L, P] -> float[B, L, D], to be added."""
        return self.norm(self.proj(ACTIVATIONS[_ACTIVATION](self.gate(x)) * inputs))


class BesideMlp(nnx.Module):
    """Experts beside an MLP, and the normalisations of the outputs of both and of their inputs."""

    def __init__(self, text: TextConfig, *, param_dtype: str, rngs: nnx.Rngs):
        self.mixture = Mixture(text, param_dtype=param_dtype, rngs=rngs)
        self.norm, self.post_norm, self.mlp_norm = (
            RMSNorm(text.width, eps=text.norm_eps, param_dtype=param_dtype) for _ in range(3)
        )

    def __call__(self, x: Array, mlp: Array, real: Array | None) -> tuple[Array, Load]:
        """x: float[B, L, D], the stream; mlp: float[B, L, D], what the MLP made of it; real:
        bool[B, L] -> float[B, L, D] of both, the load."""
        y, load = self.mixture(self.norm(x), real, seen=x)
        return self.mlp_norm(mlp) + self.post_norm(y), load


class Layer(AroundNorms):
    """One layer. `scalar` multiplies what it gives on and does not train."""

    k: Linear | None
    k_norm: RMSNorm | None

    def __init__(self, text: TextConfig, spec: LayerSpec, *, param_dtype: str, rngs: nnx.Rngs):
        super().__init__(text.width, eps=text.norm_eps, param_dtype=param_dtype)
        options = linear_options(param_dtype, rngs)
        inner, kv_inner = (count * spec.head_dim for count in (spec.heads, spec.kv_heads))

        def head_norm() -> RMSNorm:
            return RMSNorm(spec.head_dim, eps=text.norm_eps, param_dtype=param_dtype)

        self.q, self.q_norm = Linear(text.width, inner, **options), head_norm()
        if spec.shared:
            self.k = self.k_norm = None
        else:
            self.k, self.k_norm = Linear(text.width, kv_inner, **options), head_norm()
        own_values = not spec.shared and not spec.k_eq_v
        self.v = Linear(text.width, kv_inner, **options) if own_values else None
        self.o = Linear(inner, text.width, **options)
        self.mlp = Mlp(text.width, spec.mlp_width, activation=_ACTIVATION, gated=True, **options)
        beside = BesideMlp(text, param_dtype=param_dtype, rngs=rngs) if text.experts else None
        self.beside = beside
        own_inputs = text.layer_input_width > 0
        self.inputs = LayerInput(text, param_dtype=param_dtype, rngs=rngs) if own_inputs else None
        self.scalar = nnx.Param(jnp.ones((1,), param_dtype))
        self.head_dim, self.eps = spec.head_dim, text.norm_eps

    def __call__(
        self,
        x: Array,
        rotary: Rotary,
        attend: _Attend,
        inputs: Array | None,
        real: Array | None = None,
    ) -> tuple[Array, Any, Load | None]:
        """x: float[B, L, D] -> float[B, L, D], attend's extra, the load of the experts if any.

        attend: gets None for keys and values that the layer does not have. inputs: float[B, L, P].
        real: bool[B, L], tokens that are no padding; None: all are real.
        """
        y = self.norm1(x)
        q = checkpoint_name(unscaled(rotary(self.q_norm(heads(self.q, y, self.head_dim)))), "qkv")
        k = v = None
        if self.k is not None and self.k_norm is not None:
            k = heads(self.k, y, self.head_dim)
            v = k if self.v is None else heads(self.v, y, self.head_dim)
            k = checkpoint_name(rotary(self.k_norm(k)), "qkv")
            v = checkpoint_name(normalise(v, self.eps), "qkv")
        out, extra = attend(q, k, v)
        x = x + self.post_norm1(self.o(out.reshape(*out.shape[:-2], -1)))
        y, load = self.mlp(self.norm2(x)), None
        if self.beside is not None:
            y, load = self.beside(x, y, real)
        x = x + self.post_norm2(y)
        if self.inputs is not None and inputs is not None:
            x = x + self.inputs(x, inputs)
        return x * jax.lax.stop_gradient(self.scalar[...].astype(x.dtype)), extra, load


class Decoder(nnx.Module):
    """Embeddings, layers, final norm and (unless tied) the output matrix."""

    layer_embed: Embedding | None
    layer_proj: Linear | None
    layer_norm: RMSNorm | None

    def __init__(self, config: ModelConfig, *, rngs: nnx.Rngs):
        text, param_dtype = config.text, config.param_dtype
        options, vocab = linear_options(param_dtype, rngs), text.vocab_size
        embed: dict[str, Any] = dict(dtype=config.dtype, param_dtype=param_dtype, rngs=rngs)
        self.config = config
        self.embed = Embedding(vocab, text.width, **embed)
        if width := text.layer_input_width:
            self.layer_embed = Embedding(vocab, text.depth * width, **embed)
            self.layer_proj = Linear(text.width, text.depth * width, **options)
            self.layer_norm = RMSNorm(width, eps=text.norm_eps, param_dtype=param_dtype)
        else:
            self.layer_embed = self.layer_proj = self.layer_norm = None

        def stack(kind: str) -> Any:
            def make(rngs: nnx.Rngs) -> Layer:
                return Layer(text, text.spec(kind), param_dtype=param_dtype, rngs=rngs)

            return make_stack(len(text.layers_of(kind)), make, rngs)

        self.layers = nnx.Dict({kind: stack(kind) for kind in dict.fromkeys(text.kinds)})
        self.norm = RMSNorm(text.width, eps=text.norm_eps, param_dtype=param_dtype)
        tied = text.tie_word_embeddings
        self.head = None if tied else Linear(text.width, vocab, **options)

    def embedded(self, tokens: Array) -> Array:
        """tokens: int[B, L] -> float[B, L, D], input of the layers where they are text."""
        x = self._looked_up(self.embed, tokens)
        return x * jnp.asarray(self.config.text.width**0.5, x.dtype)

    def _looked_up(self, table: Embedding, tokens: Array) -> Array:
        """As `table` has it. What stands in a place without a token does not train."""
        found, pad = table(tokens), tokens == self.config.text.pad_id
        return jnp.where(pad[..., None], jax.lax.stop_gradient(found), found)

    def layer_inputs(self, tokens: Array, x: Array) -> Array | None:
        """Each layer's own input of every token.

        Args:
            tokens: int[B, L], `pad_id` where visual tokens stand.
            x: float[B, L, D], the layers' input, visual tokens in their places.

        Returns:
            float[layers, B, L, P], or None where layers have none.
        """
        if self.layer_embed is None or self.layer_proj is None or self.layer_norm is None:
            return None
        text = self.config.text

        def by_layer(y: Array, factor: float) -> Array:
            return (y * jnp.asarray(factor, y.dtype)).reshape(*y.shape[:-1], text.depth, -1)

        seen = self.layer_norm(by_layer(self.layer_proj(x), text.width**-0.5))
        known = by_layer(self._looked_up(self.layer_embed, tokens), text.layer_input_width**0.5)
        return jnp.moveaxis((seen + known) * jnp.asarray(2**-0.5, x.dtype), 2, 0)

    def __call__(
        self, x: Array, positions: Array, segment_ids: Array, beside: Beside
    ) -> tuple[Array, Load | None]:
        """Packed rows to final hidden states.

        Args:
            x: float[B, L, D].
            positions: int[B, L, 3].
            segment_ids: int[B, L], 0 = padding.
            beside: see `Beside`.

        Returns:
            float[B, L, D], and of a model with experts the load of each layer's, float32[layers, B,
            E], those of a kind together; None of one without.
        """
        x, _, load = self._run(x, positions, segment_ids, beside, keep=False)
        return x, load

    def prefill(
        self, x: Array, positions: Array, segment_ids: Array, beside: Beside
    ) -> tuple[Array, Cache]:
        """As `__call__`, and what goes on from there: a cache of S = L slots."""
        x, found, _ = self._run(x, positions, segment_ids, beside, keep=True)
        return x, Cache(found["sliding"], found["full"], positions[None, ..., 0])

    def _run(
        self, x: Array, positions: Array, segment_ids: Array, beside: Beside, keep: bool
    ) -> tuple[Array, dict[str, KVCache], Load | None]:
        text, rotaries, real = self.config.text, self._rotaries(positions), segment_ids > 0
        first_shared = text.depth - text.shared_layers
        own = text.kinds[:first_shared]
        last: dict[str, KVCache] = {}

        def step(
            kind: str, layer: Layer, x: Array, given: tuple[Array, Array | None]
        ) -> tuple[Array, Any]:
            spec = text.spec(kind)
            name = kind.removesuffix("_shared")

            def attend(q: Array, k: Array | None, v: Array | None) -> tuple[Array, Any]:
                if k is None or v is None:
                    k, v = (each[0] for each in last[name])
                out = attention(
                    q,
                    k,
                    v,
                    segment_ids=segment_ids,
                    causal=True,
                    window=spec.window,
                    ahead=None if spec.window is None else beside.ahead,
                    implementation=self.config.attention,
                )
                return out, None if spec.shared else KVCache(k, v)

            x, kept, load = layer(shard_rows(x), rotaries[name], attend, given[1], real)
            return x, (kept if keep or text.shared_layers else None, load)

        def run(x: Array, layers: slice, **options: Any) -> tuple[Array, dict[str, Any]]:
            inputs = None if beside.inputs is None else beside.inputs[layers]
            order = text.kinds[layers]
            remat = self.config.remat
            return scan_mixed(self.layers, step, x, order, inputs, remat=remat, **options)

        last_only = not (keep or text.experts)
        x, extras = run(x, slice(0, len(own)), last_only=last_only)
        found = {kind: kept for kind, (kept, _) in extras.items()}
        if text.shared_layers:
            last |= {kind: jax.tree.map(lambda p: p[-1:], kv) for kind, kv in found.items()}
            x, _ = run(x, slice(first_shared, None))
        loads = [load for _, load in extras.values()]
        load = jax.tree.map(lambda *x: jnp.concatenate(x), *loads) if text.experts else None
        return self.norm(x), found, load

    def decode(
        self,
        x: Array,
        positions: Array,
        cache: Cache,
        slot: Array,
        attended: Attended,
        inputs: Array | None,
        *,
        causal: bool = False,
    ) -> tuple[Array, Cache]:
        """n new tokens a row: the next ones of several texts, or more text of several.

        Arguments as in `shared.decoder.Decoder.decode`; inputs: float[layers, B, n, P].
        """
        text, rotaries = self.config.text, self._rotaries(positions)
        places = jax.lax.dynamic_update_slice(
            cache.positions, positions[None, ..., 0], (0, 0, slot)
        )
        near = (positions[..., 0], places[0])

        # The cache travels through the layers whole, so that each writes its slots in place.
        Carry = tuple[Array, dict[str, KVCache]]

        def step(
            kind: str, layer: Layer, carry: Carry, given: tuple[Array, Array | None]
        ) -> tuple[Carry, None]:
            x, caches = carry
            spec, (place, own_inputs) = text.spec(kind), given
            name = kind.removesuffix("_shared")

            def attend(q: Array, k: Array | None, v: Array | None) -> tuple[Array, KVCache]:
                new, at = None, jnp.int32(len(text.layers_of(name)) - 1)
                if k is not None and v is not None:
                    new, at = KVCache(k, v), place
                return attend_to_cache(
                    *(q, new, caches[name], at, slot, attended),
                    causal=causal,
                    window=spec.window,
                    positions=None if spec.window is None else near,
                    implementation=self.config.attention,
                )

            x, kept, _ = layer(x, rotaries[name], attend, own_inputs)
            return (x, caches | {name: kept}), None

        caches = {"sliding": cache.sliding, "full": cache.full}
        first_shared = text.depth - text.shared_layers
        carry: Carry = (x, caches)
        for layers in (slice(0, first_shared), slice(first_shared, text.depth)):
            if order := text.kinds[layers]:
                given = None if inputs is None else inputs[layers]
                carry, _ = scan_mixed(self.layers, step, carry, order, given, remat="none")
        x, caches = carry
        return self.norm(x), Cache(caches["sliding"], caches["full"], places)

    def unembed(self, hidden: Array) -> Array:
        """hidden: float[..., D] -> logits float32[..., V]."""
        kernel = self.output_kernel().astype(hidden.dtype)
        logits = jnp.dot(hidden, kernel, preferred_element_type=jnp.float32)
        cap = self.config.text.logit_cap
        return cap * jnp.tanh(logits / cap) if cap else logits

    def output_kernel(self) -> Array:
        """The matrix from hidden states to logits before they are capped, float[D, V]."""
        return self.embed.embedding[...].T if self.head is None else self.head.kernel[...]

    def _rotaries(self, positions: Array) -> dict[str, Rotary]:
        """By kind of layer. positions: int[B, L, 3], of which text has one."""
        text, place = self.config.text, positions[..., :1].astype(jnp.float32)
        return {
            "sliding": Rotary.of(place * text.rotary_frequencies()),
            "full": Rotary.of(place * text.full_frequencies()),
        }
