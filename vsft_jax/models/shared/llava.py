"""What the models of the LLaVA families have in common: all but the order of two steps."""

from collections.abc import Mapping
from typing import Any

import jax
from flax import nnx
from jax import Array

from vsft_jax.models.shared.config import ModelConfig
from vsft_jax.models.shared.decoder import Decoder
from vsft_jax.models.shared.layers import Linear
from vsft_jax.models.shared.vit import VisionTower
from vsft_jax.models.shared.vlm import VisionLanguageModel, gather, has_media, insert
from vsft_jax.sharding import shard_rows


class Projector(nnx.Module):
    """fc2(gelu(fc1(x))) from the tower's width to the language model's; with `newline`, also the
    learned vector that ends a row of an image."""

    def __init__(self, config: ModelConfig, *, newline: bool, rngs: nnx.Rngs):
        width, param_dtype = config.text.width, config.param_dtype
        options: dict[str, Any] = dict(bias=True, param_dtype=param_dtype, rngs=rngs)
        self.fc1 = Linear(config.vision.width, width, **options)
        self.fc2 = Linear(width, width, **options)
        init = nnx.initializers.normal(width**-0.5)
        self.newline = nnx.Param(init(rngs.params(), (width,), param_dtype)) if newline else None

    def __call__(self, x: Array) -> Array:
        """x: float[..., D_vision] -> float[..., D_text]."""
        return self.fc2(jax.nn.gelu(self.fc1(x), approximate=False))


class Llava(VisionLanguageModel):
    """A CLIP or SigLIP tower, a projector and a decoder.

    has_newline: rows of an image end with a learned vector.
    pools_first: the tower's features are gathered, and so pooled, before they are projected.
    """

    has_newline = True
    pools_first = False

    def __init__(self, config: ModelConfig, *, rngs: nnx.Rngs):
        self.config = config
        self.visual = VisionTower(config, rngs=rngs)
        self.merger = Projector(config, newline=self.has_newline, rngs=rngs)
        self.llm = Decoder(config, rngs=rngs)

    def embed(self, arrays: Mapping[str, Array]) -> tuple[Array, None]:
        """See `VisionLanguageModel.embed`."""
        x = shard_rows(self.llm.embed(arrays["tokens"]))
        if not has_media(arrays):
            return x, None
        features = self.features(arrays)
        index, weights = arrays["visual_index"], arrays.get("visual_weights")
        if self.pools_first:
            visual = self.merger(shard_rows(gather(features, index, weights)))
        else:
            visual = gather(shard_rows(self.merger(features)), index, weights)
        newline = self.merger.newline
        return insert(x, visual, index, None if newline is None else newline[...]), None
