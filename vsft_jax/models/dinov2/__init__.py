"""DINOv2 (arXiv 2304.07193): pictures to features, trained without labels."""

from vsft_jax.models.dinov2.config import ModelConfig, from_hf
from vsft_jax.models.dinov2.hf import canonical_name, checkpoint_table, load
from vsft_jax.models.dinov2.model import Dinov2

Model = Dinov2  # the name under which shared code finds a family's model

__all__ = [
    "Dinov2",
    "Model",
    "ModelConfig",
    "canonical_name",
    "checkpoint_table",
    "from_hf",
    "load",
]
