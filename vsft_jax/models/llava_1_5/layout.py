"""Layout rules of LLaVA-1.5: every image, and every frame of a clip, is one input of the tower."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from input_pipeline.layout import FixedResolution, MediaLayout, TokenBlock
from input_pipeline.layout.tiles import FITS, Fit, fit_square
from input_pipeline.media import MediaInfo
from vsft_jax.models.shared.patch_embed import CLIP_MEAN
from vsft_jax.models.shared.vit import VisionConfig

_BACKGROUND = tuple(int(255 * value) for value in CLIP_MEAN)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layout(FixedResolution):
    """fit: how a picture becomes a square. "crop" keeps the centre, as the published models'
    preprocessor does; "pad" keeps all of it, as they were trained; "stretch" distorts it.
    """

    image_size: int = 336
    patch_size: int = 14
    class_token: bool = True
    fit: Fit = "crop"

    def __post_init__(self) -> None:
        if self.fit not in FITS:
            raise ValueError(f"fit must be one of {FITS}, got {self.fit!r}")

    @property
    def media_tokens(self) -> Mapping[str, str]:
        """A clip is a run of images to the model, and has no token of its own."""
        return {"image": "<image>", "video": "<image>"}

    @property
    def frame_fit(self) -> Fit:
        return self.fit

    def lay_out(
        self, info: MediaInfo, frame_indices: tuple[int, ...], shrink: float, images: int = 1
    ) -> MediaLayout:
        """See `VisionLayout.lay_out`; there is one size only."""
        return self.frames_layout(info, frame_indices, len(frame_indices) * self.side**2)

    def blocks(self, medium: MediaLayout) -> list[TokenBlock]:
        """One block a medium, its frames one after the other."""
        return [TokenBlock.in_line(self.features(medium).reshape(-1, 1))]

    def square(self, frame: np.ndarray) -> np.ndarray:
        return fit_square(frame, self.image_size, self.fit, _BACKGROUND)


def layout(vision: VisionConfig, **choices: Any) -> Layout:
    """Layout rules for a tower; choices: `fit`."""
    return Layout(**vision.input_numbers, **choices)
