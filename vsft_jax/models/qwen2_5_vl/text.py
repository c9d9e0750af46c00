"""Language model of Qwen2.5-VL: a Qwen2 decoder with three-dimensional rotary positions.

Follows transformers `models/qwen2_5_vl/modeling_qwen2_5_vl.py`.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array

from vsft_jax.models.attention import attention
from vsft_jax.models.layers import (
    Block,
    Linear,
    RMSNorm,
    Rotary,
    make_stack,
    rotary_frequencies,
    scan_stack,
    shard_rows,
)
from vsft_jax.models.qwen2_5_vl.config import ModelConfig


class KVCache(NamedTuple):
    """Keys and values of every layer: float[layers, B, S, kv_heads, K] each, S slots a row.

    A slot's meaning (prompt, generated or empty) is kept by the caller, as segment ids.
    """

    keys: Array
    values: Array


class Embedding(nnx.Module):
    """Token ids to vectors."""

    def __init__(self, config: ModelConfig, *, rngs: nnx.Rngs):
        init = nnx.initializers.normal(config.text.width**-0.5)
        shape = (config.text.vocab_size, config.text.width)
        self.embedding = nnx.Param(init(rngs.params(), shape, config.param_dtype))
        self.dtype = config.dtype

    def __call__(self, tokens: Array) -> Array:
        """tokens: int[B, L] -> float[B, L, D]."""
        return jnp.take(self.embedding[...], tokens, axis=0, mode="clip").astype(self.dtype)


class Decoder(nnx.Module):
    """Embedding, transformer layers, final norm and (unless tied) the output matrix."""

    def __init__(self, config: ModelConfig, *, rngs: nnx.Rngs):
        text = config.text

        def make_block(rngs: nnx.Rngs) -> Block:
            return Block(
                width=text.width,
                mlp_width=text.mlp_width,
                heads=text.heads,
                kv_heads=text.kv_heads,
                head_dim=text.head_dim,
                bias=False,
                norm_eps=text.norm_eps,
                param_dtype=config.param_dtype,
                rngs=rngs,
            )

        self.config = config
        self.embed = Embedding(config, rngs=rngs)
        self.layers = make_stack(text.depth, make_block, rngs)
        self.norm = RMSNorm(text.width, eps=text.norm_eps, param_dtype=config.param_dtype)
        head_options = dict(bias=False, param_dtype=config.param_dtype, rngs=rngs)
        tied = text.tie_word_embeddings
        self.head = None if tied else Linear(text.width, text.vocab_size, **head_options)

    def __call__(self, x: Array, positions: Array, segment_ids: Array) -> Array:
        """x: float[B, L, D], positions: int[B, L, 3], segment_ids: int[B, L] -> float[B, L, D]."""
        hidden, _ = self._run(x, positions, segment_ids, keep=False)
        return hidden

    def prefill(self, x: Array, positions: Array, segment_ids: Array) -> tuple[Array, KVCache]:
        """As `__call__`, and the keys and values of all layers: a cache of S = L slots."""
        return self._run(x, positions, segment_ids, keep=True)

    def _run(self, x: Array, positions: Array, segment_ids: Array, keep: bool):
        rotary = self._rotary(positions)

        def attend(q, k, v):
            out = attention(
                q,
                k,
                v,
                segment_ids=segment_ids,
                causal=True,
                implementation=self.config.attention,
            )
            return out, KVCache(k, v) if keep else None

        def step(block: Block, x: Array, _):
            return block(shard_rows(x), rotary, attend)

        x, cache = scan_stack(self.layers, step, x, remat=self.config.remat)
        return self.norm(x), cache

    def decode(
        self, x: Array, positions: Array, cache: KVCache, slot: Array, slot_segments: Array
    ) -> tuple[Array, KVCache]:
        """One new token a row.

        Args:
            x: float[B, 1, D].
            positions: int[B, 1, 3].
            cache: S slots a row.
            slot: int[], where this token's key and value go (the same in every row).
            slot_segments: int[B, S], 1 for the slots to attend to, `slot` included; else 0.

        Returns:
            float[B, 1, D] and the cache with this token in it.
        """
        rotary = self._rotary(positions)
        ones = jnp.ones(x.shape[:2], slot_segments.dtype)

        # The cache travels through the layers whole, so that each writes its one slot in place.
        def step(block: Block, carry, layer):
            x, cache = carry

            def attend(q, k, v):
                keys = jax.lax.dynamic_update_slice(cache.keys, k[None], (layer, 0, slot, 0, 0))
                values = jax.lax.dynamic_update_slice(cache.values, v[None], (layer, 0, slot, 0, 0))
                out = attention(
                    q,
                    jax.lax.dynamic_index_in_dim(keys, layer, keepdims=False),
                    jax.lax.dynamic_index_in_dim(values, layer, keepdims=False),
                    q_segment_ids=ones,
                    kv_segment_ids=slot_segments,
                    implementation=self.config.attention,
                )
                return out, KVCache(keys, values)

            return block(x, rotary, attend), None

        layers = jnp.arange(self.config.text.depth)
        (x, cache), _ = scan_stack(self.layers, step, (x, cache), layers, remat="none")
        return self.norm(x), cache

    def unembed(self, hidden: Array) -> Array:
        """hidden: float[..., D] -> logits float32[..., V]."""
        kernel = self.embed.embedding[...].T if self.head is None else self.head.kernel[...]
        return jnp.dot(hidden, kernel.astype(hidden.dtype), preferred_element_type=jnp.float32)

    def _rotary(self, positions: Array) -> Rotary:
        """M-RoPE (arXiv 2409.12191, section 2.1). positions: int[B, L, 3]."""
        text = self.config.text
        axis = np.repeat(np.arange(3), text.mrope_section)
        frequencies = rotary_frequencies(text.head_dim, text.rope_theta)
        return Rotary.of(positions.astype(jnp.float32)[..., axis] * frequencies)
