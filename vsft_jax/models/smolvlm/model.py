"""SmolVLM2: tower, projector and language model put together.

Follows transformers `models/smolvlm/modeling_smolvlm.py`.
"""

from flax import nnx
from jax import Array

from vsft_jax.models.shared.decoder import Decoder
from vsft_jax.models.shared.layers import LayerNorm, Linear
from vsft_jax.models.shared.vit import VisionTower
from vsft_jax.models.shared.vlm import VisionLanguageModel
from vsft_jax.models.smolvlm.config import ModelConfig


class Tower(VisionTower):
    """A SigLIP tower with its closing normalisation."""

    def __init__(self, config: ModelConfig, *, rngs: nnx.Rngs):
        super().__init__(config, rngs=rngs)
        vision = config.vision
        self.post_norm = LayerNorm(
            vision.width, eps=vision.norm_eps, param_dtype=config.param_dtype
        )

    def __call__(self, patches: Array, coords: Array, frame_ids: Array) -> Array:
        """See `VisionTower.__call__`."""
        return self.post_norm(super().__call__(patches, coords, frame_ids))


class Merger(nnx.Module):
    """The projector: merge_size² patches to one visual token by a single matrix.

    Patches of a token come as neighbours from the host, so that merging is a reshape.
    """

    def __init__(self, config: ModelConfig, *, rngs: nnx.Rngs):
        self.proj = Linear(
            config.vision.merged_width,
            config.text.width,
            bias=False,
            param_dtype=config.param_dtype,
            rngs=rngs,
        )

    def __call__(self, x: Array) -> Array:
        """x: float[B, N, D_vision] -> float[B, M, D_text]."""
        return self.proj(x.reshape(x.shape[0], -1, self.proj.kernel.shape[0]))


class SmolVLM(VisionLanguageModel):
    """SmolVLM2 (arXiv 2504.05299)."""

    def __init__(self, config: ModelConfig, *, rngs: nnx.Rngs):
        self.config = config
        self.visual = Tower(config, rngs=rngs)
        self.merger = Merger(config, rngs=rngs)
        self.llm = Decoder(config, rngs=rngs)
