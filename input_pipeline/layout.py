"""Where every pixel and token of an example will go, computed from metadata before any decoding.

The rules are Qwen2.5-VL's as `qwen-vl-utils` 0.0.14 states them (`vision_process.py`:
`smart_resize`, `fetch_video`), given as data in a `VisionLayoutSpec`.
"""

import dataclasses
import json
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

from input_pipeline.examples import MediaKind
from input_pipeline.sampling import uniform_frame_indices

if TYPE_CHECKING:
    from input_pipeline.chat import EncodedText
    from input_pipeline.media import MediaInfo

MAX_ASPECT_RATIO = 200
_UNIT = 28 * 28  # pixels of one visual token in one frame
_PIXEL_STEPS = 64  # the pixel rung of the ladder tries this many sizes, evenly spaced in area


@dataclasses.dataclass(frozen=True)
class VisionLayoutSpec:
    """How a model family cuts images and videos into patches and tokens.

    Sizes are pixels; a pixel count (`*_pixels` except `window_pixels`) is height × width of one
    frame, `video_total_pixels` of a whole clip. merge_size² patches become one token.

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

    def __post_init__(self):
        if self.time_mode not in ("float", "hf_int"):
            raise ValueError(f'time_mode must be "float" or "hf_int", got {self.time_mode!r}')
        if self.window_pixels % self.factor:
            raise ValueError(
                f"window_pixels={self.window_pixels} must be a multiple of patch_size × merge_size "
                f"= {self.factor}"
            )
        for kind in ("image", "video"):
            low = getattr(self, f"{kind}_min_pixels")
            high = getattr(self, f"{kind}_max_pixels")
            if not 0 < low <= high:
                raise ValueError(
                    f"{kind}_min_pixels={low} must be positive and at most {kind}_max_pixels={high}"
                )

    @property
    def factor(self) -> int:
        """Side of one visual token in pixels; heights and widths are multiples of it."""
        return self.patch_size * self.merge_size

    @property
    def patch_dim(self) -> int:
        """C, the columns of one patch: RGB × temporal_patch_size × patch_size²."""
        return 3 * self.temporal_patch_size * self.patch_size**2


@dataclasses.dataclass(frozen=True)
class MediaLayout:
    """One image or clip after sampling and resizing.

    frame_indices: frames to decode, presentation order. An image has (0,).
    frame_times:   their times in seconds from the first frame of the clip.
    interval:      seconds of the clip that each sampled frame stands for, duration / frames, which
                   is 1 / sample_fps of qwen-vl-utils; 0.0 for an image.
    height, width: resized pixels. grid: (t, h, w) in patches.
    """

    kind: MediaKind
    frame_indices: tuple[int, ...]
    frame_times: tuple[float, ...]
    height: int
    width: int
    grid: tuple[int, int, int]
    interval: float = 0.0
    merge_size: int = 2

    @property
    def patches(self) -> int:
        return math.prod(self.grid)

    @property
    def tokens(self) -> int:
        """Visual tokens it takes in the text."""
        return self.patches // self.merge_size**2


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
        return json.dumps(dataclasses.asdict(self), separators=(",", ":"))

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
                interval=m["interval"],
                merge_size=m["merge_size"],
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


def smart_resize(
    height: int, width: int, factor: int, min_pixels: float, max_pixels: float
) -> tuple[int, int]:
    """The multiple of `factor` nearest to (height, width) with an area inside the limits.

    All in pixels. Keeps the aspect ratio as far as rounding allows. Very elongated pictures may
    leave the limits, because no side falls below `factor`. Follows qwen-vl-utils `smart_resize`.

    Raises LayoutError if one side is more than 200 times the other.
    """
    if min(height, width) <= 0 or max(height, width) / min(height, width) > MAX_ASPECT_RATIO:
        raise LayoutError(
            "aspect_ratio",
            f"cannot lay out a picture of {width}x{height} pixels: the aspect ratio must be at "
            f"most {MAX_ASPECT_RATIO}",
        )
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


def video_pixel_ceiling(spec: VisionLayoutSpec, frames: int) -> float:
    """Most pixels a frame may have in a clip of `frames` frames (qwen-vl-utils `fetch_video`).

    `video_total_pixels` divides among the temporal grids, but never pushes a frame under 1.05 ×
    `video_min_pixels`: it is a target, not a hard cap.
    """
    share = spec.video_total_pixels / frames * spec.temporal_patch_size
    return max(min(spec.video_max_pixels, share), int(spec.video_min_pixels * 1.05))


def layout_example(
    spec: VisionLayoutSpec,
    encoded: "EncodedText",
    infos: "Sequence[MediaInfo]",
    budgets: Sequence[int],
    max_tokens: int,
    max_patches: int,
) -> ExampleLayout:
    """Lays an example out so that it fits into `max_tokens` positions and `max_patches` patches.

    encoded: the text, one placeholder token per medium. infos: what was probed, in the same order.
    budgets: frames for each medium (an image's entry is not used).

    If it does not fit, pixels shrink first (all media by one common factor of area, as little as
    needed, down to the spec's minimum); then all clips' frames are halved, down to one temporal
    grid each, with pixels as large as then fits. Visual tokens are never cut off.

    Raises TooLong if the smallest form does not fit, LayoutError for a picture too elongated for
    `smart_resize`, ValueError if the budgets do not match the media or one is not positive.
    """
    if len(budgets) != len(infos):
        raise ValueError(f"{len(budgets)} frame budgets for {len(infos)} media")
    text = len(encoded.ids) - len(infos)
    if text > max_tokens:
        raise TooLong("text", f"{text} text tokens do not fit into {max_tokens} tokens")
    sampled = [_sample(spec, info, n) for info, n in zip(infos, budgets, strict=True)]
    shrunk = ""
    while True:

        def at_size(step: int, sampled=sampled, shrunk=shrunk) -> ExampleLayout | None:
            media = tuple(
                _resize(spec, info, indices, step / _PIXEL_STEPS)
                for info, indices in zip(infos, sampled, strict=True)
            )
            tokens = text + sum(medium.tokens for medium in media)
            patches = sum(medium.patches for medium in media)
            if tokens > max_tokens or patches > max_patches:
                return None
            return ExampleLayout(
                media, tokens, patches, shrunk or ("pixels" if step < _PIXEL_STEPS else "")
            )

        layout = at_size(_PIXEL_STEPS) or _largest(at_size)
        if layout is not None:
            return layout
        fewer = [
            _sample(spec, info, len(indices) // 2)
            for info, indices in zip(infos, sampled, strict=True)
        ]
        if fewer == sampled:
            raise TooLong(
                "media",
                f"{len(infos)} media and {text} text tokens do not fit into {max_tokens} tokens "
                f"and {max_patches} patches, even at the smallest size and one temporal grid a "
                "clip: lower the spec's *_min_pixels or allow longer rows",
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


def _sample(spec: VisionLayoutSpec, info: "MediaInfo", count: int) -> tuple[int, ...]:
    if info.kind == "image":
        return (0,)
    if count < 1:
        raise ValueError(f"a frame budget must be at least 1 frame, got {count}")
    indices = uniform_frame_indices(info.frame_times, max(count, spec.temporal_patch_size))
    return tuple(int(index) for index in indices)


def _resize(
    spec: VisionLayoutSpec, info: "MediaInfo", indices: tuple[int, ...], shrink: float
) -> MediaLayout:
    """Lays one medium out at `shrink` times the area it would have by the spec alone."""
    video = info.kind == "video"
    low = spec.video_min_pixels if video else spec.image_min_pixels
    high = video_pixel_ceiling(spec, len(indices)) if video else spec.image_max_pixels
    height, width = smart_resize(info.height, info.width, spec.factor, low, high)
    if shrink < 1:
        high = max(low, shrink * height * width)
        height, width = smart_resize(info.height, info.width, spec.factor, low, high)
    return MediaLayout(
        kind=info.kind,
        frame_indices=indices,
        frame_times=tuple(float(info.frame_times[index]) for index in indices),
        height=height,
        width=width,
        grid=(
            -(-len(indices) // spec.temporal_patch_size),
            height // spec.patch_size,
            width // spec.patch_size,
        ),
        interval=info.duration_s / len(indices),
        merge_size=spec.merge_size,
    )
