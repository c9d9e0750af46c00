"""Layout rules of LLaVA-OneVision: one image in tiles, several as one small picture each, frames
of a clip shrunk to a quarter of their features."""

import dataclasses
import math
from typing import Any

import numpy as np

from input_pipeline.layout import NEWLINE, AnyRes, MediaLayout, TokenBlock
from input_pipeline.layout.tiles import (
    Fit,
    Size,
    fit_square,
    grid_taps,
    linear_taps,
)
from vsft_jax.models.llava_onevision.config import VisionConfig
from vsft_jax.models.shared.hf import llava_processor
from vsft_jax.models.shared.hf.processor import Stated

# Features of a canvas are left as they are up to this excess over the limit, as a ratio of sides.
_TOLERANCE = 1.1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layout(AnyRes):
    """See `AnyRes` for a single image. canvas_features: see `VisionConfig`. background: colour
    around one of several images, the pixels' mean."""

    image_size: int = 384
    patch_size: int = 14
    class_token: bool = False
    canvases: tuple[Size, ...] = VisionConfig.canvases
    canvas_features: int = 9
    background: tuple[int, ...] = (127, 127, 127)

    @property
    def taps(self) -> int:
        return 4

    @property
    def frame_fit(self) -> Fit:
        return "stretch"

    @property
    def frame_side(self) -> int:
        """Visual tokens along one side of a clip's frame."""
        return math.ceil(self.side / 2)

    def clip_tokens(self, frames: int) -> int:
        return frames * self.frame_side**2 + 1

    def clip_block(self, medium: MediaLayout) -> TokenBlock:
        """The features of each frame, shrunk; one newline behind the last."""
        axis = linear_taps(self.side, self.frame_side)
        index, weights = grid_taps(self.features(medium), axis, axis)
        index = np.pad(index.reshape(-1, 4), [(0, 1), (0, 0)], constant_values=NEWLINE)
        return TokenBlock.in_line(index, np.pad(weights.reshape(-1, 4), [(0, 1), (0, 0)]))

    def choose_canvas(self, size: Size, shrink: float, images: int) -> Size | None:
        """As in `AnyRes` for a single image; several are small pictures from the start."""
        return super().choose_canvas(size, shrink, images) if images == 1 else None

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

    def small_picture(self, picture: np.ndarray) -> np.ndarray:
        """Padded to a square."""
        return fit_square(picture, self.image_size, "pad", self.background)


def stated_layout(vision: VisionConfig, stated: Stated) -> dict[str, Any]:
    """Raises ValueError where a directory's processor files state what is not computed here; they
    leave no choice."""
    images, ratio = "LlavaOnevisionImageProcessor", f"anyres_max_{vision.canvas_features}"
    llava_processor.require_counts(stated, vision)
    stated.whole.require_value("vision_aspect_ratio", ratio)
    if stated.image:
        llava_processor.require_tiles(stated.image, vision, vision.canvases, images)
    if stated.video:
        clips = ("LlavaOnevisionVideoProcessor", images)
        llava_processor.require_frames(stated.video, vision, "stretch", *clips)
    return {}


def layout(vision: VisionConfig, **choices: Any) -> Layout:
    """Layout rules for a tower; choices: `image_max_tiles`."""
    return Layout(
        **vision.input_numbers,
        canvases=vision.canvases,
        canvas_features=vision.canvas_features,
        background=tuple(int(255 * value) for value in vision.image_mean),
        **choices,
    )
