"""LLaVA-1.5 (arXiv 2310.03744)."""

from vsft_jax.models.llava_1_5.config import (
    SIZES,
    SPECIAL_TOKENS,
    ModelConfig,
    from_hf,
    published,
    to_hf,
)
from vsft_jax.models.llava_1_5.hf import (
    canonical_name,
    checkpoint_table,
    processor_files,
    released_name,
)
from vsft_jax.models.llava_1_5.layout import Layout, layout
from vsft_jax.models.llava_1_5.model import Llava15
from vsft_jax.models.shared.decoder import TextConfig
from vsft_jax.models.shared.partition import component_of, partition_rules
from vsft_jax.models.shared.vit import VisionConfig

Model = Llava15  # the name under which shared code finds a family's model

__all__ = [
    "SIZES",
    "SPECIAL_TOKENS",
    "Layout",
    "Llava15",
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
