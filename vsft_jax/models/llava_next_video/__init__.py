"""LLaVA-NeXT-Video (blog of 2024-04-30, llava-vl.github.io)."""

from vsft_jax.models.llava_next_video.config import (
    SIZES,
    SPECIAL_TOKENS,
    ModelConfig,
    VisionConfig,
    from_hf,
    published,
    to_hf,
)
from vsft_jax.models.llava_next_video.hf import (
    canonical_name,
    checkpoint_table,
    processor_files,
    released_name,
)
from vsft_jax.models.llava_next_video.layout import Layout, layout
from vsft_jax.models.llava_next_video.model import LlavaNextVideo
from vsft_jax.models.shared.decoder import TextConfig
from vsft_jax.models.shared.partition import component_of, partition_rules

Model = LlavaNextVideo  # the name under which shared code finds a family's model

__all__ = [
    "SIZES",
    "SPECIAL_TOKENS",
    "Layout",
    "LlavaNextVideo",
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
