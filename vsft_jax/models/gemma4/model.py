"""Gemma 4: tower, projector and language model put together.

Follows transformers `models/gemma4/modeling_gemma4.py`.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from vsft_jax.models.gemma4.config import ModelConfig
from vsft_jax.models.gemma4.decoder import Beside, Cache, Decoder
from vsft_jax.models.gemma4.vision import Projector, VisionTower
from vsft_jax.models.shared.decoder import Attended
from vsft_jax.models.shared.vlm import VisionLanguageModel, gather, has_media, insert
from vsft_jax.sharding import shard_rows


class Gemma4(VisionLanguageModel):
    """Gemma 4 without its audio tower."""

    llm: Decoder

    def __init__(self, config: ModelConfig, *, rngs: nnx.Rngs):
        self.config = config
        self.visual = VisionTower(config, rngs=rngs)
        self.merger = Projector(config, rngs=rngs)
        self.llm = Decoder(config, rngs=rngs)

    def embed(self, arrays: Mapping[str, Array]) -> tuple[Array, Beside]:
        """See `VisionLanguageModel.embed`."""
        tokens, ahead = arrays["tokens"], None
        x = shard_rows(self.llm.embedded(tokens))
        if has_media(arrays):
            merged = shard_rows(self.merger(self.features(arrays)))
            index = arrays["visual_index"]
            x = insert(x, gather(merged, index, None), index)
            visual = index[..., 0] >= 0
            tokens = jnp.where(visual, self.config.text.pad_id, tokens)
            ahead = still_to_come(visual) if self.config.text.two_way_media else None
        return x, Beside(self.llm.layer_inputs(tokens, x), ahead)

    def decode(
        self,
        tokens: Array,
        positions: Array,
        cache: Any,
        slot: Array,
        attended: Attended,
        *,
        causal: bool = False,
    ) -> tuple[Array, Cache]:
        """See `VisionLanguageModel.decode`."""
        x = self.llm.embedded(tokens)
        inputs = self.llm.layer_inputs(tokens, x)
        return self.llm.decode(x, positions, cache, slot, attended, inputs, causal=causal)

    @property
    def logit_cap(self) -> float:
        """See `VisionLanguageModel.logit_cap`."""
        return self.config.text.logit_cap


def still_to_come(visual: Array) -> Array:
    """How many visual tokens follow each one without text between them, 0 for text: the rest of its
    picture or frame, since text stands between any two.

    visual: bool[B, L] -> int32[B, L].
    """
    places = jnp.arange(visual.shape[1], dtype=jnp.int32)
    ends = jnp.where(visual, visual.shape[1], places)
    following = jax.lax.cummin(ends, axis=1, reverse=True)
    return jnp.where(visual, following - places - 1, 0)
