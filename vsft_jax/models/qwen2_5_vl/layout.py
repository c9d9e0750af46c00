"""Layout rules of Qwen2.5-VL: attention windows in the tower, time in the positions."""

import dataclasses
from typing import Any, Literal

import numpy as np

from input_pipeline.layout import DynamicResolution, MediaLayout, TokenBlock
from vsft_jax.models.qwen2_5_vl.config import VisionConfig

_UNIT = 28 * 28  # pixels of one visual token in one frame


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layout(DynamicResolution):
    """See `DynamicResolution` for the sizes; defaults are qwen-vl-utils' 0.0.14.

    window_pixels: side of an attention window.
    tokens_per_second: temporal positions in a second of video.
    time_mode: "float" keeps the seconds between temporal grids as they are; "hf_int" cuts them to
        whole seconds first, as transformers did before its pull request #48669.
    """

    patch_size: int = 14
    temporal_patch_size: int = 2
    merge_size: int = 2
    window_pixels: int = 112
    tokens_per_second: float = 2.0
    image_min_pixels: int = 4 * _UNIT
    image_max_pixels: int = 16384 * _UNIT
    video_min_pixels: int = 128 * _UNIT
    video_max_pixels: int = 768 * _UNIT
    video_total_pixels: float = 128000 * _UNIT * 0.9
    time_mode: Literal["float", "hf_int"] = "float"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.time_mode not in ("float", "hf_int"):
            raise ValueError(f'time_mode must be "float" or "hf_int", got {self.time_mode!r}')
        if self.window_pixels % self.factor:
            raise ValueError(
                f"window_pixels={self.window_pixels} must be a multiple of patch_size × merge_size "
                f"= {self.factor}"
            )

    @property
    def window_units(self) -> int:
        return self.window_pixels // self.factor

    def blocks(self, medium: MediaLayout) -> list[TokenBlock]:
        """One block a medium: its grid, turned with time, row and column."""
        return [self.grid_block(medium, temporal_ids(medium, self))]


def temporal_ids(medium: MediaLayout, layout: "Layout") -> np.ndarray:
    """M-RoPE time of each temporal grid -> int32[T], from 0, in 1 / tokens_per_second seconds.

    0 for an image. For a clip floor(i · seconds_per_grid · tokens_per_second), where
    seconds_per_grid is temporal_patch_size times the seconds that one sampled frame stands for;
    `layout.time_mode` "hf_int" cuts it to whole seconds first.
    """
    grids = medium.grid[0]
    if medium.kind == "image":
        return np.zeros(grids, np.int32)
    # float32, as in torch: it also absorbs the rounding of the duration, so that an interval
    # of 2 - 1e-15 does not fall to 1.
    seconds_per_grid = np.float32(medium.interval * layout.temporal_patch_size)
    if layout.time_mode == "hf_int":
        seconds_per_grid = np.trunc(seconds_per_grid)
    step = np.float32(layout.tokens_per_second) * seconds_per_grid
    return np.floor(np.arange(grids, dtype=np.float32) * step).astype(np.int32)


def layout(vision: VisionConfig, **choices: Any) -> Layout:
    """Layout rules for a tower; choices: pixel budgets and `time_mode`, by their names."""
    return Layout(
        patch_size=vision.patch_size,
        temporal_patch_size=vision.temporal_patch_size,
        merge_size=vision.merge_size,
        window_pixels=vision.window_size,
        tokens_per_second=vision.tokens_per_second,
        **choices,
    )
