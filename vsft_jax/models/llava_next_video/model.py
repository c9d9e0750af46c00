"""LLaVA-NeXT-Video: tower, projector and language model put together."""

from vsft_jax.models.shared.llava import Llava


class LlavaNextVideo(Llava):
    """LLaVA-NeXT-Video (blog of 2024-04-30, llava-vl.github.io)."""

    pools_first = True
