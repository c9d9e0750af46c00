"""LLaVA-1.5: tower, projector and language model put together."""

from collections.abc import Mapping

from flax import nnx
from jax import Array

from vsft_jax.models.llava_1_5.config import ModelConfig
from vsft_jax.models.shared.decoder import Decoder
from vsft_jax.models.shared.projector import Projector
from vsft_jax.models.shared.vit import VisionTower
from vsft_jax.models.shared.vlm import VisionLanguageModel, gather, has_media, place
from vsft_jax.sharding import shard_rows


class Llava15(VisionLanguageModel):
    """LLaVA-1.5 (arXiv 2310.03744)."""

    def __init__(self, config: ModelConfig, *, rngs: nnx.Rngs):
        self.config = config
        self.visual = VisionTower(config, rngs=rngs)
        self.merger = Projector(config, newline=False, rngs=rngs)
        self.llm = Decoder(config, rngs=rngs)

    def embed(self, arrays: Mapping[str, Array]) -> tuple[Array, None]:
        """See `VisionLanguageModel.embed`."""
        x = shard_rows(self.llm.embed(arrays["tokens"]))
        if not has_media(arrays):
            return x, None
        features = self.visual(arrays["patches"], arrays["patch_coords"], arrays["patch_frames"])
        projected = shard_rows(self.merger(features))
        index = arrays["visual_index"]
        return place(x, gather(projected, index, None), index), None
