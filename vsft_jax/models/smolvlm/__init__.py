"""SmolVLM2 (arXiv 2504.05299)."""

from vsft_jax.models.family import Family
from vsft_jax.models.smolvlm import config, hf, layout, model

FAMILY = Family.of("smolvlm", model.SmolVLM, config=config, layout=layout, hf=hf)

__all__ = ["FAMILY"]
