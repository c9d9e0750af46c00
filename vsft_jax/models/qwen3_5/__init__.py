"""Qwen3.5, dense and with experts: most layers carry a state along each text."""

from vsft_jax.models.family import Family
from vsft_jax.models.qwen3_5 import config, hf, layout, model

FAMILY = Family.of("qwen3_5", model.Qwen35, config=config, layout=layout, hf=hf)

__all__ = ["FAMILY"]
