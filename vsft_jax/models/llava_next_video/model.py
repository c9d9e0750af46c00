"""LLaVA-NeXT-Video: tower, projector and language model put together."""

from collections.abc import Mapping

from flax import nnx
from jax import Array

from vsft_jax.models.llava_next_video.config import ModelConfig
from vsft_jax.models.shared.decoder import Decoder
from vsft_jax.models.shared.projector import Projector
from vsft_jax.models.shared.vit import VisionTower
from vsft_jax.models.shared.vlm import VisionLanguageModel, gather, has_media, place
from vsft_jax.sharding import shard_rows


class LlavaNextVideo(VisionLanguageModel):
    """LLaVA-NeXT-Video (blog of 2024-04-30, llava-vl.github.io)."""

    def __init__(self, config: ModelConfig, *, rngs: nnx.Rngs):
        self.config = config
        self.visual = VisionTower(config, rngs=rngs)
        self.merger = Projector(config, newline=True, rngs=rngs)
        self.llm = Decoder(config, rngs=rngs)

    def embed(self, arrays: Mapping[str, Array]) -> tuple[Array, None]:
        """See `VisionLanguageModel.embed`. Features are pooled before they are projected."""
        x = shard_rows(self.llm.embed(arrays["tokens"]))
        if not has_media(arrays):
            return x, None
        features = self.visual(arrays["patches"], arrays["patch_coords"], arrays["patch_frames"])
        index = arrays["visual_index"]
        visual = self.merger(shard_rows(gather(features, index, arrays.get("visual_weights"))))
        return place(x, visual, index, self.merger.newline[...]), None
