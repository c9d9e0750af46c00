"""LLaVA-OneVision (arXiv 2408.03326)."""

from vsft_jax.models.family import Family
from vsft_jax.models.llava_onevision import config, hf, layout, model

FAMILY = Family.of("llava_onevision", model.LlavaOnevision, config=config, layout=layout, hf=hf)

__all__ = ["FAMILY"]
