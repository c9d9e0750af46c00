"""Qwen2.5-VL (arXiv 2502.13923)."""

from vsft_jax.models.qwen2_5_vl.config import (
    ModelConfig,
    TextConfig,
    VisionConfig,
    from_hf,
    published,
)
from vsft_jax.models.qwen2_5_vl.model import Qwen2_5VL
from vsft_jax.models.qwen2_5_vl.partition import component_of, partition_rules

Model = Qwen2_5VL  # the name under which shared code finds a family's model

__all__ = [
    "Model",
    "ModelConfig",
    "Qwen2_5VL",
    "TextConfig",
    "VisionConfig",
    "component_of",
    "from_hf",
    "partition_rules",
    "published",
]
