"""LLaVA-1.5: tower, projector and language model put together."""

from vsft_jax.models.shared.llava import Llava


class Llava15(Llava):
    """LLaVA-1.5 (arXiv 2310.03744)."""

    has_newline = False
