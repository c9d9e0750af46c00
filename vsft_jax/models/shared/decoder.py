"""The language model of every family: a decoder-only transformer with rotary positions.

Llama, Vicuna, Qwen2, Qwen3 and Qwen3 MoE differ in the numbers and switches of `TextConfig` alone.
Follows transformers `models/{llama,qwen2,qwen2_5_vl,qwen3_vl,qwen3_vl_moe}/modeling_*.py`.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.sharding import AbstractMesh, PartitionSpec

from vsft_jax.models.shared.attention import attention
from vsft_jax.models.shared.block import Block
from vsft_jax.models.shared.config import ModelConfig
from vsft_jax.models.shared.experts import Load
from vsft_jax.models.shared.layers import Linear, RMSNorm, Rotary
from vsft_jax.models.shared.stacks import make_blocks, scan_stack
from vsft_jax.sharding import platform, position_axis, row_axes, shard_rows


class KVCache(NamedTuple):
    """Keys and values of every layer: float[layers, B, S, kv_heads, K] each, S slots a row.

    A slot's meaning (prompt, generated or empty) is kept by the caller, as segment ids.
    """

    keys: Array
    values: Array


class Attended(NamedTuple):
    """What n new tokens a row attend to, by the ids of slots.

    own, beginning: int32[B, n], the two ids that each of them looks at. slots: int32[B, S], ids of
    all slots, those of the new tokens included; an id that nobody looks at for empty ones.
    """

    own: Array
    beginning: Array
    slots: Array


def attend_to_cache(
    q: Array,
    new: KVCache | None,
    cache: KVCache,
    layer: Array,
    slot: Array,
    attended: Attended,
    **options: Any,
) -> tuple[Array, KVCache]:
    """What new tokens see in one layer of a cache, and the cache with their keys and values.

    Args:
        q: float[B, n, H, K]. new: [B, n, G, K] each, of the same tokens; None where the layer has
            none of its own.
        cache: of all layers. layer: int[]. slot: int[], from where on the new ones go.
        attended: which slots.
        **options: further arguments of `attention`.

    Returns:
        float[B, n, H, K], the cache.
    """
    if new is not None:
        start = (layer, 0, slot, 0, 0)
        cache = KVCache(
            *(
                jax.lax.dynamic_update_slice(kept, each[None], start)
                for kept, each in zip(cache, new, strict=True)
            )
        )
    out = attention(
        q,
        *(jax.lax.dynamic_index_in_dim(kept, layer, keepdims=False) for kept in cache),
        q_segment_ids=attended.own,
        kv_segment_ids=attended.slots,
        also_segment_ids=attended.beginning,
        **options,
    )
    return out, cache


class Embedding(nnx.Module):
    """Token ids to vectors."""

    def __init__(
        self, vocab_size: int, width: int, *, dtype: str, param_dtype: str, rngs: nnx.Rngs
    ):
        init = nnx.initializers.normal(width**-0.5)
        self.embedding = nnx.Param(init(rngs.params(), (vocab_size, width), param_dtype))
        self.dtype = dtype

    def __call__(self, tokens: Array) -> Array:
        """tokens: int[B, L] -> float[B, L, D]."""
        mesh, table = jax.sharding.get_abstract_mesh(), self.embedding[...]
        rows = row_axes(mesh, tokens.shape[0])
        split = mesh.shape["fsdp"] if "fsdp" in rows else 1
        if platform() == "tpu" and split > 1 and table.shape[1] % split == 0:
            return self._by_columns(table, tokens, mesh, rows)
        return self._look_up(table, tokens)

    def _look_up(self, table: Array, tokens: Array) -> Array:
        return jnp.take(table, tokens, axis=0, mode="clip").astype(self.dtype)

    def _by_columns(
        self, table: Array, tokens: Array, mesh: AbstractMesh, rows: tuple[str, ...]
    ) -> Array:
        """The same, each device looking up its columns for the tokens of all that share the table.

        The gradient is then added up in those columns. By itself the compiler has every device make
        one of the whole table, 2 GiB for Qwen2.5-VL-7B, and sums these.
        """
        positions = position_axis(mesh, tokens.shape[1])
        places = PartitionSpec(rows, positions)

        def on_device(columns: Array, tokens: Array) -> Array:
            everyone = jax.lax.all_gather(tokens, "fsdp", axis=0, tiled=True)
            found = self._look_up(columns, everyone)
            return jax.lax.all_to_all(found, "fsdp", split_axis=0, concat_axis=2, tiled=True)

        return jax.shard_map(
            on_device,
            in_specs=(PartitionSpec(None, "fsdp"), places),
            out_specs=PartitionSpec(rows, positions, None),
            axis_names={*rows, *([positions] if positions else [])},
            check_vma=False,
        )(table, tokens)


class Decoder(nnx.Module):
    """Embedding, transformer layers, final norm and (unless tied) the output matrix."""

    def __init__(self, config: ModelConfig, *, rngs: nnx.Rngs):
        text, param_dtype = config.text, config.param_dtype
        self.config = config
        self.embed = Embedding(
            *(text.vocab_size, text.width), dtype=config.dtype, param_dtype=param_dtype, rngs=rngs
        )
        self.layers = self.make_layers(rngs)
        self.norm = self.make_norm()
        head_options: dict[str, Any] = dict(bias=False, param_dtype=param_dtype, rngs=rngs)
        tied = text.tie_word_embeddings
        self.head = None if tied else Linear(text.width, text.vocab_size, **head_options)

    def make_layers(self, rngs: nnx.Rngs) -> Any:
        """The layers, in stacks."""
        text, param_dtype = self.config.text, self.config.param_dtype
        return make_blocks(text.depth, text.block, param_dtype=param_dtype, rngs=rngs)

    def make_norm(self) -> nnx.Module:
        """The normalisation of what the last layer gives."""
        text = self.config.text
        return RMSNorm(text.width, eps=text.norm_eps, param_dtype=self.config.param_dtype)

    def __call__(
        self, x: Array, positions: Array, segment_ids: Array, deepstack: Array | None = None
    ) -> tuple[Array, Load | None]:
        """Packed rows to final hidden states.

        Args:
            x: float[B, L, D].
            positions: int[B, L, 3].
            segment_ids: int[B, L], 0 = padding.
            deepstack: float[S, B, L, D], added to the hidden states after layers 0 … S - 1.

        Returns:
            float[B, L, D], and of a model with experts the load of each layer's, float32[layers, B,
            E], to which padding adds nothing; None of one without.
        """
        x, (_, load) = self._run(x, positions, segment_ids, deepstack, keep=False)
        return x, load

    def prefill(
        self, x: Array, positions: Array, segment_ids: Array, deepstack: Array | None = None
    ) -> tuple[Array, KVCache]:
        """As `__call__`, and the keys and values of all layers: a cache of S = L slots."""
        x, (cache, _) = self._run(x, positions, segment_ids, deepstack, keep=True)
        return x, cache

    def _run(
        self,
        x: Array,
        positions: Array,
        segment_ids: Array,
        deepstack: Array | None,
        keep: bool,
    ) -> tuple[Array, tuple[Any, Load | None]]:
        rotary, real = self._rotary(positions), segment_ids > 0

        def attend(q: Array, k: Array, v: Array) -> tuple[Array, Any]:
            out = attention(
                q,
                k,
                v,
                segment_ids=segment_ids,
                causal=True,
                implementation=self.config.attention,
            )
            return out, KVCache(k, v) if keep else None

        def step(block: Block, x: Array, layer: Array) -> tuple[Array, Any]:
            x, cache, load = block(shard_rows(x), rotary, attend, real)
            if deepstack is not None:
                # Indexed instead of scanned over: only S of the layers have something to add.
                last = deepstack.shape[0] - 1
                extra = jax.lax.dynamic_index_in_dim(
                    deepstack, jnp.minimum(layer, last), keepdims=False
                )
                x = x + jnp.where(layer <= last, extra, 0)
            return x, (cache, load)

        layers = jnp.arange(self.config.text.depth)
        x, extras = scan_stack(self.layers, step, x, layers, remat=self.config.remat)
        return self.norm(x), extras

    def decode(
        self,
        x: Array,
        positions: Array,
        cache: KVCache,
        slot: Array,
        attended: Attended,
        *,
        causal: bool = False,
    ) -> tuple[Array, KVCache]:
        """n new tokens a row: the next ones of several texts, or more text of several.

        Args:
            x: float[B, n, D].
            positions: int[B, n, 3].
            cache: S slots a row.
            slot: int[], from where on these tokens' keys and values go (the same in every row).
            attended: what they look at.
            causal: not at later ones of the n, which are then the last slots.

        Returns:
            float[B, n, D] and the cache with these tokens in it.
        """
        rotary = self._rotary(positions)

        # The cache travels through the layers whole, so that each writes its slots in place.
        def step(
            block: Block, carry: tuple[Array, KVCache], layer: Array
        ) -> tuple[tuple[Array, KVCache], None]:
            x, cache = carry

            def attend(q: Array, k: Array, v: Array) -> tuple[Array, KVCache]:
                return attend_to_cache(
                    *(q, KVCache(k, v), cache, layer, slot, attended),
                    causal=causal,
                    implementation=self.config.attention,
                )

            return block(x, rotary, attend)[:2], None

        layers = jnp.arange(self.config.text.depth)
        (x, cache), _ = scan_stack(self.layers, step, (x, cache), layers, remat="none")
        return self.norm(x), cache

    def unembed(self, hidden: Array) -> Array:
        """hidden: float[..., D] -> logits float32[..., V]."""
        kernel = self.output_kernel().astype(hidden.dtype)
        return jnp.dot(hidden, kernel, preferred_element_type=jnp.float32)

    def output_kernel(self) -> Array:
        """The matrix from hidden states to logits, float[D, V]."""
        return self.embed.embedding[...].T if self.head is None else self.head.kernel[...]

    def _rotary(self, positions: Array) -> Rotary:
        """M-RoPE (arXiv 2409.12191, section 2.1) or RoPE. positions: int[B, L, 3]."""
        text = self.config.text
        turned = positions.astype(jnp.float32)[..., text.position_axes()]
        return Rotary.of(turned * text.rotary_frequencies(), text.yarn_attention)
