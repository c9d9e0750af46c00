"""Qwen2.5-VL: tower, projector and language model put together."""

from collections.abc import Mapping

import jax.numpy as jnp
from flax import nnx
from jax import Array

from vsft_jax.models.layers import shard_rows
from vsft_jax.models.qwen2_5_vl.config import ModelConfig
from vsft_jax.models.qwen2_5_vl.text import Decoder, KVCache
from vsft_jax.models.qwen2_5_vl.vision import Merger, VisionTower


class Qwen2_5VL(nnx.Module):  # noqa: N801 (the model's own name)
    """A pure function of parameters and fixed-size arrays: one compilation serves any media.

    Use it in functional form, under `jax.jit` or `jax.eval_shape` at full size:

        model = Qwen2_5VL(config, rngs=nnx.Rngs(0))
        graphdef, params = nnx.split(model)
        hidden = nnx.merge(graphdef, params).hidden_states(arrays)

    The attributes `visual`, `merger` and `llm` are the first part of every parameter's path.
    """

    def __init__(self, config: ModelConfig, *, rngs: nnx.Rngs):
        self.config = config
        self.visual = VisionTower(config, rngs=rngs)
        self.merger = Merger(config, rngs=rngs)
        self.llm = Decoder(config, rngs=rngs)

    def hidden_states(self, arrays: Mapping[str, Array]) -> Array:
        """Final hidden states of packed rows.

        Args:
            arrays: fields of `Batch` (input_pipeline/batches.py): tokens int32[B, L], positions
                int32[B, L, 3], segment_ids int32[B, L], and for rows with media visual_index
                int32[B, L], patches uint8[B, N, C], patch_coords int32[B, N, 2], patch_frames
                int32[B, N], patch_windows int32[B, N]. Other fields are not looked at.

        Returns:
            float[B, L, D] in the config's dtype.
        """
        return self.llm(self.embed(arrays), arrays["positions"], arrays["segment_ids"])

    def prefill(self, arrays: Mapping[str, Array]) -> tuple[Array, KVCache]:
        """`hidden_states`, and the keys and values to go on from."""
        return self.llm.prefill(self.embed(arrays), arrays["positions"], arrays["segment_ids"])

    def decode(
        self, tokens: Array, positions: Array, cache: KVCache, slot: Array, slot_segments: Array
    ) -> tuple[Array, KVCache]:
        """One more token a row: tokens int32[B, 1]; the rest as in `Decoder.decode`."""
        x = self.llm.embed(tokens)
        return self.llm.decode(x, positions, cache, slot, slot_segments)

    def unembed(self, hidden: Array) -> Array:
        """hidden: float[..., D] -> logits float32[..., V]."""
        return self.llm.unembed(hidden)

    def embed(self, arrays: Mapping[str, Array]) -> Array:
        """Input of the LLM, visual tokens in their places: float[B, L, D]."""
        x = shard_rows(self.llm.embed(arrays["tokens"]))
        if "patches" not in arrays or arrays["patches"].shape[1] == 0:
            return x
        features = self.visual(
            arrays["patches"],
            arrays["patch_coords"],
            arrays["patch_frames"],
            arrays["patch_windows"],
        )
        merged = shard_rows(self.merger(features))
        index = arrays["visual_index"][..., None]
        visual = jnp.take_along_axis(merged, jnp.maximum(index, 0), axis=1, mode="clip")
        return jnp.where(index >= 0, visual, x)
