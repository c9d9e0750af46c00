"""LLaVA-1.5 (arXiv 2310.03744)."""

from vsft_jax.models.family import Family
from vsft_jax.models.llava_1_5 import config, hf, layout, model

FAMILY = Family.of("llava_1_5", model.Llava15, config=config, layout=layout, hf=hf)

__all__ = ["FAMILY"]
