"""Layout rules of LLaVA-1.5: every image, and every frame of a clip, is one input of the tower."""

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from input_pipeline.layout import FixedResolution, MediaLayout, TokenBlock, block
from input_pipeline.layout.tiles import FITS, Fit, Size, fit_square, size_before_fit
from vsft_jax.models.shared.vit import CLIP_MEAN, VisionConfig

if TYPE_CHECKING:
    from input_pipeline.media import MediaInfo

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

    def __post_init__(self):
        if self.fit not in FITS:
            raise ValueError(f"fit must be one of {FITS}, got {self.fit!r}")

    @property
    def media_tokens(self) -> Mapping[str, str]:
        """A clip is a run of images to the model, and has no token of its own."""
        return {"image": "<image>", "video": "<image>"}

    def lay_out(
        self, info: "MediaInfo", frame_indices: tuple[int, ...], shrink: float, images: int = 1
    ) -> MediaLayout:
        """See `VisionLayout.lay_out`; there is one size only."""
        frames = len(frame_indices)
        size = (self.image_size, self.image_size)
        tokens = frames * self.side**2
        return self.medium(info, frame_indices, size=size, inputs=frames, tokens=tokens)

    def blocks(self, medium: MediaLayout) -> list[TokenBlock]:
        """One block a medium, its frames one after the other."""
        return [block(self.features(medium).reshape(-1, 1))]

    def decode_size(self, medium: MediaLayout) -> Size | None:
        return size_before_fit(medium.source_size, self.image_size, self.fit)

    def inputs(self, frames: np.ndarray, medium: MediaLayout) -> np.ndarray:
        """uint8[F, H, W, 3] -> uint8[F, image_size, image_size, 3]."""
        fitted = [fit_square(frame, self.image_size, self.fit, _BACKGROUND) for frame in frames]
        return np.stack(fitted)


def layout(vision: VisionConfig, **choices) -> Layout:
    """Layout rules for a tower; choices: `fit`."""
    return Layout(
        image_size=vision.image_size,
        patch_size=vision.patch_size,
        class_token=vision.class_token,
        **choices,
    )
