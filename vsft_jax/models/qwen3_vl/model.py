"""Qwen3-VL: tower, projector and language model put together."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from vsft_jax.models.qwen3_vl.config import ModelConfig
from vsft_jax.models.qwen3_vl.vision import Projector, TappedTower
from vsft_jax.models.shared.decoder import Decoder
from vsft_jax.models.shared.vlm import VisionLanguageModel, gather, has_media, insert
from vsft_jax.sharding import shard_rows


class Qwen3VL(VisionLanguageModel):
    """Qwen3-VL (arXiv 2511.21631)."""

    def __init__(self, config: ModelConfig, *, rngs: nnx.Rngs):
        self.config = config
        self.visual = TappedTower(config, rngs=rngs)
        self.merger = Projector(config, rngs=rngs)
        self.llm = Decoder(config, rngs=rngs)

    def embed(self, arrays: Mapping[str, Array]) -> tuple[Array, Array | None]:
        """See `VisionLanguageModel.embed`; added are the features of the tapped layers, where
        visual tokens stand."""
        x = shard_rows(self.llm.embed(arrays["tokens"]))
        if not has_media(arrays):
            return x, None
        features = self.visual.tapped(
            arrays["patches"], arrays["patch_coords"], arrays["patch_frames"]
        )
        merged, tapped = self.merger.both(*features)
        index = arrays["visual_index"]

        def put(x: Array, merged: Array) -> Array:
            return insert(x, gather(merged, index, None), index)

        return put(x, merged), jax.vmap(lambda each: put(jnp.zeros_like(x), each))(tapped)
