"""Layout rules of SmolVLM2: large images in tiles behind their places' names, frames of a clip each
behind its time, all as inputs of one size. Follows transformers `models/smolvlm/
{image_processing,video_processing,processing}_smolvlm.py`."""

import dataclasses
import datetime
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from num2words import num2words

from input_pipeline.layout import FixedResolution, MediaLayout, PatchIndices, TokenBlock
from input_pipeline.layout.patches import patch_order, patchify
from input_pipeline.layout.tiles import Size, cut_tiles
from input_pipeline.media import MediaInfo, resize
from vsft_jax.models.shared.clock import minutes_and_seconds
from vsft_jax.models.shared.hf.processor import Settings, Stated, require_processor
from vsft_jax.models.smolvlm.config import VisionConfig

_LARGEST = 4096  # pixels along a side, whatever is asked for
_IMAGE, _BORDER, _WHOLE = "<image>", "<fake_token_around_image>", "<global-img>"
_INTRO = (
    "You are provided the following series of {count} frames from a {duration} [H:MM:SS] video.\n"
)
# What the released models' own template is missing: clips, and the space before them.
CLIP_TEMPLATE = (
    "<|im_start|>"
    "{% for message in messages %}"
    "{{ message['role'] | capitalize }}:"
    "{{ '' if message['content'][0]['type'] == 'image' else ' ' }}"
    "{% for part in message['content'] %}"
    "{{ part['text'] if part['type'] == 'text' else '<' ~ part['type'] ~ '>' }}"
    "{% endfor %}"
    "<end_of_utterance>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}Assistant:{% endif %}"
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layout(FixedResolution):
    """merge_size: see `VisionConfig`.

    image_longest_edge: pixels that the longer side of an image gets, before tiles are cut of it.
    image_split: whether any are; else an image is one input. clip_longest_edge: pixels that the
    longer side of a frame gets, before it is stretched to a square.
    """

    merge_size: int
    image_longest_edge: int
    clip_longest_edge: int
    image_split: bool

    def __post_init__(self) -> None:
        for key in ("image_longest_edge", "clip_longest_edge"):
            if not 1 <= getattr(self, key) <= _LARGEST:
                raise ValueError(f"{key} = {getattr(self, key)} must be 1 … {_LARGEST} pixels")

    @property
    def media_tokens(self) -> Mapping[str, str]:
        """A frame of a clip is an image to the model."""
        return {"image": _IMAGE, "video": _IMAGE}

    @property
    def clip_template(self) -> str:
        return CLIP_TEMPLATE

    @property
    def patches_per_unit(self) -> int:
        return self.merge_size**2

    @property
    def tokens_of_input(self) -> int:
        """Visual tokens of one input of the tower."""
        return self.side**2 // self.patches_per_unit

    def lay_out(
        self, info: MediaInfo, frame_indices: tuple[int, ...], shrink: float, images: int = 1
    ) -> MediaLayout:
        """See `VisionLayout.lay_out`: images shrink by whole tiles along their longer side, at last
        to a single input; clips have one size only."""
        if info.kind == "video":
            inputs, canvas = len(frame_indices), (self.image_size, self.image_size)
        else:
            canvas = self._canvas((info.height, info.width), shrink)
            rows, columns = self._tiles(canvas)
            inputs = rows * columns + 1 if rows * columns > 1 else 1
        medium = self.medium(
            info,
            frame_indices,
            size=canvas,
            inputs=inputs,
            tokens=inputs * self.tokens_of_input,
        )
        return dataclasses.replace(medium, placeholders=inputs)

    def placeholder(self, medium: MediaLayout) -> tuple[str, str]:
        """Each input stands behind its place in the image or its time in the clip."""
        whole = f"{_BORDER}{_WHOLE}{_IMAGE}{_BORDER}"
        if medium.kind == "video":
            frames = "".join(
                f"\nFrame from {minutes_and_seconds(t)}:{whole}" for t in medium.frame_times
            )
            # What rounding took from a whole second is given back.
            seconds = int(medium.interval * len(medium.frame_times) + 1e-6)
            intro = _INTRO.format(
                count=num2words(len(medium.frame_times)),
                duration=datetime.timedelta(seconds=seconds),
            )
            return "<video>", f"{intro}{frames}\n\n"
        if medium.grid[0] == 1:
            return _IMAGE, whole
        rows, columns = self._tiles((medium.height, medium.width))
        lines = (
            "".join(f"{_BORDER}<row_{r + 1}_col_{c + 1}>{_IMAGE}" for c in range(columns))
            for r in range(rows)
        )
        return _IMAGE, "\n".join(lines) + f"\n\n{whole}"

    def blocks(self, medium: MediaLayout) -> list[TokenBlock]:
        """One block for each input."""
        units = np.arange(medium.tokens, dtype=np.int32).reshape(medium.placeholders, -1, 1)
        return [TokenBlock.in_line(each) for each in units]

    def patch_indices(self, medium: MediaLayout) -> PatchIndices:
        """coords: row of the tower's table of positions, A = 1; the patches of a visual token are
        neighbours."""
        coords = np.tile(patch_order(self.side, self.merge_size), medium.grid[0])[:, None]
        return super().patch_indices(medium)._replace(coords=coords)

    def cut(self, inputs: np.ndarray) -> np.ndarray:
        """uint8[inputs, h, w, 3] -> uint8[inputs · side², C], the patches of a visual token as
        neighbours."""
        return patchify(inputs, self.patch_size, merge=self.merge_size)

    def decode_size(self, medium: MediaLayout) -> Size:
        return self._first_size(medium)

    def inputs(self, frames: np.ndarray, medium: MediaLayout) -> np.ndarray:
        """uint8[F, H, W, 3] -> uint8[inputs, image_size, image_size, 3]; an image's tiles, then the
        whole of it."""
        size = self._first_size(medium)
        canvas = (medium.height, medium.width)
        sized = np.stack([resize(resize(frame, *size), *canvas) for frame in frames])
        if medium.kind == "video" or medium.grid[0] == 1:
            return sized
        whole = resize(sized[0], self.image_size, self.image_size)
        return np.concatenate([cut_tiles(sized[0], self.image_size), whole[None]])

    def _canvas(self, size: Size, shrink: float) -> Size:
        """What an image is stretched to, whole tiles: at `shrink` of its area or below, but for a
        single tile."""
        single = (self.image_size, self.image_size)
        if not self.image_split:
            return single
        most = math.ceil(self.image_longest_edge / self.image_size)
        best = self._whole_tiles(size, most)
        for count in range(most, 1, -1):
            canvas = self._whole_tiles(size, count)
            if math.prod(canvas) <= shrink * math.prod(best):
                return canvas
        return single

    def _whole_tiles(self, size: Size, count: int) -> Size:
        """The canvas with `count` tiles along the longer side."""
        height, width = _edge(size, min(self.image_longest_edge, count * self.image_size))
        side, ratio = self.image_size, width / height

        def rounded(pixels: int) -> int:
            return math.ceil(pixels / side) * side

        if width >= height:
            across = rounded(width)
            return rounded(int(across / ratio)), across
        down = rounded(height)
        return down, rounded(int(down * ratio))

    def _first_size(self, medium: MediaLayout) -> Size:
        """What a picture is resized to in its own proportions, before it is stretched."""
        if medium.kind == "video":
            edge = self.clip_longest_edge
        elif self.image_split:
            edge = min(self.image_longest_edge, max(medium.height, medium.width))
        else:
            edge = self.image_longest_edge
        return _edge(medium.source_size, edge)

    def _tiles(self, canvas: Size) -> Size:
        """(rows, columns) of tiles."""
        return canvas[0] // self.image_size, canvas[1] // self.image_size


def _edge(size: Size, longest: int) -> Size:
    """The size in the same proportions with a longer side of `longest`; the other side even."""
    height, width = size
    if width >= height:
        height = int(longest / (width / height))
        return max(1, height + height % 2), longest
    width = int(longest * (width / height))
    return longest, max(1, width + width % 2)


def stated_layout(vision: VisionConfig, stated: Stated) -> dict[str, Any]:
    """The layout's choices by a directory's processor files, as transformers reads them; the
    released models' where there is no file. Raises ValueError for what is not computed here."""
    choices = _released(vision)
    if stated.image:
        _require(stated.image, vision, "SmolVLMImageProcessor")
        choices["image_longest_edge"] = _longest(stated.image, stated.image.get("size"), 4 * 364)
        choices["image_split"] = bool(stated.image.get("do_image_splitting", True))
    if stated.video:
        _require(stated.video, vision, "SmolVLMVideoProcessor", "SmolVLMImageProcessor")
        sampling = stated.video.get("video_sampling") or {}
        size = stated.video.get("size", sampling.get("video_size"))
        choices["clip_longest_edge"] = _longest(stated.video, size, 4 * 364)
    tokens = (vision.image_size // vision.patch_size // vision.merge_size) ** 2
    found = stated.whole.get("image_seq_len", tokens)
    stated.whole.require(found == tokens, f"image_seq_len = {found!r}, but the model's is {tokens}")
    return choices


def _require(settings: Settings, vision: VisionConfig, *types: str) -> None:
    # 1 is Lanczos, in whose place transformers' default processors take the bicubic filter.
    require_processor(settings, types, resample=(1, "lanczos", 3, "bicubic"))
    side = _longest(settings, settings.get("max_image_size"), 364)
    settings.require(
        side == vision.image_size,
        f"max_image_size = {side}, but the tower's input is {vision.image_size} pixels a side",
    )


def _longest(settings: Settings, size: Any, default: int) -> int:
    """longest_edge of a size, as a mapping or a number."""
    found: Any = size.get("longest_edge") if isinstance(size, Mapping) else size
    found = default if size is None else found
    settings.require(
        isinstance(found, int) and 1 <= found <= _LARGEST,
        f"size = {size!r} is not supported (only a longest_edge of 1 … {_LARGEST} pixels)",
    )
    return found


def layout(vision: VisionConfig, **choices: Any) -> Layout:
    """Layout rules for a tower; choices: `image_longest_edge`, `image_split`,
    `clip_longest_edge`."""
    numbers = vision.input_numbers | {"merge_size": vision.merge_size}
    return Layout(**numbers, **(_released(vision) | choices))


def _released(vision: VisionConfig) -> dict[str, Any]:
    """The released models' choices: as many as four tiles along an image's longer side."""
    return {
        "image_longest_edge": 4 * vision.image_size,
        "clip_longest_edge": vision.image_size,
        "image_split": True,
    }
