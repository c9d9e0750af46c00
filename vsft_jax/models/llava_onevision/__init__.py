"""LLaVA-OneVision (arXiv 2408.03326)."""

from vsft_jax.models.llava_onevision.config import (
    SIZES,
    SPECIAL_TOKENS,
    ModelConfig,
    TextConfig,
    VisionConfig,
    from_hf,
    published,
    to_hf,
)
from vsft_jax.models.llava_onevision.hf import (
    canonical_name,
    checkpoint_table,
    processor_files,
    released_name,
)
from vsft_jax.models.llava_onevision.layout import Layout, layout
from vsft_jax.models.llava_onevision.model import LlavaOnevision
from vsft_jax.models.shared.partition import component_of, partition_rules

Model = LlavaOnevision  # the name under which shared code finds a family's model

__all__ = [
    "SIZES",
    "SPECIAL_TOKENS",
    "Layout",
    "LlavaOnevision",
    "Model",
    "ModelConfig",
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
