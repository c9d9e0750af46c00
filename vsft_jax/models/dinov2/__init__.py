"""DINOv2 (arXiv 2304.07193): pictures to features, trained without labels."""

from vsft_jax.models.dinov2 import config, hf, model
from vsft_jax.models.family import PortedModel

DINOV2 = PortedModel(
    name="dinov2",
    model=model.Dinov2,
    model_config=config.ModelConfig,
    from_hf=config.from_hf,
    checkpoint_table=hf.checkpoint_table,
    canonical_name=hf.canonical_name,
)

__all__ = ["DINOV2"]
