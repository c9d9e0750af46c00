"""Qwen2.5-VL (arXiv 2502.13923)."""

from vsft_jax.models.partition import component_of, partition_rules
from vsft_jax.models.qwen2_5_vl.config import (
    SPECIAL_TOKENS,
    ModelConfig,
    TextConfig,
    VisionConfig,
    from_hf,
    published,
)
from vsft_jax.models.qwen2_5_vl.hf import canonical_name, checkpoint_table, released_name
from vsft_jax.models.qwen2_5_vl.layout import Layout, layout
from vsft_jax.models.qwen2_5_vl.model import Qwen2_5VL

Model = Qwen2_5VL  # the name under which shared code finds a family's model

__all__ = [
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
    "published",
    "released_name",
]
