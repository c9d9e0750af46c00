"""Layout rules of Qwen3-VL; see `timed_layout`."""

from vsft_jax.models.shared.qwen.timed_layout import (
    TRANSFORMERS_SIZES,
    Layout,
    grid_times,
    layout,
    stated_layout,
)

__all__ = ["TRANSFORMERS_SIZES", "Layout", "grid_times", "layout", "stated_layout"]
