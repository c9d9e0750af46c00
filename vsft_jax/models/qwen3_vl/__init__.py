"""Qwen3-VL (arXiv 2511.21631), the dense sizes."""

from vsft_jax.models.family import Family
from vsft_jax.models.qwen3_vl import config, hf, layout, model

FAMILY = Family(
    name="qwen3_vl",
    model=model.Qwen3VL,
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
