"""Layout rules of Qwen3-VL and Qwen3.5: time is text, one block for each temporal grid."""

import dataclasses
from typing import Any

import numpy as np

from input_pipeline.layout import DynamicResolution, MediaLayout, PatchIndices, TokenBlock
from input_pipeline.media import MediaInfo
from vsft_jax.models.shared.hf import qwen as qwen_hf
from vsft_jax.models.shared.hf.processor import Stated
from vsft_jax.models.shared.qwen import VisionConfig

_UNIT = 32 * 32  # pixels of one visual token in one frame

# The released processors' sizes (preprocessor_config.json, video_preprocessor_config.json), which
# differ from qwen-vl-utils': images have at least 64 tokens, and a clip's pixels are shared by
# its frames alone, so that short clips keep theirs.
TRANSFORMERS_SIZES: dict[str, float | None] = {
    "image_min_pixels": 64 * _UNIT,
    "image_max_pixels": 16384 * _UNIT,
    "video_min_pixels": _UNIT,
    "video_max_pixels": None,
    "video_total_pixels": 24576 * _UNIT / 2,
    "clip_min_pixels": 4 * _UNIT,
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layout(DynamicResolution):
    """See `DynamicResolution` for the sizes. Defaults are qwen-vl-utils' 0.0.14 at patches of 16,
    as in Qwen3-VL's own repository; for those of transformers' processors see
    `TRANSFORMERS_SIZES`.

    clip_min_pixels: of all frames of a clip together, at least; transformers' rule.
    """

    patch_size: int = 16
    temporal_patch_size: int = 2
    merge_size: int = 2
    image_min_pixels: int = 4 * _UNIT
    image_max_pixels: int = 16384 * _UNIT
    video_min_pixels: int = 128 * _UNIT
    video_max_pixels: int | None = 768 * _UNIT
    video_total_pixels: float = 128000 * _UNIT * 0.9
    clip_min_pixels: int = 0

    @property
    def coord_columns(self) -> int:
        return 4

    def frame_limits(self, frames: int) -> tuple[float, float]:
        """See `DynamicResolution.frame_limits`; `clip_min_pixels` as in transformers
        `video_processing_qwen3_vl.py`, `resize`."""
        low, high = super().frame_limits(frames)
        if self.video_max_pixels is not None:
            high = max(high, int(self.clip_min_pixels * 1.05))
        return max(low, self.clip_min_pixels / frames), high

    def lay_out(
        self, info: MediaInfo, frame_indices: tuple[int, ...], shrink: float, images: int = 1
    ) -> MediaLayout:
        """See `VisionLayout.lay_out`. A clip has a placeholder for each temporal grid."""
        medium = super().lay_out(info, frame_indices, shrink, images)
        return dataclasses.replace(medium, placeholders=medium.grid[0])

    def placeholder(self, medium: MediaLayout) -> tuple[str, str] | None:
        """A clip becomes its temporal grids, each behind its time: `<1.5 seconds>`.

        As transformers did when the model was released (4.57). Versions since then (5.12, 5.23)
        leave the template's own <|vision_start|> and <|vision_end|> standing around all of it.
        """
        if medium.kind == "image":
            return None
        block = f"<|vision_start|>{self.media_tokens['video']}<|vision_end|>"
        times = grid_times(medium.frame_times, self.temporal_patch_size)
        return block, "".join(f"<{time:.1f} seconds>{block}" for time in times)

    def blocks(self, medium: MediaLayout) -> list[TokenBlock]:
        """One block for each temporal grid, turned with row and column."""
        # All grids have the same positions, counted from their own starts.
        whole = self.grid_block(medium, np.zeros(medium.grid[0], np.int32))
        parts = (np.split(each, medium.grid[0]) for each in (whole.offsets, whole.visual_index))
        return [TokenBlock(*part) for part in zip(*parts, strict=True)]

    def patch_indices(self, medium: MediaLayout) -> PatchIndices:
        """coords: row and column of each patch, height and width of its frame in patches, A = 4."""
        indices = super().patch_indices(medium)
        sizes = np.broadcast_to(np.array(medium.grid[1:], np.int32), indices.coords.shape)
        return indices._replace(coords=np.concatenate([indices.coords, sizes], axis=1))


def grid_times(frame_times: tuple[float, ...], frames: int) -> list[float]:
    """Seconds of each temporal grid: the middle between its first and its last frame.

    frame_times: seconds of the sampled frames; frames: in a grid, the clip's last repeated to fill
    the last one.
    """
    starts = range(0, len(frame_times), frames)
    last = len(frame_times) - 1
    return [(frame_times[i] + frame_times[min(i + frames - 1, last)]) / 2 for i in starts]


def stated_layout(vision: VisionConfig, stated: Stated) -> dict[str, Any]:
    """The layout's choices by a directory's processor files, as transformers reads them; the
    released models' where there is no file. Raises ValueError for what is not computed here."""
    choices: dict[str, Any] = dict(TRANSFORMERS_SIZES)
    if stated.image:
        choices |= qwen_hf.image_limits(stated.image, vision)
    if stated.video:
        qwen_hf.require_clips(stated.video, vision, "Qwen3VLVideoProcessor")
        low, high = qwen_hf.limits(stated.video, 128 * _UNIT, 768 * _UNIT, by_name=False)
        unit = (vision.patch_size * vision.merge_size) ** 2
        capped = stated.video.get("cap_pixels_per_frame", False)
        tokens = stated.video.get("max_video_tokens", 768)  # of a frame
        choices |= {
            "video_min_pixels": unit,
            "video_max_pixels": round(tokens * unit) if capped else None,
            "video_total_pixels": high / vision.temporal_patch_size,
            "clip_min_pixels": low,
        }
    return choices


def layout(vision: VisionConfig, **choices: Any) -> Layout:
    """Layout rules for a tower; choices: pixel budgets, by their names."""
    return Layout(
        patch_size=vision.patch_size,
        temporal_patch_size=vision.temporal_patch_size,
        merge_size=vision.merge_size,
        **choices,
    )
