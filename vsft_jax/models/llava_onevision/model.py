"""LLaVA-OneVision: tower, projector and language model put together."""

from vsft_jax.models.shared.llava import Llava


class LlavaOnevision(Llava):
    """LLaVA-OneVision (arXiv 2408.03326)."""
