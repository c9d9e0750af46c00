"""Qwen3-VL (arXiv 2511.21631), the dense sizes."""

from vsft_jax.models.qwen3_vl.config import (
    SIZES,
    SPECIAL_TOKENS,
    ModelConfig,
    TextConfig,
    VisionConfig,
    from_hf,
    published,
    to_hf,
)
from vsft_jax.models.qwen3_vl.hf import (
    canonical_name,
    checkpoint_table,
    processor_files,
    released_name,
)
from vsft_jax.models.qwen3_vl.layout import TRANSFORMERS_SIZES, Layout, layout
from vsft_jax.models.qwen3_vl.model import Qwen3VL
from vsft_jax.models.shared.partition import component_of, partition_rules

Model = Qwen3VL  # the name under which shared code finds a family's model

__all__ = [
    "SIZES",
    "SPECIAL_TOKENS",
    "TRANSFORMERS_SIZES",
    "Layout",
    "Model",
    "ModelConfig",
    "Qwen3VL",
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
