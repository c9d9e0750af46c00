"""Qwen3-VL (arXiv 2511.21631), dense and with experts."""

from vsft_jax.models.family import Family
from vsft_jax.models.qwen3_vl import config, hf, layout, model

FAMILY = Family.of("qwen3_vl", model.Qwen3VL, config=config, layout=layout, hf=hf)

__all__ = ["FAMILY"]
