"""Layout rules of LLaVA-NeXT-Video: images in tiles, frames of a clip pooled to a quarter."""

import dataclasses
from typing import Any

from input_pipeline.layout import AnyRes, MediaLayout, TokenBlock
from input_pipeline.layout.tiles import Fit, Size, grid_taps, mean_taps
from vsft_jax.models.llava_next_video.config import VisionConfig
from vsft_jax.models.shared.hf import llava_processor
from vsft_jax.models.shared.hf.processor import Stated


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layout(AnyRes):
    """See `AnyRes` for images. video_pool: side of the square of features that is averaged."""

    image_size: int = 336
    patch_size: int = 14
    class_token: bool = True
    canvases: tuple[Size, ...] = VisionConfig.canvases
    video_pool: int = 2

    @property
    def taps(self) -> int:
        return self.video_pool**2

    @property
    def frame_fit(self) -> Fit:
        return "crop"

    def clip_tokens(self, frames: int) -> int:
        return frames * (self.side // self.video_pool) ** 2

    def clip_block(self, medium: MediaLayout) -> TokenBlock:
        """The features of each frame, pooled; no newlines."""
        pool = mean_taps(self.side, self.video_pool)
        index, weights = grid_taps(self.features(medium), pool, pool)
        return TokenBlock.in_line(index.reshape(-1, self.taps), weights.reshape(-1, self.taps))


def stated_layout(vision: VisionConfig, stated: Stated) -> dict[str, Any]:
    """Raises ValueError where a directory's processor files state what is not computed here; they
    leave no choice."""
    images = "LlavaNextImageProcessor"
    clips = ("LlavaNextVideoVideoProcessor", "LlavaNextVideoImageProcessor", images)
    llava_processor.require_counts(stated, vision)
    if stated.image:
        llava_processor.require_tiles(stated.image, vision, vision.canvases, images)
    if stated.video:
        llava_processor.require_frames(stated.video, vision, "crop", *clips)
    return {}


def layout(vision: VisionConfig, **choices: Any) -> Layout:
    """Layout rules for a tower; choices: `image_max_tiles`."""
    return Layout(
        **vision.input_numbers,
        canvases=vision.canvases,
        video_pool=vision.video_pool,
        **choices,
    )
