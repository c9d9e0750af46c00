"""How a caller says which frames it wants: it is shown the frames' times, and picks."""

import functools
from collections.abc import Callable, Sequence

from input_pipeline.media.errors import MediaError


class Timeline:
    """The frames of a video in presentation order.

    times: seconds from the first one; worked out when asked for, since some containers do not tell
        them and all frames must then be decoded. keys: indices of those that decoding can start
        from, ascending, as far as they are known.
    """

    def __init__(self, read_times: Callable[[], Sequence[float]], keys: Sequence[int] = ()):
        self._read_times = read_times
        self.keys = keys

    @functools.cached_property
    def times(self) -> Sequence[float]:
        return self._read_times()


# Picks frames: their indices, non-decreasing, >= 0. May raise MediaError.
Choose = Callable[[Timeline], list[int]]


def check_enough(path: str, count: int, last: int) -> None:
    """Raises MediaError unless a clip of `count` frames has a frame `last` (from 0)."""
    if last >= count:
        raise MediaError(
            path, "truncated", f"has {count} frames, frame {last} (from 0) was asked for"
        )
