"""Progress of long work: a line with rate and remaining time, also where there is no terminal."""

import time

from absl import logging


class Progress:
    """Counts finished items and logs rate and remaining time every few seconds.

    Plain log lines rather than a moving bar, so that the same output reads well in a terminal, in
    a pod's log and in CI. Use as a context manager; the end is always logged.
    """

    def __init__(self, what: str, total: int, *, unit: str = "examples", every_seconds: float = 5):
        self._what, self._total, self._unit = what, total, unit
        self._every = every_seconds
        self._done = 0

    def __enter__(self) -> "Progress":
        self._start = self._last = time.monotonic()
        return self

    def advance(self, count: int = 1) -> None:
        """`count` more items are finished."""
        self.reach(self._done + count)

    def reach(self, done: int) -> None:
        """`done` items are finished in all."""
        now = time.monotonic()
        if not self._done:  # what comes before is starting up
            self._first, self._first_at = done, now
        self._done = done
        if now - self._last >= self._every and self._first < self._done < self._total:
            self._last = now
            rate = (self._done - self._first) / max(now - self._first_at, 1e-9)
            remaining = (self._total - self._done) / rate
            logging.info(
                "%s: %d of %d %s, %.1f/s, %s left",
                *(self._what, self._done, self._total, self._unit, rate, duration(remaining)),
            )

    def __exit__(self, kind, *_) -> None:
        if not self._done:  # found finished
            return
        seconds = time.monotonic() - self._start
        logging.info(
            "%s: %s %d of %d %s in %s (%.1f/s)",
            *(self._what, "finished" if kind is None else "stopped after", self._done),
            *(self._total, self._unit, duration(seconds), self._done / max(seconds, 1e-9)),
        )


def duration(seconds: float) -> str:
    """Seconds as people read them: "0.4 s", "42 s", "3 min 20 s", "2 h 05 min"."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, whole = divmod(round(seconds), 60)
    if minutes == 0:
        return f"{whole} s"
    hours, minutes_left = divmod(minutes, 60)
    return f"{hours} h {minutes_left:02d} min" if hours else f"{minutes} min {whole:02d} s"
