"""What a frame budget policy is asked, and what it answers."""

import dataclasses
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:  # policies read plain attributes of it and need no decoder library
    from input_pipeline.media import MediaInfo

PREVIEW_PIXELS = 64


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
    """

    example_id: str
    instruction: str
    media: "MediaInfo"
    preview: Preview
    media_id: str = ""


@dataclasses.dataclass(frozen=True)
class FrameBudget:
    """How many frames to sample, and a phrase a person can check: "8: asks for a colour (-)"."""

    frames: int
    why: str


class FrameBudgetPolicy(Protocol):
    """A pure function of the query, built from data: equal specs give equal answers everywhere."""

    @property
    def spec(self) -> dict: ...

    def __call__(self, query: BudgetQuery) -> FrameBudget: ...


def capped(frames: int, reason: str, clip_frames: int) -> FrameBudget:
    """The budget for a clip of `clip_frames` frames: never more than it has, and even.

    Even, because the vision tower reads frames in pairs. A clip of one frame gets 1; sampling then
    shows that frame twice.
    """
    if clip_frames >= frames:
        return FrameBudget(frames, f"{frames}: {reason}")
    most = max(clip_frames - clip_frames % 2, 1)
    noun = "frame" if clip_frames == 1 else "frames"
    return FrameBudget(most, f"{most}: {reason}, capped: the clip has {clip_frames} {noun}")
