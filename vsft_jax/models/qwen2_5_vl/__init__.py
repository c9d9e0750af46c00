"""Qwen2.5-VL (arXiv 2502.13923)."""

from vsft_jax.models.qwen2_5_vl.config import (
    SIZES,
    SPECIAL_TOKENS,
    ModelConfig,
    TextConfig,
    VisionConfig,
    from_hf,
    published,
    to_hf,
)
from vsft_jax.models.qwen2_5_vl.hf import (
    canonical_name,
    checkpoint_table,
    processor_files,
    released_name,
)
from vsft_jax.models.qwen2_5_vl.layout import Layout, layout
from vsft_jax.models.qwen2_5_vl.model import Qwen2_5VL
from vsft_jax.models.shared.partition import component_of, partition_rules

Model = Qwen2_5VL  # the name under which shared code finds a family's model

__all__ = [
    "SIZES",
    "SPECIAL_TOKENS",
    "Layout",
    "Model",
    "ModelConfig",
    "Qwen2_5VL",
    "TextConfig",
    "VisionConfig",
    "canonical_name",
    "checkpoint_table",
    "component_of",
    "from_hf",
    "layout",
    "partition_rules",
    "processor_files",
    "published",
    "released_name",
    "to_hf",
]
