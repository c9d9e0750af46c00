"""LLaVA-NeXT-Video (blog of 2024-04-30, llava-vl.github.io)."""

from vsft_jax.models.family import Family
from vsft_jax.models.llava_next_video import config, hf, layout, model
from vsft_jax.models.shared.config import TextConfig

FAMILY = Family(
    name="llava_next_video",
    model=model.LlavaNextVideo,
    model_config=config.ModelConfig,
    vision_config=config.VisionConfig,
    text_config=TextConfig,
    special_tokens=config.SPECIAL_TOKENS,
    published_sizes=config.PUBLISHED,
    from_hf=config.from_hf,
    to_hf=config.to_hf,
    checkpoint_table=hf.checkpoint_table,
    canonical_name=hf.canonical_name,
    released_name=hf.released_name,
    processor_files=hf.processor_files,
    layout=layout.layout,
)

__all__ = ["FAMILY"]
