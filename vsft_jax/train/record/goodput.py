"""Where the time of a training goes: goodput, the share of it that steps took which count."""

import contextlib
import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from input_pipeline.progress import duration

# What is not a step: preparing data, reading a checkpoint, the first step of a process with its
# compilation, devices without a batch, what saving holds up, evaluations, and steps that were taken
# again after a kill, up to the last row of their record.
CAUSES = ("prepare", "restore", "compile", "wait", "save", "evaluate", "lost")
SCALARS = ("goodput", *(f"time/{cause}" for cause in CAUSES))
_TOLD = 0.005  # shares of the time below this are not


class Goodput:
    """Seconds by cause, over all processes that took the training up one after another. The time
    between the end of one and the beginning of the next is not known and not counted."""

    def __init__(self) -> None:
        self._begin = time.monotonic()
        self._before = 0.0  # seconds of earlier processes
        self._spent = dict.fromkeys(CAUSES, 0.0)

    def go_on(self, state: Mapping[str, Any] | None, lost: float) -> None:
        """Adds what a checkpoint says of its past (None: nothing), and seconds that were lost after
        it."""
        self.add("lost", lost)
        self._before += lost
        if state:
            self._before += state["seconds"]
            for cause, seconds in state["spent"].items():
                self.add(cause, seconds)

    def add(self, cause: str, seconds: float) -> None:
        """So many seconds were no steps."""
        self._spent[cause] += seconds

    @contextlib.contextmanager
    def spent(self, cause: str) -> Iterator[None]:
        """What happens inside is no step."""
        start = time.monotonic()
        try:
            yield
        finally:
            self.add(cause, time.monotonic() - start)

    @property
    def seconds(self) -> float:
        """All of it."""
        return self._before + time.monotonic() - self._begin

    def state(self) -> dict[str, Any]:
        """What `go_on` takes, as JSON values."""
        return {"seconds": self.seconds, "spent": dict(self._spent)}

    def scalars(self) -> dict[str, float]:
        """`SCALARS`: the share of steps, and seconds by cause."""
        times = {f"time/{cause}": seconds for cause, seconds in self._spent.items()}
        return {"goodput": self._share(self.seconds), **times}

    def line(self) -> str:
        """As people read it."""
        whole = self.seconds
        shares = sorted(self._spent.items(), key=lambda item: -item[1])
        rest = ", ".join(f"{c} {100 * s / whole:.0f} %" for c, s in shares if s > _TOLD * whole)
        head = f"goodput {100 * self._share(whole):.0f} % of {duration(whole)}"
        return f"{head}; {rest}" if rest else head

    def _share(self, whole: float) -> float:
        return max(0.0, 1.0 - sum(self._spent.values()) / whole) if whole else 0.0


def lost_seconds(record: Path, step: int, at: float) -> float:
    """How long the training went on after a step whose checkpoint is the newest, as far as its
    record tells. at: the time of that step, as the rows have it in "seconds"."""
    try:
        lines = record.read_bytes().splitlines()
    except OSError:
        return 0.0
    latest = at
    for line in lines:
        with contextlib.suppress(ValueError, KeyError, TypeError):  # a line that was cut off
            row = json.loads(line)
            if row["step"] > step:
                latest = max(latest, row["seconds"])
    return latest - at
