"""Qwen3.5: tower, projector and language model put together."""

from collections.abc import Mapping
from typing import Any

from flax import nnx
from jax import Array

from vsft_jax.models.qwen3_5.config import ModelConfig
from vsft_jax.models.qwen3_5.decoder import Cache, Decoder
from vsft_jax.models.shared.qwen.vision import Merger, VisionTower
from vsft_jax.models.shared.vlm import VisionLanguageModel


class Qwen35(VisionLanguageModel):
    """Qwen3.5 without the layers that guess further tokens."""

    llm: Decoder

    def __init__(self, config: ModelConfig, *, rngs: nnx.Rngs):
        self.config = config
        self.visual = VisionTower(config, rngs=rngs)
        self.merger = Merger(config, rngs=rngs)
        self.llm = Decoder(config, rngs=rngs)

    def prefill(self, arrays: Mapping[str, Array], texts: int) -> tuple[Array, Cache]:
        """See `VisionLanguageModel.prefill`."""
        x, _ = self.embed(arrays)
        return self.llm.begin(x, arrays["positions"], arrays["segment_ids"], texts)

    def longer(self, cache: Any, slots: int) -> Cache:
        """See `VisionLanguageModel.longer`: keys and values have slots, memories have none."""
        return cache._replace(full=super().longer(cache.full, slots))
