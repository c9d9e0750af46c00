"""Ending in time when the machine is about to be taken away."""

import signal
import threading
from typing import Any

import jax
from absl import logging
from jax.experimental import multihost_utils


class Preempted(SystemExit):
    """The run was told to end and has saved where it is; the exit status is SIGTERM's, 143."""

    def __init__(self) -> None:
        super().__init__(128 + signal.SIGTERM)


class PreemptionWatch:
    """A context in which SIGTERM is noted instead of ending the process at once.

    In a run of several processes JAX's preemption service listens (jax.distributed), and all
    processes agree on the step to end at. A second SIGTERM to a single process ends it.
    """

    def __init__(self) -> None:
        self._told = False
        self._before: Any = None  # the handler of SIGTERM

    def __enter__(self) -> "PreemptionWatch":
        # Python allows handlers in the main thread only; elsewhere the caller has to end the run.
        if not jax.distributed.is_initialized() and _in_main_thread():
            self._before = signal.signal(signal.SIGTERM, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()

    def reached(self, step: int) -> bool:
        """Whether to save and end after this step. Call it after every step, in every process."""
        if jax.distributed.is_initialized():
            return multihost_utils.reached_preemption_sync_point(step)
        return self._told

    def _note(self, *_: object) -> None:
        logging.info("SIGTERM: ending after this step")
        self._told = True
        self._restore()

    def _restore(self) -> None:
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)
            self._before = None


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
