"""Layout rules of LLaVA-NeXT-Video: images in tiles, frames of a clip pooled to a quarter."""

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from input_pipeline.layout import AnyRes, MediaLayout, TokenBlock, block
from input_pipeline.layout.tiles import Size, fit_square, grid_taps, mean_taps, size_before_fit
from vsft_jax.models.llava_next_video.config import VisionConfig

if TYPE_CHECKING:
    from input_pipeline.media import MediaInfo


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

    def lay_out(
        self, info: "MediaInfo", frame_indices: tuple[int, ...], shrink: float, images: int = 1
    ) -> MediaLayout:
        """See `VisionLayout.lay_out`: images shrink to smaller canvases, at last to the small
        picture alone; clips have one size only."""
        if info.kind == "image":
            canvas = self.choose_canvas((info.height, info.width), shrink)
            return self.lay_out_image(info, canvas)
        frames = len(frame_indices)
        size = (self.image_size, self.image_size)
        tokens = frames * (self.side // self.video_pool) ** 2
        return self.medium(info, frame_indices, size=size, inputs=frames, tokens=tokens)

    def blocks(self, medium: MediaLayout) -> list[TokenBlock]:
        """One block a medium. A clip has no newlines."""
        if medium.kind == "image":
            return [self.image_block(medium)]
        pool = mean_taps(self.side, self.video_pool)
        index, weights = grid_taps(self.features(medium), pool, pool)
        return [block(index.reshape(-1, self.taps), weights.reshape(-1, self.taps))]

    def decode_size(self, medium: MediaLayout) -> Size | None:
        """An image is cut into tiles."""
        if medium.kind == "image":
            return None
        return size_before_fit(medium.source_size, self.image_size, "crop")

    def inputs(self, frames: np.ndarray, medium: MediaLayout) -> np.ndarray:
        """uint8[F, H, W, 3] -> uint8[inputs, image_size, image_size, 3]."""
        if medium.kind == "image":
            return self.image_inputs(frames[0], medium)
        return np.stack([fit_square(frame, self.image_size, "crop") for frame in frames])


def layout(vision: VisionConfig, **choices) -> Layout:
    """Layout rules for a tower; choices: `image_max_tiles`."""
    return Layout(
        image_size=vision.image_size,
        patch_size=vision.patch_size,
        class_token=vision.class_token,
        canvases=vision.canvases,
        video_pool=vision.video_pool,
        **choices,
    )
