"""LLaVA-1.5 (arXiv 2310.03744)."""

from vsft_jax.models.family import Family
from vsft_jax.models.llava_1_5 import config, hf, layout, model
from vsft_jax.models.shared.config import TextConfig
from vsft_jax.models.shared.vit import VisionConfig

FAMILY = Family(
    name="llava_1_5",
    model=model.Llava15,
    model_config=config.ModelConfig,
    vision_config=VisionConfig,
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
