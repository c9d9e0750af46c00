"""When the frames of a clip are shown, and which of them to take for a given frame budget."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import overload

import numpy as np

CONSTANT_RATE_TOLERANCE = 0.01  # largest deviation of an interval, as a fraction of the mean one
CLOCK_TICK_S = 0.001  # containers that keep whole milliseconds jitter by up to one of them


@dataclasses.dataclass(frozen=True)
class EvenTimes(Sequence[float]):
    """The frame times of a constant rate, in no more room than its three numbers.

    Frame i < frames is shown at i × numerator / denominator seconds, the float nearest to that.
    """

    frames: int
    numerator: int
    denominator: int

    def __len__(self) -> int:
        return self.frames

    @overload
    def __getitem__(self, index: int) -> float: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[float, ...]: ...
    def __getitem__(self, index: int | slice) -> float | tuple[float, ...]:
        found = range(self.frames)[index]
        return self._time(found) if isinstance(found, int) else tuple(map(self._time, found))

    def __array__(self, dtype: np.dtype | None = None, copy: bool | None = None) -> np.ndarray:
        # Products below 2**53 are exact and a division rounds once, here as in `_time`.
        times = np.arange(self.frames, dtype=np.float64) * self.numerator / self.denominator
        return times.astype(dtype or np.float64, copy=False)

    def _time(self, frame: int) -> float:
        return frame * self.numerator / self.denominator


def times_at(frame_times: Sequence[float], frames: Sequence[int]) -> tuple[float, ...]:
    """The times of these frames, seconds."""
    if isinstance(frame_times, EvenTimes):  # as its items are, and quicker
        up, down = frame_times.numerator, frame_times.denominator
        return tuple([frame * up / down for frame in frames])
    return tuple([float(frame_times[frame]) for frame in frames])


def uniform_frame_indices(
    frame_times: Sequence[float], count: int, multiple: int = 2
) -> np.ndarray:
    """The frames of a clip to show for a budget of `count` frames.

    frame_times: float[T], seconds, presentation order, non-decreasing.
    count: the budget in frames.
    multiple: how many frames the vision tower consumes at a time, 2 for Qwen's.
    Returns int32[n], non-decreasing, with n = min(count, T) rounded down to the multiple. A clip
    with fewer frames than that repeats its last one: (0, 0) for a single frame.

    At a constant frame rate the indices are those of qwen-vl-utils,
    `torch.linspace(0, T - 1, n).round()` in float32. At a variable rate that rule would crowd
    frames into the busy parts, so the frames nearest in time to n uniform times are taken, made
    strictly increasing.

    Raises ValueError when there are no frames, or the budget is below the multiple.
    """
    frames = len(frame_times)
    if frames == 0:
        raise ValueError("frame_times is empty: a clip has at least one frame")
    if count < 1:
        raise ValueError(f"frame budget must be at least 1, got {count}")
    if frames < multiple:
        return np.minimum(np.arange(multiple), frames - 1).astype(np.int32)
    n = min(count, frames) // multiple * multiple
    if n == 0:
        raise ValueError(
            f"a frame budget of {count} is below the {multiple} frames that the vision tower "
            f"takes at a time: ask for at least {multiple}"
        )
    if is_constant_rate(frame_times):
        return _rounded_linspace(frames - 1, n)
    return _nearest_in_time(np.asarray(frame_times, np.float64), n)


def is_constant_rate(frame_times: Sequence[float] | np.ndarray) -> bool:
    """Whether the frames are evenly spaced.

    True when every interval lies within 1 % of the mean interval, or every frame within one
    millisecond of its even place (Matroska and WebM store whole milliseconds: 33, 33, 34, …).
    """
    if isinstance(frame_times, EvenTimes) or len(frame_times) < 3:
        return True
    times = np.asarray(frame_times, np.float64)
    mean = (times[-1] - times[0]) / (len(times) - 1)
    intervals_agree = np.abs(np.diff(times) - mean).max() <= CONSTANT_RATE_TOLERANCE * mean
    even_places = times[0] + mean * np.arange(len(times))
    return bool(intervals_agree or np.abs(times - even_places).max() <= CLOCK_TICK_S)


@functools.lru_cache(4096)
def _rounded_linspace(last: int, n: int) -> np.ndarray:
    """`torch.linspace(0, last, n).round()` -> int32[n], not to be written to.

    torch works from both ends towards the middle with a float32 step, and its AVX kernels fuse
    the multiplication and the addition into one rounding. The float64 expression rounded once to
    float32 is that fused result; two float32 roundings (or plain float64) would choose another
    frame about once in ten thousand.
    """
    step = np.float64(np.float32(last) / np.float32(max(n - 1, 1)))
    i = np.arange(n)
    values = np.where(i < max(n // 2, 1), i * step, last - (n - 1 - i) * step).astype(np.float32)
    indices = np.rint(values).astype(np.int32)
    indices.flags.writeable = False  # many clips have it
    return indices


def _nearest_in_time(times: np.ndarray, n: int) -> np.ndarray:
    """Strictly increasing int32[n]: frames nearest to n uniform times; a tie takes the earlier."""
    wanted = np.linspace(times[0], times[-1], n)
    after = np.searchsorted(times, wanted).clip(1, len(times) - 1)
    nearer_before = wanted - times[after - 1] <= times[after] - wanted
    nearest = np.where(nearer_before, after - 1, after)
    # Two wanted times may share a frame in a sparse part: push the later one on, and what is
    # pushed over the end back. Both steps keep the sequence strictly increasing.
    order = np.arange(n)
    pushed = np.maximum.accumulate(nearest - order) + order
    return np.minimum(pushed, len(times) - n + order).astype(np.int32)
