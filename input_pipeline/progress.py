"""Progress of long work: a moving bar on a terminal, log lines elsewhere."""

import sys
import threading
import time
from typing import TYPE_CHECKING, TextIO

from absl import logging

if TYPE_CHECKING:
    import rich.console
    import rich.progress

_LOG_SECONDS = 5.0  # between log lines
_MOVE_SECONDS = 0.1  # between movements of a bar
_BURST_SECONDS = 0.5  # what ends so soon after the first was done together with it, as a batch is
_LATEST: list[str] = []  # one line, of this process


class Progress:
    """Counts finished items and shows rate and remaining time. Use as a context manager.

    A terminal shows a bar while the work goes on, log lines above it; several at a time stand one
    below the other. A pod's log or CI gets a log line every few seconds. The end is always logged.

    done: items that were finished before. lines: whether there are log lines; work that logs how it
    goes by itself needs the bar alone.
    """

    def __init__(
        self, what: str, total: int, *, unit: str = "examples", done: int = 0, lines: bool = True
    ):
        self._what, self._total, self._unit, self._lines = what, total, unit, lines
        self._done = self._before = done

    def __enter__(self) -> "Progress":
        self._start = self._last = time.monotonic()
        self._bar = _BARS.add(self._what, self._total, self._state(self._start))
        return self

    def advance(self, count: int = 1) -> None:
        """`count` more items are finished."""
        self.reach(self._done + count)

    def reach(self, done: int) -> None:
        """`done` items are finished in all."""
        now = time.monotonic()
        if self._done == self._before:  # what comes before is starting up
            self._begun = now
        if now - self._begun < _BURST_SECONDS:
            self._first, self._first_at = done, now
        self._done = done
        _LATEST[:] = [f"{self._what}: {done} of {self._total} {self._unit}"]
        if now - self._last < (_LOG_SECONDS if self._bar is None else _MOVE_SECONDS):
            return
        if self._bar is not None:
            _BARS.move(self._bar, done, self._state(now))
        elif self._lines and self._first < done < self._total:
            logging.info("%s: %s", self._what, self._state(now))
        else:
            return
        self._last = now

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._bar is not None:
            _BARS.remove(self._bar)
        if not self._lines or self._done == self._before:  # found finished
            return
        seconds = time.monotonic() - self._start
        logging.info(
            "%s: %s %d of %d %s in %s (%s)",
            *(self._what, "finished" if kind is None else "stopped after", self._done),
            *(self._total, self._unit, duration(seconds)),
            _pace(self._done - self._before, seconds),
        )

    def _state(self, now: float) -> str:
        state = f"{self._done} of {self._total} {self._unit}"
        if self._done == self._before or self._done == self._first:
            return state
        done, seconds = self._done - self._first, now - self._first_at
        left = duration(seconds / done * (self._total - self._done))
        return f"{state}, {_pace(done, seconds)}, {left} left"


def latest() -> str:
    """What the work that moved last has reached; "" where none has."""
    return "".join(_LATEST)


def _pace(done: int, seconds: float) -> str:
    """ "20.0/s", or "42 s each" where they take long."""
    rate = done / max(seconds, 1e-9)
    return f"{rate:.1f}/s" if rate >= 0.1 else f"{duration(1 / rate)} each"


def duration(seconds: float) -> str:
    """Seconds as people read them: "0.4 s", "42 s", "3 min 20 s", "2 h 05 min"."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, whole = divmod(round(seconds), 60)
    if minutes == 0:
        return f"{whole} s"
    hours, minutes_left = divmod(minutes, 60)
    return f"{hours} h {minutes_left:02d} min" if hours else f"{minutes} min {whole:02d} s"


# --- The terminal -------------------------------------------------------------------------------


def _terminal() -> "rich.console.Console | None":
    """The terminal that log lines go to; None where they go to a file or a pipe."""
    if not sys.stderr.isatty():
        return None
    from rich.console import Console

    console = Console(stderr=True)
    return console if console.is_interactive else None


class _Bars:
    """The bars of all work that goes on in this process: a terminal has room for one display."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._display: rich.progress.Progress | None = None  # while there are bars
        self._log_stream: TextIO | None = None

    def add(self, what: str, total: int, state: str) -> "rich.progress.TaskID | None":
        """One more bar; None where there is no terminal."""
        with self._lock:
            if self._display is None:
                console = _terminal()
                if console is None:
                    return None
                self._display = self._started(console)
            return self._display.add_task(what, total=total, state=state)

    def move(self, bar: "rich.progress.TaskID", done: int, state: str) -> None:
        with self._lock:
            assert self._display is not None, "this bar is on it"
            self._display.update(bar, completed=done, state=state)

    def remove(self, bar: "rich.progress.TaskID") -> None:
        with self._lock:
            assert self._display is not None, "this bar is on it"
            if len(self._display.task_ids) > 1:
                self._display.remove_task(bar)
                return
            self._display.stop()
            self._display = None
            if self._log_stream is not None:
                logging.get_absl_handler().python_handler.setStream(self._log_stream)
                self._log_stream = None

    def _started(self, console: "rich.console.Console") -> "rich.progress.Progress":
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        display = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[state]}", markup=False),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            redirect_stdout=sys.stdout.isatty(),  # not where it goes to a file
        )
        logs = logging.get_absl_handler().python_handler
        to_terminal = logs.stream is sys.stderr
        display.start()  # from here on sys.stderr prints above the bars
        if to_terminal:
            self._log_stream = logs.setStream(sys.stderr)
        return display


_BARS = _Bars()
