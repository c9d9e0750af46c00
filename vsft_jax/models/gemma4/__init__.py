"""Gemma 4, without audio."""

from vsft_jax.models.family import Family
from vsft_jax.models.gemma4 import config, hf, layout, model

FAMILY = Family.of("gemma4", model.Gemma4, config=config, layout=layout, hf=hf)

__all__ = ["FAMILY"]
