"""Layout rules of Qwen3.5: those of Qwen3-VL; see `timed_layout`."""

from vsft_jax.models.shared.qwen.timed_layout import Layout, layout, stated_layout

__all__ = ["Layout", "layout", "stated_layout"]
