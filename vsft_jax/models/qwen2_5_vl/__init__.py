"""Qwen2.5-VL (arXiv 2502.13923)."""

from vsft_jax.models.family import Family
from vsft_jax.models.qwen2_5_vl import config, hf, layout, model

FAMILY = Family(
    name="qwen2_5_vl",
    model=model.Qwen2_5VL,
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
