"""The words of frame budgets: what a policy is asked, what it answers, and what one is."""

import copy
import dataclasses
import math
from collections.abc import Callable, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np

if TYPE_CHECKING:  # policies read plain attributes of it and need no decoder library
    from input_pipeline.media import MediaInfo

PREVIEW_PIXELS = 64

Value = TypeVar("Value")


class Preview(Protocol):
    """Small frames of one medium on demand."""

    def __call__(self, count: int, side: int = PREVIEW_PIXELS) -> np.ndarray:
        """uint8[k, h, w, 3]: at most `count` frames spread over the medium, in order of time,
        whose longer side has at most `side` pixels."""
        ...


@dataclasses.dataclass(frozen=True)
class BudgetQuery:
    """One (instruction, medium) pair.

    example_id:  the example's id; only `random_matched` looks at it.
    instruction: everything the user asks, all turns, media left out.
    media:       width and height in pixels, frame times and duration in seconds.
    preview:     small frames. It decodes when called, so policies call it at most once and only
                 when the answer can depend on it.
    media_id:    which file and clip it is, in which state; "" where that is not known. Answers of
                 a model are kept by it.
    of_words, of_medium: what policies measured of the instruction, and of the medium, by name: JSON
                 values. They look there before they measure, and whoever asks may keep both.
    """

    example_id: str
    instruction: str
    media: "MediaInfo"
    preview: Preview
    media_id: str = ""
    of_words: MutableMapping[str, Any] = dataclasses.field(default_factory=dict, compare=False)
    of_medium: MutableMapping[str, Any] = dataclasses.field(default_factory=dict, compare=False)


def measured(known: MutableMapping[str, Any], name: str, measure: Callable[[], Value]) -> Value:
    """What is known under that name, or is now."""
    try:
        return known[name]
    except KeyError:
        known[name] = value = measure()
        return value


@dataclasses.dataclass(frozen=True)
class FrameBudget:
    """How many frames to sample, and a phrase on why that a person can check."""

    frames: int
    reason: str

    @property
    def why(self) -> str:
        """Both: "8: asks for a colour (-)"."""
        return f"{self.frames}: {self.reason}"

    def reduced(self, frames: int) -> "FrameBudget":
        """The budget that is left where a row of training has room for only `frames` of it."""
        if frames >= self.frames:
            return self
        return FrameBudget(frames, f"{self.reason}, {self.frames} did not fit into the row")


Decide = Callable[[BudgetQuery], tuple[int, str]]
"""A decision: frames, maybe more than the clip has, and the reason."""


@dataclasses.dataclass(frozen=True)
class Policy:
    """A pure function of the query, built from data: equal specs give equal answers everywhere.

    Made by `make_policy`. frames_at_a_time: its budgets are multiples of it.
    """

    _spec: dict[str, Any]
    frames_at_a_time: int
    _decide: Decide = dataclasses.field(compare=False, repr=False)

    @property
    def spec(self) -> dict[str, Any]:
        """The canonical spec (a copy): what goes into the index, the checkpoint and the results."""
        return copy.deepcopy(self._spec)

    def __call__(self, query: BudgetQuery) -> FrameBudget:
        """The budget of one medium. An image is one frame whatever the policy."""
        if query.media.kind == "image":
            return FrameBudget(1, "an image")
        wanted, reason = self._decide(query)
        has = query.media.frames
        if has < wanted:
            reason += f", capped: the clip has {has} {'frame' if has == 1 else 'frames'}"
        return FrameBudget(frames_within(wanted, has, self.frames_at_a_time), reason)


def frames_within(wanted: int, clip_frames: int, frames_at_a_time: int) -> int:
    """What a clip of `clip_frames` frames can show of the frames wanted.

    Never more than it has, and a multiple of `frames_at_a_time`, the frames that the vision tower
    takes at a time (`VisionLayout.min_frames`). A clip too short for one multiple shows what it
    has; sampling then repeats its last frame.
    """
    if clip_frames < frames_at_a_time:
        return clip_frames
    most = min(wanted, clip_frames)
    return max(most - most % frames_at_a_time, frames_at_a_time)


def nearest_candidate(candidates: Sequence[int], wanted: float) -> int:
    """The candidate nearest to `wanted` frames in ratio; the smaller of two equally near."""
    # Rounded, so that an exact tie does not depend on the last bit of a logarithm.
    return min(candidates, key=lambda c: (round(abs(math.log2(c / wanted)), 9), c))


def at_level(candidates: Sequence[int], level: float) -> float:
    """Frames at `level` in [0, 1] of the way from the first to the last candidate, in log2."""
    return candidates[0] * (candidates[-1] / candidates[0]) ** level
