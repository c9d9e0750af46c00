"""Layout rules of LLaVA-1.5: every image, and every frame of a clip, is one input of the tower."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from input_pipeline.layout import FixedResolution, MediaLayout, TokenBlock
from input_pipeline.layout.tiles import FITS, Fit, fit_square
from input_pipeline.media import MediaInfo
from vsft_jax.models.shared.hf import llava_processor
from vsft_jax.models.shared.hf.processor import Stated
from vsft_jax.models.shared.patch_embed import CLIP_MEAN
from vsft_jax.models.shared.vit import VisionConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layout(FixedResolution):
    """fit: how a picture becomes a square. "crop" keeps the centre, as the published models'
    preprocessor does; "pad" keeps all of it, as they were trained; "stretch" distorts it.
    background: colour of what "pad" adds, the pixels' mean.
    """

    image_size: int = 336
    patch_size: int = 14
    class_token: bool = True
    fit: Fit = "crop"
    background: tuple[int, ...] = tuple(int(255 * value) for value in CLIP_MEAN)

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
        return fit_square(frame, self.image_size, self.fit, self.background)


def stated_layout(vision: VisionConfig, stated: Stated) -> dict[str, Any]:
    """The layout's choices by a directory's processor files, as transformers reads them. Raises
    ValueError for what is not computed here."""
    llava_processor.require_counts(stated, vision)
    return {"fit": llava_processor.picture_fit(stated.image, vision)} if stated.image else {}


def layout(vision: VisionConfig, **choices: Any) -> Layout:
    """Layout rules for a tower; choices: `fit`."""
    background = tuple(int(255 * value) for value in vision.image_mean)
    return Layout(**vision.input_numbers, background=background, **choices)
