"""Media at their own resolution: the layout rules that Qwen's model families share.

A picture keeps its aspect ratio, is rounded to whole visual tokens and cut into patches; frames go
through the tower in groups of `temporal_patch_size`. The rules are those of `qwen-vl-utils` 0.0.14
(`vision_process.py`: `smart_resize`, `fetch_video`), which the models were trained with.
"""

import dataclasses
import math
from collections.abc import Mapping

import numpy as np

from input_pipeline.layout.patches import check_frames, patchify
from input_pipeline.layout.positions import VisionIndices, vision_indices
from input_pipeline.layout.vision_layout import (
    MediaLayout,
    PatchIndices,
    TokenBlock,
    check_aspect_ratio,
)
from input_pipeline.media import MediaInfo, resize


def smart_resize(
    height: int, width: int, factor: int, min_pixels: float, max_pixels: float
) -> tuple[int, int]:
    """The multiple of `factor` nearest to (height, width) with an area inside the limits.

    All in pixels. Keeps the aspect ratio as far as rounding allows. Very elongated pictures may
    leave the limits, because no side falls below `factor`. Follows qwen-vl-utils `smart_resize`.

    Raises LayoutError if one side is more than 200 times the other.
    """
    check_aspect_ratio(height, width)
    # round() is banker's rounding here as in the reference: 42/28 = 1.5 becomes 2, 70/28 = 2.5 too.
    rows = max(factor, round(height / factor) * factor)
    columns = max(factor, round(width / factor) * factor)
    if rows * columns > max_pixels:
        scale = math.sqrt(height * width / max_pixels)
        rows = max(factor, math.floor(height / scale / factor) * factor)
        columns = max(factor, math.floor(width / scale / factor) * factor)
    elif rows * columns < min_pixels:
        scale = math.sqrt(min_pixels / (height * width))
        rows = math.ceil(height * scale / factor) * factor
        columns = math.ceil(width * scale / factor) * factor
    return rows, columns


def _own_limits(info: MediaInfo, low: float, high: float) -> tuple[float, float]:
    """The limits that the data sets for a medium, in place of the layout's `low` and `high`; a
    clip's share of pixels among its frames stays a limit (qwen-vl-utils `fetch_video`)."""
    low = info.min_pixels or min(low, info.max_pixels or low)
    if info.kind == "video":
        high = max(high, int(low * 1.05))
        return low, min(info.max_pixels or high, high)
    return low, info.max_pixels or max(high, low)


