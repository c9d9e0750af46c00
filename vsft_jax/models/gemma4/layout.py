"""Layout rules of Gemma 4: a budget of visual tokens for each image and each frame, frames each
behind its time. Follows transformers `models/gemma4/{image_processing,video_processing,processing}_
gemma4.py`."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from input_pipeline.layout import MediaLayout, PatchIndices, TokenBlock
from input_pipeline.layout.patches import check_frames, patchify
from input_pipeline.layout.positions import vision_indices
from input_pipeline.layout.vision_layout import check_aspect_ratio
from input_pipeline.media import MediaInfo, resize
from vsft_jax.models.gemma4.config import VisionConfig
from vsft_jax.models.shared.clock import minutes_and_seconds
from vsft_jax.models.shared.hf.processor import Settings, Stated, require_processor

# Visual tokens that an image or a frame may take: those that the models were trained with.
BUDGETS = (70, 140, 280, 560, 1120)
_IMAGE, _VIDEO, _BEGIN, _END = "<|image|>", "<|video|>", "<|image>", "<image|>"


def budget_size(height: int, width: int, factor: int, tokens: float) -> tuple[int, int]:
    """The largest size, multiples of `factor`, of at most so many visual tokens: all in pixels.

    A picture is enlarged to its budget, too. One so long that its shorter side would vanish becomes
    a single line of tokens. Raises LayoutError if one side is more than 200 times the other.
    """
    check_aspect_ratio(height, width)
    scale = math.sqrt(tokens * factor**2 / (height * width))
    rows, columns = (math.floor(scale * side / factor) for side in (height, width))
    if rows == 0:
        rows, columns = 1, max(1, min(width // height, int(tokens)))
    elif columns == 0:
        rows, columns = max(1, min(height // width, int(tokens))), 1
    return rows * factor, columns * factor


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layout:
    """patch_size, merge_size: see `VisionConfig`.

    image_tokens, frame_tokens: the most visual tokens of an image and of a frame, of `BUDGETS`.
    What is too large for a row goes down to the smallest of these, then loses frames.
    """

    patch_size: int
    merge_size: int
    image_tokens: int
    frame_tokens: int

    def __post_init__(self) -> None:
        for key in ("image_tokens", "frame_tokens"):
            if getattr(self, key) not in BUDGETS:
                raise ValueError(f"{key} = {getattr(self, key)} must be one of {BUDGETS}")

    @property
    def media_tokens(self) -> Mapping[str, str]:
        return {"image": _IMAGE, "video": _VIDEO}

    @property
    def clip_template(self) -> str | None:
        return None

    @property
    def factor(self) -> int:
        """Side of one visual token in pixels."""
        return self.patch_size * self.merge_size

    @property
    def patch_dim(self) -> int:
        """C, ordered (row, column, channel)."""
        return 3 * self.patch_size**2

    @property
    def patches_per_unit(self) -> int:
        return self.merge_size**2

    @property
    def coord_columns(self) -> int:
        return 2

    @property
    def taps(self) -> int:
        return 1

    @property
    def min_frames(self) -> int:
        return 1

    def lay_out(
        self, info: MediaInfo, frame_indices: tuple[int, ...], shrink: float, images: int = 1
    ) -> MediaLayout:
        """See `VisionLayout.lay_out`. A clip has a placeholder for each frame."""
        video, unit = info.kind == "video", self.factor**2
        most: float = self.frame_tokens if video else self.image_tokens
        # The data set's own limits of this medium.
        if info.max_pixels:
            most = info.max_pixels / unit
        if info.min_pixels:
            most = max(most, info.min_pixels / unit)
        size = budget_size(info.height, info.width, self.factor, most)
        if shrink < 1:
            least = min(most, BUDGETS[0])
            size = budget_size(
                *(info.height, info.width, self.factor), max(least, shrink * math.prod(size) / unit)
            )
        grid = (len(frame_indices), size[0] // self.patch_size, size[1] // self.patch_size)
        patches = math.prod(grid)
        tokens = patches // self.patches_per_unit
        medium = MediaLayout.of(info, frame_indices, size, grid, patches, tokens)
        return dataclasses.replace(medium, placeholders=len(frame_indices))

    def placeholder(self, medium: MediaLayout) -> tuple[str, str]:
        """An image between its borders; a clip as its frames like that, each behind its time."""
        if medium.kind == "image":
            return _IMAGE, f"{_BEGIN}{_IMAGE}{_END}"
        frame = f"{_BEGIN}{_VIDEO}{_END}"
        times = map(minutes_and_seconds, medium.frame_times)
        return _VIDEO, " ".join(f"{time} {frame}" for time in times)

    def blocks(self, medium: MediaLayout) -> list[TokenBlock]:
        """One block for each frame, whose positions count up as those of text do."""
        units = np.arange(medium.tokens, dtype=np.int32).reshape(medium.placeholders, -1, 1)
        return [TokenBlock.in_line(each) for each in units]

    def patch_indices(self, medium: MediaLayout) -> PatchIndices:
        """coords: (column, row) of each patch in its frame; the patches of a visual token are
        neighbours."""
        found = vision_indices(medium.grid, self.merge_size, None)
        return PatchIndices(found.coords[:, ::-1], found.frames, found.windows)

    def decode_size(self, medium: MediaLayout) -> tuple[int, int]:
        return medium.height, medium.width

    def write_patches(self, frames: np.ndarray, medium: MediaLayout, out: np.ndarray) -> None:
        """Resizes and cuts the frames of one medium, uint8[F, H, W, 3], into `out`, uint8[P, C].

        Raises ValueError if there are not as many frames as were laid out.
        """
        check_frames(frames, medium)
        sized = np.stack([resize(frame, medium.height, medium.width) for frame in frames])
        out[:] = patchify(sized, self.patch_size, merge=self.merge_size, channels_last=True)


def stated_layout(vision: VisionConfig, stated: Stated) -> dict[str, Any]:
    """The layout's choices by a directory's processor files, as transformers reads them; the
    released models' where there is no file. Raises ValueError for what is not computed here."""
    choices = {"image_tokens": 280, "frame_tokens": 70}
    if stated.image:
        choices["image_tokens"] = _budget(stated.image, vision, 280, "Gemma4ImageProcessor")
    if stated.video:
        choices["frame_tokens"] = _budget(
            *(stated.video, vision, 70), "Gemma4VideoProcessor", "Gemma4ImageProcessor"
        )
    return choices


def _budget(settings: Settings, vision: VisionConfig, default: int, *types: str) -> int:
    require_processor(
        settings,
        types,
        # The released mean and deviation are 0 and 1: it makes no difference.
        normalize=(False, True),
        patch_size=vision.patch_size,
        pooling_kernel_size=vision.merge_size,
    )
    mean, std = settings.get("image_mean", [0.0] * 3), settings.get("image_std", [1.0] * 3)
    settings.require(
        (mean, std) == ([0.0] * 3, [1.0] * 3),
        f"image_mean = {mean} and image_std = {std} are not supported (only 0 and 1)",
    )
    found: Any = settings.get("max_soft_tokens", default)
    settings.require(found in BUDGETS, f"max_soft_tokens = {found!r} must be one of {BUDGETS}")
    return int(found)


def layout(vision: VisionConfig, **choices: Any) -> Layout:
    """Layout rules for a tower; choices: `image_tokens`, `frame_tokens`."""
    return Layout(
        patch_size=vision.patch_size,
        merge_size=vision.merge_size,
        **({"image_tokens": 280, "frame_tokens": 70} | choices),
    )
