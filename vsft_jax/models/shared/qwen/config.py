"""What the configs of Qwen's families have in common: a tower of patches over pairs of frames, and
the tokens around what it sees."""

import dataclasses

from vsft_jax.models.shared import config as shared
from vsft_jax.models.shared.block import BlockSpec
from vsft_jax.models.shared.config import check

# Field of `ModelConfig` -> the token whose id it is.
SPECIAL_TOKENS = {
    "image_token_id": "<|image_pad|>",
    "video_token_id": "<|video_pad|>",
    "vision_start_token_id": "<|vision_start|>",
    "vision_end_token_id": "<|vision_end|>",
}


@dataclasses.dataclass(frozen=True)
class VisionConfig:
    """The numbers of a vision tower; a family's subclass sets its own defaults.

    merge_size² patches become one visual token. rope_theta: of the two-dimensional rotary embedding
    of a patch's row and column.
    """

    depth: int
    width: int
    mlp_width: int
    heads: int
    patch_size: int
    temporal_patch_size: int = 2
    merge_size: int = 2
    rope_theta: float = 10000.0
    norm_eps: float = 1e-6
    image_mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    image_std: tuple[float, float, float] = (0.5, 0.5, 0.5)

    def __post_init__(self) -> None:
        check(
            self.width % (4 * self.heads) == 0,
            f"vision width {self.width} must be a multiple of 4 · heads ({self.heads}), "
            "for the two-dimensional rotary embedding",
        )
        check(
            self.merge_size == 2,
            f"vision merge_size (spatial_merge_size) {self.merge_size} is not supported (only 2)",
        )

    @property
    def head_dim(self) -> int:
        return self.width // self.heads

    @property
    def patch_columns(self) -> int:
        """Values of one patch, ordered (channel, temporal, row, column)."""
        return 3 * self.temporal_patch_size * self.patch_size**2


@dataclasses.dataclass(frozen=True)
class PositionedVisionConfig(VisionConfig):
    """A tower with learned positions; the defaults are those of the larger models.

    position_side: side of the square grid of learned positions, which is stretched over every
        frame.
    """

    depth: int = 27
    width: int = 1152
    mlp_width: int = 4304
    heads: int = 16
    patch_size: int = 16
    position_side: int = 48

    @property
    def block(self) -> BlockSpec:
        """One layer."""
        return BlockSpec.of_tower(self, norm="layer", mlp="gelu_tanh")

    @property
    def merged_width(self) -> int:
        """Width of the merge_size² patches of one visual token, side by side."""
        return self.width * self.merge_size**2


@dataclasses.dataclass(frozen=True)
class ModelConfig(shared.ModelConfig):
    """See `shared.config.ModelConfig`."""

    vision: VisionConfig
    image_token_id: int = 151655
    video_token_id: int = 151656
    vision_start_token_id: int = 151652
    vision_end_token_id: int = 151653


@dataclasses.dataclass(frozen=True)
class PositionedModelConfig(ModelConfig):
    """See `shared.config.ModelConfig`."""

    vision: PositionedVisionConfig
