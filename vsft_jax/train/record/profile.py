"""Traces of some steps for XProf: where the config says so, and where a signal asks for one."""

import signal
import threading
from pathlib import Path
from types import FrameType, TracebackType

import jax
from absl import logging

SIGNAL = signal.SIGUSR1


class Profile:
    """A context in which steps are traced into <workdir>/xprof: `steps` of them after step `first`
    (0: none), and as many after each SIGUSR1. Each process traces itself.

    To see them: `xprof --logdir <workdir>/xprof`, or TensorBoard with its profile plugin.
    """

    def __init__(self, workdir: Path, first: int, steps: int):
        self._folder, self._first, self._steps = workdir / "xprof", first, steps
        self._asked = threading.Event()
        self._until: int | None = None  # while there is a trace
        self._before: signal._HANDLER = None

    def __enter__(self) -> "Profile":
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(SIGNAL, self._ask)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._stop()
        if threading.current_thread() is threading.main_thread():
            signal.signal(SIGNAL, self._before or signal.SIG_DFL)

    def reached(self, step: int) -> None:
        """Begins or ends a trace after a step; call it after each."""
        if self._until is not None and step >= self._until:
            self._stop()
        wanted = self._asked.is_set() or (self._first and step == self._first)
        if wanted and self._until is None:
            self._asked.clear()
            self._until = step + self._steps
            jax.profiler.start_trace(str(self._folder))

    def step(self, number: int) -> jax.profiler.StepTraceAnnotation:
        """A context that marks a step in the trace."""
        return jax.profiler.StepTraceAnnotation("train", step_num=number)

    def _ask(self, number: int, _: FrameType | None) -> None:
        self._asked.set()

    def _stop(self) -> None:
        if self._until is None:
            return
        jax.profiler.stop_trace()
        logging.info("traced %d steps up to %d: %s", self._steps, self._until, self._folder)
        self._until = None
