"""Where every pixel and token of an example will go, computed from metadata before any decoding.

The rules are a model family's and come in as a value, a `VisionLayout`; here is what all families
share: the words, and the ladder by which an example that is too large shrinks.
"""

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

import numpy as np

from input_pipeline.examples import MediaKind
from input_pipeline.media import uniform_frame_indices

if TYPE_CHECKING:
    from input_pipeline.media import MediaInfo
    from input_pipeline.text.chat_tokenizer import EncodedText

NEWLINE = -2  # in a feature index: the learned vector that ends a row of visual tokens
_PIXEL_STEPS = 64  # the pixel rung of the ladder tries this many sizes, evenly spaced in area


@dataclasses.dataclass(frozen=True)
class MediaLayout:
    """One image or clip after sampling and resizing.

    frame_indices: frames to decode, presentation order. An image has (0,).
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


class TokenBlock(NamedTuple):
    """What one placeholder token expands to: n visual positions.

    offsets: int32[n, 3], positions counted from the block's start.
    index:   int32[n, K], visual features, counted from the medium's first, or `NEWLINE`.
    weights: float32[n, K], or None where K = 1.
    """

    offsets: np.ndarray
    index: np.ndarray
    weights: np.ndarray | None = None


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

    @property
    def media_tokens(self) -> Mapping[str, str]:
        """The placeholder token of the chat text, by kind of medium."""
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
        self, info: "MediaInfo", frame_indices: tuple[int, ...], shrink: float, images: int = 1
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

    def to_json(self) -> str:
        """A compact JSON string that `from_json` reads back to an equal layout."""
        record = vars(self) | {"media": [vars(medium) for medium in self.media]}
        return json.dumps(record, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> "ExampleLayout":
        """Inverse of `to_json`."""
        record = json.loads(text)
        media = tuple(
            MediaLayout(
                kind=m["kind"],
                frame_indices=tuple(m["frame_indices"]),
                frame_times=tuple(m["frame_times"]),
                height=m["height"],
                width=m["width"],
                grid=tuple(m["grid"]),
                patches=m["patches"],
                tokens=m["tokens"],
                placeholders=m["placeholders"],
                interval=m["interval"],
                source_size=tuple(m["source_size"]),
            )
            for m in record["media"]
        )
        return cls(media, record["tokens"], record["patches"], record["shrunk"])


class LayoutError(ValueError):
    """An example that cannot be laid out. reason: one word for counting, here "aspect_ratio"."""

    def __init__(self, reason: str, detail: str):
        super().__init__(detail)
        self.reason = reason


class TooLong(LayoutError):
    """An example that does not fit at the smallest size and frame count allowed.

    reason: "text" if its words alone are too many, else "media".
    """


def layout_example(
    spec: VisionLayout,
    encode: "Callable[[Sequence[MediaLayout]], EncodedText]",
    infos: "Sequence[MediaInfo]",
    budgets: Sequence[int],
    max_tokens: int,
    max_patches: int,
) -> ExampleLayout:
    """Lays an example out so that it fits into `max_tokens` positions and `max_patches` patches.

    encode: media layouts -> the text, each medium's placeholder tokens in it; called again when
    frames are given up, since some families write the frames' times into the text.
    infos: what was probed, in the same order. budgets: frames for each medium (an image's entry is
    not used).

    If it does not fit, pixels shrink first (all media by one common factor of area, as little as
    needed, down to the spec's minimum); then all clips' frames are halved, down to the fewest the
    spec allows, with pixels as large as then fits. Visual tokens are never cut off.

    Raises TooLong if the smallest form does not fit, LayoutError for a picture that the spec cannot
    take, ValueError if the budgets do not match the media or one is not positive.
    """
    if len(budgets) != len(infos):
        raise ValueError(f"{len(budgets)} frame budgets for {len(infos)} media")
    sampled = [_sample(spec, info, n) for info, n in zip(infos, budgets, strict=True)]
    images = sum(info.kind == "image" for info in infos)
    shrunk = ""
    while True:

        def at_size(step: int, sampled=sampled) -> tuple[MediaLayout, ...]:
            return tuple(
                spec.lay_out(info, indices, step / _PIXEL_STEPS, images)
                for info, indices in zip(infos, sampled, strict=True)
            )

        full = at_size(_PIXEL_STEPS)
        text = len(encode(full).ids) - sum(medium.placeholders for medium in full)

        def fitting(media: tuple[MediaLayout, ...], kind: str, text=text) -> ExampleLayout | None:
            tokens = text + sum(medium.tokens for medium in media)
            patches = sum(medium.patches for medium in media)
            if tokens > max_tokens or patches > max_patches:
                return None
            return ExampleLayout(media, tokens, patches, kind)

        layout = fitting(full, shrunk) or _largest(
            lambda step, size=at_size, fit=fitting, kind=shrunk: fit(size(step), kind or "pixels")
        )
        if layout is not None:
            return layout
        fewer = [
            _sample(spec, info, max(1, len(indices) // 2))
            for info, indices in zip(infos, sampled, strict=True)
        ]
        if fewer == sampled:
            if text > max_tokens:
                raise TooLong("text", f"{text} text tokens do not fit into {max_tokens} tokens")
            raise TooLong(
                "media",
                f"{len(infos)} media and {text} text tokens do not fit into {max_tokens} tokens "
                f"and {max_patches} patches, even at the smallest size and the fewest frames: "
                "lower config.layout's smallest sizes or allow longer rows",
            )
        sampled, shrunk = fewer, "frames"


def _largest(at_size: Callable[[int], ExampleLayout | None]) -> ExampleLayout | None:
    """The layout of the largest size below the full one that fits, by bisection."""
    best = at_size(0)
    if best is None:
        return None
    low, high = 0, _PIXEL_STEPS
    while high - low > 1:
        middle = (low + high) // 2
        layout = at_size(middle)
        if layout is None:
            high = middle
        else:
            low, best = middle, layout
    return best


def _sample(spec: VisionLayout, info: "MediaInfo", count: int) -> tuple[int, ...]:
    if info.kind == "image":
        return (0,)
    if count < 1:
        raise ValueError(f"a frame budget must be at least 1 frame, got {count}")
    indices = uniform_frame_indices(info.frame_times, max(count, spec.min_frames), spec.min_frames)
    return tuple(int(index) for index in indices)
