"""Qwen2.5-VL: tower, projector and language model put together."""

from collections.abc import Mapping

from flax import nnx
from jax import Array

from vsft_jax.models.qwen2_5_vl.config import ModelConfig
from vsft_jax.models.qwen2_5_vl.vision import Merger, VisionTower
from vsft_jax.models.shared.decoder import Decoder
from vsft_jax.models.shared.vlm import VisionLanguageModel


class Qwen2_5VL(VisionLanguageModel):  # noqa: N801 (the model's own name)
    """Qwen2.5-VL (arXiv 2502.13923)."""

    def __init__(self, config: ModelConfig, *, rngs: nnx.Rngs):
        self.config = config
        self.visual = VisionTower(config, rngs=rngs)
        self.merger = Merger(config, rngs=rngs)
        self.llm = Decoder(config, rngs=rngs)

    def features(self, arrays: Mapping[str, Array]) -> Array:
        """See `VisionLanguageModel.features`."""
        return self.visual(
            arrays["patches"],
            arrays["patch_coords"],
            arrays["patch_frames"],
            arrays["patch_windows"],
        )
