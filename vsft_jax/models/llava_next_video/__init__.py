"""LLaVA-NeXT-Video (blog of 2024-04-30, llava-vl.github.io)."""

from vsft_jax.models.family import Family
from vsft_jax.models.llava_next_video import config, hf, layout, model

FAMILY = Family.of("llava_next_video", model.LlavaNextVideo, config=config, layout=layout, hf=hf)

__all__ = ["FAMILY"]
