"""What a model family says of its media, and the words in which it says it.

The rules are a value, a `VisionLayout`: the index is named after it, and everything about media
that the text, the batch and the decoder need to know is asked of it.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, NamedTuple, Protocol

import numpy as np

from input_pipeline.errors import UserError
from input_pipeline.examples import MediaKind
from input_pipeline.media import MediaInfo, times_at

NEWLINE = -2  # in a feature index: the learned vector that ends a row of visual tokens
_MAX_ASPECT_RATIO = 200


class LayoutError(UserError, ValueError):
    """An example that cannot be laid out. reason: one word for counting, here "aspect_ratio"."""

    def __init__(self, reason: str, detail: str):
        super().__init__(detail)
        self.reason = reason


@dataclasses.dataclass(frozen=True)
class MediaLayout:
    """One image or clip after sampling and resizing.

    frame_indices: frames to show, in this order, which is that of the clip but for a control of
                   evaluation. An image has (0,).
    frame_times:   their times in seconds from the first frame of the clip.
    height, width: pixels after resizing. grid: (t, h, w) in patches.
    patches:       rows of vision input that it takes.
    tokens:        visual positions that it takes in the text, over all its placeholders.
    placeholders:  tokens of the chat text that stand for it before they are expanded.
    interval:      seconds of the clip that each sampled frame stands for, duration / frames, which
                   is 1 / sample_fps of qwen-vl-utils; 0.0 for an image.
    source_size:   (height, width) of the file's picture, pixels.
    """

    kind: MediaKind
    frame_indices: tuple[int, ...]
    frame_times: tuple[float, ...]
    height: int
    width: int
    grid: tuple[int, int, int]
    patches: int
    tokens: int
    placeholders: int = 1
    interval: float = 0.0
    source_size: tuple[int, int] = (0, 0)

    @property
    def grid_patches(self) -> int:
        """Of one temporal grid or tile."""
        return self.patches // self.grid[0]

    @classmethod
    def of(
        cls,
        info: MediaInfo,
        frame_indices: tuple[int, ...],
        size: tuple[int, int],
        grid: tuple[int, int, int],
        patches: int,
        tokens: int,
    ) -> "MediaLayout":
        """The layout of these frames of a medium; size: (height, width) after resizing."""
        return cls(
            kind=info.kind,
            frame_indices=frame_indices,
            frame_times=times_at(info.frame_times, frame_indices),
            height=size[0],
            width=size[1],
            grid=grid,
            patches=patches,
            tokens=tokens,
            interval=info.duration_s / len(frame_indices),
            source_size=(info.height, info.width),
        )


def check_aspect_ratio(height: int, width: int) -> None:
    """Raises LayoutError for a picture without area, and where one side is more than 200 times the
    other: resizing its shorter side would make it huge."""
    if min(height, width) <= 0 or max(height, width) / min(height, width) > _MAX_ASPECT_RATIO:
        raise LayoutError(
            "aspect_ratio",
            f"cannot lay out a picture of {width}x{height} pixels: the aspect ratio must be at "
            f"most {_MAX_ASPECT_RATIO}",
        )


class TokenBlock(NamedTuple):
    """What one placeholder token expands to: n visual positions.

    offsets:      int32[n, 3], positions counted from the block's start.
    visual_index: int32[n, K], visual features, counted from the medium's first, or `NEWLINE`.
    weights:      float32[n, K], or None where K = 1.
    """

    offsets: np.ndarray
    visual_index: np.ndarray
    weights: np.ndarray | None = None

    @classmethod
    def in_line(cls, visual_index: np.ndarray, weights: np.ndarray | None = None) -> "TokenBlock":
        """A block whose positions count up along all axes, as those of text do."""
        offsets = np.repeat(np.arange(len(visual_index), dtype=np.int32)[:, None], 3, axis=1)
        return cls(offsets, visual_index, weights)


class PatchIndices(NamedTuple):
    """Where the P patches of one medium come from.

    coords:  int32[P, A], what the family's tower needs to know of a patch's place in its frame.
    frames:  int32[P], temporal grid or tile, from 0; whole frames are contiguous runs.
    windows: int32[P], attention window, from 0, counted over all frames.
    """

    coords: np.ndarray
    frames: np.ndarray
    windows: np.ndarray


class VisionLayout(Protocol):
    """How a model family cuts images and clips into patches and tokens.

    A frozen dataclass of JSON values, so that an index can be named after it.
    """

    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]

    @property
    def media_tokens(self) -> Mapping[str, str]:
        """The placeholder token of the chat text, by kind of medium."""
        ...

    @property
    def clip_template(self) -> str | None:
        """The chat template of conversations with clips, in place of the checkpoint's own, where
        transformers does so."""
        ...

    @property
    def patch_dim(self) -> int:
        """C, the values of one patch."""
        ...

    @property
    def patches_per_unit(self) -> int:
        """Neighbouring patches that make one visual feature."""
        ...

    @property
    def coord_columns(self) -> int:
        """A, see `PatchIndices`."""
        ...

    @property
    def taps(self) -> int:
        """K, how many features a visual token may be a weighted sum of."""
        ...

    @property
    def min_frames(self) -> int:
        """The frames that the tower takes at a time: a clip is sampled at a multiple of it."""
        ...

    def lay_out(
        self, info: MediaInfo, frame_indices: tuple[int, ...], shrink: float, images: int = 1
    ) -> MediaLayout:
        """One medium at `shrink` (0: the smallest allowed, 1: full size) of its area.

        images: how many of the example's media are images, this one counted.

        Raises LayoutError for a picture that the rules cannot take.
        """
        ...

    def placeholder(self, medium: MediaLayout) -> tuple[str, str] | None:
        """(text that the chat template renders for it, text to put there); None: leave it."""
        ...

    def blocks(self, medium: MediaLayout) -> Sequence[TokenBlock]:
        """What its placeholder tokens expand to, in their order."""
        ...

    def patch_indices(self, medium: MediaLayout) -> PatchIndices:
        """Indices of its patches, in the order in which `write_patches` writes them."""
        ...

    def decode_size(self, medium: MediaLayout) -> tuple[int, int] | None:
        """(height, width) that frames may be resized to as they are decoded, because
        `write_patches` would do it anyway; None where it needs them as they are."""
        ...

    def write_patches(self, frames: np.ndarray, medium: MediaLayout, out: np.ndarray) -> None:
        """Resizes and cuts decoded frames, uint8[F, H, W, 3], into `out`, uint8[P, C].

        frames: at their own size or at `decode_size`.
        """
        ...


@dataclasses.dataclass(frozen=True)
class ExampleLayout:
    """All media of an example in reading order, and what the example costs.

    tokens: text positions after every medium is expanded. patches: rows of vision input.
    shrunk: the lowest rung of the ladder that was needed: "", "pixels" or "frames".
    """

    media: tuple[MediaLayout, ...]
    tokens: int
    patches: int
    shrunk: Literal["", "pixels", "frames"]

    @property
    def largest_grid(self) -> int:
        """Patches of the largest temporal grid or tile, 0 without media."""
        return max((medium.grid_patches for medium in self.media), default=0)

    def to_json(self) -> str:
        """A compact JSON string that `from_json` reads back to an equal layout."""
        record = vars(self) | {"media": [vars(medium) for medium in self.media]}
        return json.dumps(record, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> "ExampleLayout":
        """Inverse of `to_json`."""
        record = json.loads(text)
        media = tuple(MediaLayout(**_with_tuples(medium)) for medium in record.pop("media"))
        return cls(media, **_with_tuples(record))


def _with_tuples(record: dict) -> dict:
    """JSON has lists only; our fields are tuples, so that layouts can be hashed."""
    return {key: tuple(v) if isinstance(v, list) else v for key, v in record.items()}
