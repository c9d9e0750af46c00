"""LLaVA-OneVision (arXiv 2408.03326)."""

from vsft_jax.models.family import Family
from vsft_jax.models.llava_onevision import config, hf, layout, model

FAMILY = Family(
    name="llava_onevision",
    model=model.LlavaOnevision,
    model_config=config.ModelConfig,
    vision_config=config.VisionConfig,
    text_config=config.TextConfig,
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
