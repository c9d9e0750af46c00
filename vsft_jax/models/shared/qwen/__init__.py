"""What Qwen's families have in common; of Qwen3-VL and Qwen3.5 also tower and layout."""

from vsft_jax.models.shared.qwen.config import (
    SPECIAL_TOKENS,
    ModelConfig,
    PositionedModelConfig,
    PositionedVisionConfig,
    VisionConfig,
)

__all__ = [
    "SPECIAL_TOKENS",
    "ModelConfig",
    "PositionedModelConfig",
    "PositionedVisionConfig",
    "VisionConfig",
]
