"""Trackers: services that show a run's scalars. They work beside it and cannot hold it up."""

import contextlib
import math
import queue
import threading
import time
from collections.abc import Callable, Mapping
from typing import Protocol

from absl import logging

QUEUE_ROWS = 1000  # that may wait for a tracker; further ones are left out for it
CLOSE_SECONDS = 15.0  # for all trackers together to send what is left at the end


class Tracker(Protocol):
    """Writes to one service. All calls come from one thread, that which made it."""

    def log(self, step: int, scalars: Mapping[str, float]) -> None:
        """Shows the scalars of a step, all finite. Steps do not decrease."""

    def close(self) -> None:
        """Sends what is left, as a service does at a run's end."""


class Trackers:
    """Any number of trackers, each in a thread of its own.

    Neither a full disk nor a service that does not answer blocks or ends the run: a tracker that
    fails is left out from then on, one that lags behind by more than `QUEUE_ROWS` rows misses some,
    and both are said once. What they miss is in train.jsonl.
    """

    def __init__(self, makers: Mapping[str, Callable[[], Tracker]]):
        """makers: name → makes the tracker; called in its thread, since that may take long too."""
        self._workers = [_Worker(name, make) for name, make in makers.items()]

    def log(self, step: int, scalars: Mapping[str, float | None]) -> None:
        """Hands the finite scalars to every tracker, and returns at once."""
        finite = {n: float(x) for n, x in scalars.items() if x is not None and math.isfinite(x)}
        for worker in self._workers:
            worker.put(step, finite)

    def close(self) -> None:
        """Gives the trackers `CLOSE_SECONDS` to end."""
        deadline = time.monotonic() + CLOSE_SECONDS
        for worker in self._workers:
            worker.end()
        for worker in self._workers:
            worker.join(deadline - time.monotonic())


class _Worker:
    """A tracker's thread and the rows that wait for it."""

    def __init__(self, name: str, make: Callable[[], Tracker]):
        self._name, self._make = name, make
        self._rows: queue.Queue[tuple[int, Mapping[str, float]]] = queue.Queue(QUEUE_ROWS)
        self._ended, self._failed = threading.Event(), threading.Event()
        self._missed = 0
        # A daemon: a service that does not answer must not keep the process from ending.
        self._thread = threading.Thread(target=self._work, name=f"tracker {name}", daemon=True)
        self._thread.start()

    def put(self, step: int, scalars: Mapping[str, float]) -> None:
        if self._failed.is_set():
            return
        try:
            self._rows.put_nowait((step, scalars))
        except queue.Full:
            self._missed += 1
            if self._missed == 1:
                logging.warning(
                    "%s does not keep up: rows are left out there; train.jsonl has them", self._name
                )

    def end(self) -> None:
        self._ended.set()

    def join(self, seconds: float) -> None:
        self._thread.join(max(seconds, 0.0))
        if self._thread.is_alive():
            logging.warning("%s did not end in time and was left behind", self._name)
        elif self._missed:
            logging.warning("%s: %d rows were left out", self._name, self._missed)

    def _work(self) -> None:
        tracker = None
        try:
            tracker = self._make()
            while not (self._ended.is_set() and self._rows.empty()):
                with contextlib.suppress(queue.Empty):
                    tracker.log(*self._rows.get(timeout=0.1))
            tracker.close()
        # SystemExit too: some packages call exit where they find no server.
        except BaseException as error:
            self._failed.set()
            logging.warning(
                "%s stopped: %s; training goes on, and train.jsonl has every row",
                *(self._name, _one_line(error)),
            )


def _one_line(error: BaseException) -> str:
    said = str(error).strip().splitlines()
    return f"{type(error).__name__}: {said[0][:300]}" if said else type(error).__name__
