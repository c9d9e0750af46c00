"""Ends a job that waits for what does not come, with a line that says who waits for what."""

import contextlib
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator

import jax

EXIT_CODE = 124  # as of timeout(1)


class Watchdog:
    """A context in which no single wait may take longer than a bound.

    A thread of its own watches, since the one that waits may be in a call that does not come back;
    so the process is ended as it is, and the newest checkpoint counts.
    """

    def __init__(self, seconds: float):
        """seconds: the bound; 0 watches nothing."""
        self._seconds = seconds
        self._wait: tuple[float, str] | None = None  # since when, for what
        self._ended = threading.Event()

    def __enter__(self) -> "Watchdog":
        if self._seconds:
            threading.Thread(target=self._watch, name="watchdog", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()

    @contextlib.contextmanager
    def waiting_for(self, what: str) -> Iterator[None]:
        """Inside, the main thread waits. what: in words, for the line."""
        self._wait = (time.monotonic(), what)
        try:
            yield
        finally:
            self._wait = None

    def _watch(self) -> None:
        while not self._ended.wait(min(1.0, self._seconds / 10)):
            wait = self._wait
            if wait and time.monotonic() - wait[0] > self._seconds:
                leave(
                    f"{this_process()} waited {self._seconds:g} s for {wait[1]} "
                    "(config.train.watchdog_seconds); started again, the run goes on from its "
                    "newest checkpoint"
                )


def this_process() -> str:
    """As a line names it that stands among those of other hosts."""
    of = f" (process {jax.process_index()} of {jax.process_count()})"
    return f"host {socket.gethostname()}{of if jax.process_count() > 1 else ''}"


def leave(line: str) -> None:
    """Ends the process at once, with a line and `EXIT_CODE`."""
    os.write(2, (("\x1b[?25h" if sys.stderr.isatty() else "") + f"\n{line}\n").encode())
    os._exit(EXIT_CODE)
