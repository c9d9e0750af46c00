"""Layout rules of Qwen2.5-VL: attention windows in the tower, time in the positions."""

import dataclasses
from typing import Any, Literal

import numpy as np

from input_pipeline.layout import DynamicResolution, MediaLayout, TokenBlock
from vsft_jax.models.qwen2_5_vl.config import VisionConfig
from vsft_jax.models.shared.hf import qwen as qwen_hf
from vsft_jax.models.shared.hf.processor import Stated

_UNIT = 28 * 28  # pixels of one visual token in one frame


# The released models' preprocessor_config.json, from which transformers makes both processors.
TRANSFORMERS_SIZES: dict[str, int | None] = {
    "image_min_pixels": 4 * _UNIT,
    "image_max_pixels": 16384 * _UNIT,
    "video_min_pixels": 4 * _UNIT,
    "video_max_pixels": 16384 * _UNIT,
    "video_total_pixels": None,
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layout(DynamicResolution):
    """See `DynamicResolution` for the sizes; defaults are qwen-vl-utils' 0.0.14. For those of
    transformers' processors see `TRANSFORMERS_SIZES`.

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
    video_total_pixels: float | None = 128000 * _UNIT * 0.9
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


def stated_layout(vision: VisionConfig, stated: Stated) -> dict[str, Any]:
    """The layout's choices by a directory's processor files, as transformers reads them; the
    released models' where there is no file. Raises ValueError for what is not computed here."""
    choices: dict[str, Any] = dict(TRANSFORMERS_SIZES)
    if stated.image:
        choices |= qwen_hf.image_limits(stated.image, vision)
    if stated.video:
        qwen_hf.require_clips(stated.video, vision, "Qwen2VLVideoProcessor")
        low, high = qwen_hf.limits(stated.video, 128 * _UNIT, 768 * _UNIT)
        choices |= {"video_min_pixels": low, "video_max_pixels": high}
        if stated.video.get("cap_pixels_per_frame", False):
            unit = (vision.patch_size * vision.merge_size) ** 2
            tokens = stated.video.get("max_video_tokens", 128000)  # of a clip
            choices["video_total_pixels"] = int(tokens * unit * 0.9)
    return choices


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
