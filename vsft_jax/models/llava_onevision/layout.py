"""Layout rules of LLaVA-OneVision: one image in tiles, several as one small picture each, frames
of a clip shrunk to a quarter of their features."""

import dataclasses
import math
from typing import TYPE_CHECKING

import numpy as np

from input_pipeline.layout import NEWLINE, AnyRes, MediaLayout, TokenBlock, block
from input_pipeline.layout.tiles import Size, fit_square, grid_taps, linear_taps, size_before_fit
from vsft_jax.models.llava_onevision.config import VisionConfig

if TYPE_CHECKING:
    from input_pipeline.media import MediaInfo

_BACKGROUND = (127, 127, 127)
# Features of a canvas are left as they are up to this excess over the limit, as a ratio of sides.
_TOLERANCE = 1.1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layout(AnyRes):
    """See `AnyRes` for a single image. canvas_features: see `VisionConfig`."""

    image_size: int = 384
    patch_size: int = 14
    class_token: bool = False
    canvases: tuple[Size, ...] = VisionConfig.canvases
    canvas_features: int = 9

    @property
    def taps(self) -> int:
        return 4

    def lay_out(
        self, info: "MediaInfo", frame_indices: tuple[int, ...], shrink: float, images: int = 1
    ) -> MediaLayout:
        """See `VisionLayout.lay_out`: an image shrinks to smaller canvases, at last to one small
        picture; several images are small pictures from the start, and clips have one size only."""
        if info.kind == "image":
            size = (info.height, info.width)
            canvas = self.choose_canvas(size, shrink) if images == 1 else None
            return self.lay_out_image(info, canvas)
        frames = len(frame_indices)
        size = (self.image_size, self.image_size)
        tokens = frames * self.frame_side**2 + 1
        return self.medium(info, frame_indices, size=size, inputs=frames, tokens=tokens)

    @property
    def frame_side(self) -> int:
        """Visual tokens along one side of a clip's frame."""
        return math.ceil(self.side / 2)

    def blocks(self, medium: MediaLayout) -> list[TokenBlock]:
        """One block a medium. A clip ends with one newline."""
        if medium.kind == "image":
            return [self.image_block(medium)]
        axis = linear_taps(self.side, self.frame_side)
        index, weights = grid_taps(self.features(medium), axis, axis)
        index = np.pad(index.reshape(-1, 4), [(0, 1), (0, 0)], constant_values=NEWLINE)
        return [block(index, np.pad(weights.reshape(-1, 4), [(0, 1), (0, 0)]))]

    def token_grid(self, size: Size, canvas: Size) -> Size:
        """(rows, columns) of visual tokens of a picture's canvas, newlines not counted."""
        rows, columns = super().token_grid(size, canvas)
        ratio = math.sqrt(rows * columns / (self.canvas_features * self.side**2))
        if ratio > _TOLERANCE:
            return int(rows // ratio), int(columns // ratio)
        return rows, columns

    def canvas_taps(self, grid: np.ndarray, token_grid: Size) -> tuple[np.ndarray, np.ndarray]:
        """Interpolates where there are fewer tokens than features."""
        if grid.shape == token_grid:
            return self.alone(grid)
        axes = [linear_taps(old, new) for old, new in zip(grid.shape, token_grid, strict=True)]
        return grid_taps(grid, *axes)

    def decode_size(self, medium: MediaLayout) -> Size | None:
        """An image is cut into tiles."""
        if medium.kind == "image":
            return None
        return size_before_fit(medium.source_size, self.image_size, "stretch")

    def inputs(self, frames: np.ndarray, medium: MediaLayout) -> np.ndarray:
        """uint8[F, H, W, 3] -> uint8[inputs, image_size, image_size, 3]."""
        if medium.kind == "image":
            return self.image_inputs(frames[0], medium)
        return np.stack([fit_square(frame, self.image_size, "stretch") for frame in frames])

    def small_picture(self, picture: np.ndarray) -> np.ndarray:
        """Padded to a square with grey, the pixels' mean."""
        return fit_square(picture, self.image_size, "pad", _BACKGROUND)


def layout(vision: VisionConfig, **choices) -> Layout:
    """Layout rules for a tower; choices: `image_max_tiles`."""
    return Layout(
        image_size=vision.image_size,
        patch_size=vision.patch_size,
        class_token=vision.class_token,
        canvases=vision.canvases,
        canvas_features=vision.canvas_features,
        **choices,
    )
