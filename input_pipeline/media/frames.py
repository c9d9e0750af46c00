"""Pixels: chosen frames of a video, or one image, as RGB arrays."""

import bisect
from collections.abc import Sequence

import numpy as np

from input_pipeline.examples import MediaRef
from input_pipeline.media.errors import MediaError
from input_pipeline.media.images import read_image
from input_pipeline.media.probing import clip_frames
from input_pipeline.media.resizing import Resizing, Size, resize
from input_pipeline.media.sampling import uniform_frame_indices
from input_pipeline.media.video.animation import is_animation, read_animation
from input_pipeline.media.video.folder import is_frame_folder, read_folder
from input_pipeline.media.video.frames import read_video
from input_pipeline.media.video.timeline import Choose, Timeline, check_enough

DECODE_VERSION = 2  # raise when the pixels change: kept frames are then decoded again

# How far a preview may lie from its even place, as a fraction of the distance between two.
PREVIEW_SLACK = 0.25


def read_frames(
    ref: MediaRef, frame_indices: Sequence[int], size: Size | None = None, threads: int = 1
) -> np.ndarray:
    """Chosen frames of a medium of either kind -> uint8[F, H, W, 3], RGB, upright.

    frame_indices, threads: see `decode_frames`; an image has frame 0 alone. size: what the frames
    are resized to, one by one, so that no more than one a thread is there at full size; None leaves
    them.

    Raises MediaError.
    """
    if ref.kind == "video":
        return decode_frames(ref, frame_indices, size, threads)
    image = read_image(ref.path)
    return (image if size is None else resize(image, *size))[None]


def decode_frames(
    ref: MediaRef, frame_indices: Sequence[int], size: Size | None = None, threads: int = 1
) -> np.ndarray:
    """Chosen frames of a video -> uint8[F, H, W, 3], RGB, rotation applied.

    frame_indices: F >= 1 indices in presentation order, non-decreasing, counted from the first
    frame of the clip; repeats are allowed. size: see `read_frames`. threads: how many groups of
    pictures are decoded at a time; the frames do not depend on it.

    Raises MediaError for whatever is wrong with the file (reason "truncated" when it has fewer
    frames than asked for), ValueError for indices that are empty, negative or decreasing.
    """
    indices = [int(index) for index in frame_indices]
    if not indices or indices[0] < 0 or indices != sorted(indices):
        raise ValueError(f"frame_indices must be non-decreasing and >= 0, got {indices[:16]}")

    def choose(timeline: Timeline) -> list[int]:
        if ref.start_s is None and ref.end_s is None:
            return indices
        first, stop = clip_frames(ref, timeline.times)
        check_enough(ref.path, stop - first, indices[-1])
        return [first + index for index in indices]

    return _read(ref.path, choose, Resizing(size), threads)


def preview_frames(ref: MediaRef, count: int, side: int) -> np.ndarray:
    """At most `count` small frames spread over a clip -> uint8[F, h, w, 3], longest side `side`
    pixels or the clip's.

    Approximate on purpose, to be cheap: a key frame stands in for the frame at an even place where
    one lies within a quarter of the distance between two places, since decoding up to the
    frame itself is most of the cost. Raises MediaError.
    """

    def choose(timeline: Timeline) -> list[int]:
        times = timeline.times
        first, stop = clip_frames(ref, times)
        places = first + uniform_frame_indices(times[first:stop], count)
        slack = PREVIEW_SLACK * (times[stop - 1] - times[first]) / max(len(places) - 1, 1)
        keys = [key for key in timeline.keys if first <= key < stop]
        return [_nearest_within(int(place), keys, times, slack) for place in places]

    return _read(ref.path, choose, Resizing(longest=side))


def _read(path: str, choose: Choose, resizing: Resizing, threads: int = 1) -> np.ndarray:
    if is_frame_folder(path):
        return read_folder(path, choose, resizing)
    try:
        return read_video(path, choose, resizing, threads)
    except MediaError as error:
        if error.reason != "unsupported_format" or not is_animation(path):
            raise
    return read_animation(path, choose, resizing)


def _nearest_within(place: int, keys: Sequence[int], times: Sequence[float], slack: float) -> int:
    """The nearest of `keys` (ascending) if it is at most `slack` seconds away, else `place`."""
    after = bisect.bisect_left(keys, place)
    near = [key for key in keys[max(after - 1, 0) : after + 1]]
    near = [key for key in near if abs(times[key] - times[place]) <= slack]
    return min(near, key=lambda key: abs(times[key] - times[place]), default=place)
