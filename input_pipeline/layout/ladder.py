"""How an example that is too large shrinks until it fits: pixels first, then frames."""

import bisect
from collections.abc import Callable, Sequence, Sized
from typing import Literal, NamedTuple, Protocol

from input_pipeline.layout.vision_layout import (
    ExampleLayout,
    LayoutError,
    MediaLayout,
    VisionLayout,
)
from input_pipeline.media import MediaInfo, uniform_frame_indices

_SIZES = 64  # the pixel rung tries this many sizes, evenly spaced in area


class TooLong(LayoutError):
    """An example that does not fit at the smallest size and frame count allowed.

    reason: "text" if its words alone are too many, else "media".
    """


class Words(Protocol):
    """A text in tokens, such as an `EncodedText`; how many is all that counts here."""

    @property
    def ids(self) -> Sized: ...


class _Room(NamedTuple):
    """What a row of so many slices leaves for media."""

    tokens: int
    patches: int
    slices: int = 1

    @classmethod
    def taken(cls, media: Sequence[MediaLayout]) -> "_Room":
        return cls(sum(each.tokens for each in media), sum(each.patches for each in media))

    def holds(self, media: Sequence[MediaLayout]) -> bool:
        tokens, patches, _ = _Room.taken(media)
        # A grid that does not fit into what is left of a slice goes to the next.
        left = (self.slices - 1) * max((each.grid_patches for each in media), default=0)
        return tokens <= self.tokens and patches + left <= self.patches


def layout_example(
    spec: VisionLayout,
    encode: Callable[[Sequence[MediaLayout]], Words],
    infos: Sequence[MediaInfo],
    budgets: Sequence[int],
    max_tokens: int,
    max_patches: int,
    slices: int = 1,
) -> ExampleLayout:
    """Lays an example out so that it fits into `max_tokens` positions and `max_patches` patches,
    also where these are of a row in so many equal slices and no grid may lie on two.

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
    rung: Literal["", "frames"] = ""
    while True:
        full = _at_size(spec, infos, sampled, 1.0)
        words = len(encode(full).ids) - sum(medium.placeholders for medium in full)
        room = _Room(max_tokens - words, max_patches, slices)
        media = full if room.holds(full) else _fit(spec, infos, sampled, room)
        if media is not None:
            tokens, patches, _ = _Room.taken(media)
            shrunk = rung or ("" if media is full else "pixels")
            return ExampleLayout(media, words + tokens, patches, shrunk)
        fewer = [
            _sample(spec, info, max(1, len(indices) // 2))
            for info, indices in zip(infos, sampled, strict=True)
        ]
        if fewer == sampled:
            if words > max_tokens:
                raise TooLong("text", f"{words} text tokens do not fit into {max_tokens} tokens")
            raise TooLong(
                "media",
                f"{len(infos)} media and {words} text tokens do not fit into {max_tokens} tokens "
                f"and {max_patches} patches, even at the smallest size and the fewest frames: "
                "lower config.layout's smallest sizes or allow longer rows",
            )
        sampled, rung = fewer, "frames"


def _fit(
    spec: VisionLayout,
    infos: Sequence[MediaInfo],
    sampled: Sequence[tuple[int, ...]],
    room: _Room,
) -> tuple[MediaLayout, ...] | None:
    """The media, these frames of them, at the largest size below the full one at which they fit;
    None where they do not even at the smallest."""

    def at(step: int) -> tuple[MediaLayout, ...]:
        return _at_size(spec, infos, sampled, step / _SIZES)

    def too_large(step: int) -> bool:
        return not room.holds(at(step))

    if too_large(0):
        return None
    return at(bisect.bisect_left(range(_SIZES), True, lo=1, key=too_large) - 1)


def _at_size(
    spec: VisionLayout,
    infos: Sequence[MediaInfo],
    sampled: Sequence[tuple[int, ...]],
    shrink: float,
) -> tuple[MediaLayout, ...]:
    images = sum(info.kind == "image" for info in infos)
    return tuple(
        spec.lay_out(info, indices, shrink, images)
        for info, indices in zip(infos, sampled, strict=True)
    )


def _sample(spec: VisionLayout, info: MediaInfo, count: int) -> tuple[int, ...]:
    """The frames of a medium under a budget of `count`."""
    if info.kind == "image":
        return (0,)
    if count < 1:
        raise ValueError(f"a frame budget must be at least 1 frame, got {count}")
    indices = uniform_frame_indices(info.frame_times, max(count, spec.min_frames), spec.min_frames)
    return tuple(indices.tolist())
