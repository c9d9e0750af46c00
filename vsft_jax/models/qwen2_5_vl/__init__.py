"""Qwen2.5-VL (arXiv 2502.13923)."""

from vsft_jax.models.family import Family
from vsft_jax.models.qwen2_5_vl import config, hf, layout, model

FAMILY = Family.of("qwen2_5_vl", model.Qwen2_5VL, config=config, layout=layout, hf=hf)

__all__ = ["FAMILY"]