@dataclasses.dataclass(frozen=True, kw_only=True)
class DynamicResolution:
    """The sizes, and the methods of `VisionLayout` that follow from them.

    Sizes are pixels; a pixel count (`*_pixels`) is height × width of one frame,
    `video_total_pixels` of all temporal grids of a clip. video_max_pixels, video_total_pixels:
    None for no such limit. merge_size² patches become one token.
    """

    patch_size: int
    temporal_patch_size: int
    merge_size: int
    image_min_pixels: int
    image_max_pixels: int
    video_min_pixels: int
    video_max_pixels: int | None
    video_total_pixels: float | None

    def __post_init__(self) -> None:
        for kind in ("image", "video"):
            low = getattr(self, f"{kind}_min_pixels")
            high = getattr(self, f"{kind}_max_pixels")
            if low <= 0 or (high is not None and high < low):
                raise ValueError(
                    f"{kind}_min_pixels={low} must be positive and at most {kind}_max_pixels={high}"
                )

    @property
    def media_tokens(self) -> Mapping[str, str]:
        return {"image": "<|image_pad|>", "video": "<|video_pad|>"}

    @property
    def clip_template(self) -> str | None:
        return None

    @property
    def factor(self) -> int:
        """Side of one visual token in pixels; heights and widths are multiples of it."""
        return self.patch_size * self.merge_size

    @property
    def patch_dim(self) -> int:
        """C, the columns of one patch: RGB × temporal_patch_size × patch_size²."""
        return 3 * self.temporal_patch_size * self.patch_size**2

    @property
    def patches_per_unit(self) -> int:
        return self.merge_size**2

    @property
    def taps(self) -> int:
        return 1

    @property
    def min_frames(self) -> int:
        return self.temporal_patch_size

    @property
    def window_units(self) -> int | None:
        """Side of an attention window in visual tokens; None where whole frames attend."""
        return None

    def placeholder(self, medium: MediaLayout) -> tuple[str, str] | None:
        return None

    def frame_limits(self, frames: int) -> tuple[float, float]:
        """Least and most pixels of a frame in a clip of so many (qwen-vl-utils `fetch_video`).

        `video_total_pixels` divides among the temporal grids, but never pushes a frame under 1.05 ×
        `video_min_pixels`: it is a target, not a hard cap.
        """
        most = math.inf if self.video_max_pixels is None else float(self.video_max_pixels)
        if self.video_total_pixels is not None:
            share = self.video_total_pixels / frames * self.temporal_patch_size
            most = max(min(most, share), int(self.video_min_pixels * 1.05))
        return self.video_min_pixels, most

    def lay_out(
        self, info: MediaInfo, frame_indices: tuple[int, ...], shrink: float, images: int = 1
    ) -> MediaLayout:
        """See `VisionLayout.lay_out`."""
        video = info.kind == "video"
        low, high = float(self.image_min_pixels), float(self.image_max_pixels)
        if video:
            low, high = self.frame_limits(len(frame_indices))
        if info.min_pixels or info.max_pixels:
            low, high = _own_limits(info, low, high)
        height, width = smart_resize(info.height, info.width, self.factor, low, high)
        if shrink < 1:
            high = max(low, shrink * height * width)
            height, width = smart_resize(info.height, info.width, self.factor, low, high)
        grid = (
            -(-len(frame_indices) // self.temporal_patch_size),
            height // self.patch_size,
            width // self.patch_size,
        )
        patches = math.prod(grid)
        tokens = patches // self.patches_per_unit
        return MediaLayout.of(info, frame_indices, (height, width), grid, patches, tokens)

    def vision_indices(self, medium: MediaLayout) -> VisionIndices:
        """Order of the medium's visual tokens and indices of its patches."""
        return vision_indices(medium.grid, self.merge_size, self.window_units)

    def patch_indices(self, medium: MediaLayout) -> PatchIndices:
        """coords: (row, column) of each patch in its frame, A = 2."""
        indices = self.vision_indices(medium)
        return PatchIndices(indices.coords, indices.frames, indices.windows)

    @property
    def coord_columns(self) -> int:
        return 2

    def decode_size(self, medium: MediaLayout) -> tuple[int, int] | None:
        return medium.height, medium.width

    def write_patches(self, frames: np.ndarray, medium: MediaLayout, out: np.ndarray) -> None:
        """Resizes and cuts the frames of one medium into `out`, in window order.

        frames: uint8[F, H, W, 3], the decoded frames of `medium.frame_indices`.
        out: uint8[P, C], written.
        Raises ValueError if there are not as many frames as were laid out.
        """
        check_frames(frames, medium)
        sized = np.stack([resize(frame, medium.height, medium.width) for frame in frames])
        rows = patchify(sized, self.patch_size, self.temporal_patch_size, self.merge_size)
        unit = self.patches_per_unit * self.patch_dim
        order = self.vision_indices(medium).order
        np.take(rows.reshape(-1, unit), order, axis=0, out=out.reshape(-1, unit), mode="clip")

    def grid_block(self, medium: MediaLayout, times: np.ndarray) -> TokenBlock:
        """All temporal grids of a medium as one block; times: int32[T], its temporal positions."""
        _, h, w = medium.grid
        axes = (times, np.arange(h // self.merge_size), np.arange(w // self.merge_size))
        offsets = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
        return TokenBlock(offsets.astype(np.int32), self.vision_indices(medium).inverse[:, None])
