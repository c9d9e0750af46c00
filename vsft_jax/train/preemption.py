"""Ending in time when the machine is about to be taken away, or somebody presses Ctrl-C."""

import contextlib
import os
import shlex
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import jax
from absl import logging
from jax.experimental import multihost_utils

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
STUCK_SECONDS = 30.0  # after which a start that does not come back, such as a compilation, is left


class Preempted(SystemExit):
    """The run was told to end and left what it needs to go on; the exit status is that of the
    signal, 128 + its number."""

    def __init__(self, number: int = signal.SIGTERM):
        super().__init__(128 + number)
        self.signal = signal.Signals(number)


class PreemptionWatch:
    """A context in which SIGINT, SIGTERM and SIGHUP end a run in order, and a second one at once.

    The first is noted for `reached`, which is asked after every step, and raises Preempted in the
    main thread where the run is `interruptible`. A thread of its own notices signals too, since the
    main thread may be in a compilation of minutes: it leaves at a second signal, and after
    `STUCK_SECONDS` where there is nothing to lose.

    In a run of several processes JAX's preemption service listens to SIGTERM (jax.distributed), and
    all processes agree on the step to end at; SIGINT and SIGHUP are handed to it. Nothing is
    interrupted there, since the other processes would wait.
    """

    def __init__(self) -> None:
        self._told: int | None = None  # the signal
        self._interruptible = self._nothing_to_lose = False
        self._before: dict[int, Any] = {}  # handlers by signal
        self._pipe: int | None = None  # the end that Python writes the numbers of signals to
        self._alone = not jax.distributed.is_initialized()

    def __enter__(self) -> "PreemptionWatch":
        # Python allows handlers in the main thread only; elsewhere the caller has to end the run.
        if threading.current_thread() is not threading.main_thread():
            return self
        heard, told = os.pipe()
        os.set_blocking(told, False)
        self._woken_before = signal.set_wakeup_fd(told, warn_on_full_buffer=False)
        self._pipe = told
        threading.Thread(target=self._listen, args=[heard], daemon=True).start()
        for number in SIGNALS if self._alone else (signal.SIGINT, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup has it
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        self._nothing_to_lose = False  # the process may go on with something else
        if self._pipe is None:
            return
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
        signal.set_wakeup_fd(self._woken_before)
        os.close(self._pipe)
        self._pipe = None

    def reached(self, step: int) -> bool:
        """Whether to save and end after this step. Call it after every step, in every process."""
        if self._alone:
            return self._told is not None
        return multihost_utils.reached_preemption_sync_point(step)

    @property
    def told(self) -> Preempted:
        """What to raise where a step to end at is reached."""
        return Preempted(self._told or signal.SIGTERM)

    @contextlib.contextmanager
    def interruptible(self, *, nothing_to_lose: bool = False) -> Iterator[None]:
        """Inside, a signal raises Preempted, as does one that came before."""
        self._nothing_to_lose = nothing_to_lose and self._alone
        self._interruptible = self._alone
        try:
            if self._interruptible and self._told is not None:
                raise self.told
            yield
        finally:
            self._interruptible = False
            if self._told is None:  # what ends now may get stuck too
                self._nothing_to_lose = False

    def _note(self, number: int, _: FrameType | None) -> None:
        if self._told is not None:
            return  # the thread leaves
        self._told = number
        if not self._alone:
            os.kill(os.getpid(), signal.SIGTERM)
        elif self._interruptible:
            raise self.told
        else:
            logging.info("%s: ending after this step", signal.Signals(number).name)

    def _listen(self, heard: int) -> None:
        """Reads the numbers of signals until the other end of the pipe is closed."""
        before = False
        with open(heard, "rb", buffering=0) as pipe:
            while number := pipe.read(1):
                if number[0] not in SIGNALS:
                    continue
                if before:
                    _leave(number[0])
                before = True
                stuck = threading.Timer(STUCK_SECONDS, self._leave_if_stuck, [number[0]])
                stuck.daemon = True
                stuck.start()

    def _leave_if_stuck(self, number: int) -> None:
        if self._nothing_to_lose:
            _leave(number)


def command_to_go_on(workdir: Path) -> str:
    """The command line of this process, as one types it."""
    program, *arguments = sys.argv
    if Path(program).suffix == ".py":
        return shlex.join(["python", program, *arguments])
    if Path(program).name == "vsft":
        return shlex.join(["vsft", *arguments])
    return f"the same command, with {workdir}"


def _leave(number: int) -> None:
    """Ends the process without another line of it, but for a terminal as it was."""
    end = f"\n{signal.Signals(number).name}: left at once\n"
    os.write(2, (("\x1b[?25h" if sys.stderr.isatty() else "") + end).encode())
    os._exit(128 + number)
