"""A few processes that run functions, under a deadline if need be, and can be killed.

Media come from the outside world: a decoder may loop for ever on one of them, wait for a server
that has stalled, or crash. In a process of its own that costs one sample; in a thread, the run.

A process may also be ended for what it did not do: when a machine runs out of memory, the kernel
kills one that has much. So what a process was doing when it ended is done once more by a fresh one.

Tried in its place: pebble 5.2.3's ProcessPool (2026-11-27, 2 processes on 2 shared cores, best of
six runs). It kills at a deadline, too, but took 12.5 ms for 16 frames of 448 × 252 where this pool
takes 2.7 ms, since it copies arrays into pickles; its workers import the main module, and with it
JAX; and one that is busy outlives a parent that was killed.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from input_pipeline.media.workers.channel import Channel

# Signals that are sent to all processes of a job, of which this one decides.
TO_ALL = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_START_S = 120.0  # to import what a worker needs, on a machine that is busy with other things
_GRACE_S = 5.0  # for an idle worker to end by itself, and a killed one to be gone
_WORKER = "input_pipeline.media.workers.worker"

Result = TypeVar("Result")


class WorkerCrash(Exception):
    """A worker ended in the middle of its work; the message says how.

    killed: from outside, as by the kernel when memory runs out; no decoder does that to itself.
    """

    def __init__(self, message: str, killed: bool = False):
        super().__init__(message)
        self.killed = killed


class WorkerPool:
    """Runs functions in up to `processes` processes, which start when they are first needed.

    deadline_s: seconds a call may take, once its process is ready; None: as long as it takes.
    start: called first in each process. To be shared by threads: each that calls `run` waits for a
    process of its own.
    """

    def __init__(
        self, processes: int, deadline_s: float | None, start: Callable[[], object] | None = None
    ):
        if processes < 1 or (deadline_s is not None and deadline_s <= 0):
            raise ValueError(f"{processes} processes with {deadline_s} s: both must be positive")
        self._deadline_s, self._start = deadline_s, start
        self._free = threading.Semaphore(processes)
        self._idle: list[_Worker] = []
        # Also when the interpreter ends. A killed parent's workers see their channel close.
        weakref.finalize(self, _stop_all, self._idle)

    def run(self, function: Callable[..., Result], *args: Any) -> Result:
        """function(*args) in a worker. The function is one of a module's, arguments and result
        are pickled.

        Raises TimeoutError past the deadline, WorkerCrash when the process ends in the middle and
        so does the fresh one that tries again, and what the function raises.
        """
        with self._free:
            try:
                succeeded, value = self._call(self._idle_worker(), function, args)
            except WorkerCrash as first:
                try:
                    succeeded, value = self._call(self._new_worker(), function, args)
                except WorkerCrash as second:
                    how = f"{first}; tried again, {second}"
                    raise WorkerCrash(how, first.killed and second.killed) from first
                from absl import logging  # not at the top: a decoder process starts without it

                logging.warning("%s; a fresh one has done its work, nothing is lost", first)
        if not succeeded:
            raise value
        return value

    def _call(
        self, worker: "_Worker", function: Callable[..., Any], args: tuple[Any, ...]
    ) -> tuple[bool, Any]:
        """What `_Worker.run` gives; the worker is idle then, or gone."""
        try:
            reply = worker.run(function, args)
        except BaseException:  # interrupted, too: its answer must not reach the next caller
            worker.kill()
            raise
        self._idle.append(worker)
        return reply

    def _idle_worker(self) -> "_Worker":
        try:
            worker = self._idle.pop()
        except IndexError:  # none is idle, or another thread was faster
            return self._new_worker()
        return worker if worker.is_alive() else self._new_worker()

    def _new_worker(self) -> "_Worker":
        return _Worker(self._deadline_s, self._start)

    def close(self) -> None:
        """Ends the processes that are idle; a later call starts new ones."""
        _stop_all(self._idle)


@contextlib.contextmanager
def _blocked(signals: Iterable[signal.Signals]) -> Iterator[None]:
    """Signals that this thread would handle wait until the end."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Worker:
    """One process and the channel to it."""

    def __init__(self, deadline_s: float | None, start: Callable[[], object] | None):
        self._deadline_s = deadline_s
        ours, theirs = socket.socketpair()
        self._channel = Channel(ours)
        # Not multiprocessing.Process: it would import the main module, and with it JAX.
        root = str(Path(__file__).parents[3])
        paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
        with _blocked(TO_ALL):  # the process begins so, and ignores them as soon as it can
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", _WORKER, str(theirs.fileno()), str(deadline_s or 0)],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            )
        theirs.close()
        try:
            self._channel.send(start)
            succeeded, value = self._receive(_START_S)
            if not succeeded:
                raise value
        except BaseException:
            self.kill()
            raise

    def run(self, function: Callable[..., Any], args: tuple[Any, ...]) -> tuple[bool, Any]:
        """(True, result) or (False, the exception that the function raised)."""
        try:
            self._channel.send((function, *args))
        except OSError as error:
            raise self._crash() from error
        return self._receive(self._deadline_s)

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def hang_up(self) -> None:
        """Tells an idle worker to end."""
        self._channel.close()

    def stop(self) -> None:
        """Ends an idle worker."""
        self.hang_up()
        try:
            self._process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        self._process.kill()
        self._channel.close()
        # One that is stuck in the kernel, on a network file system for instance, is left behind.
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_GRACE_S)

    def _receive(self, seconds: float | None) -> tuple[bool, Any]:
        try:
            return self._channel.receive(seconds)
        except TimeoutError as error:
            raise TimeoutError(f"no result within {seconds:g} s") from error
        except (EOFError, ConnectionError) as error:
            raise self._crash() from error

    def _crash(self) -> WorkerCrash:
        """How the process, whose end of the channel is closed, has ended."""
        code = self._process.wait(_GRACE_S)
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return WorkerCrash(f"the process ended with {how}", code == -signal.SIGKILL)


def _stop_all(workers: list[_Worker]) -> None:
    for worker in workers:  # all at once, before the first is waited for
        worker.hang_up()
    while workers:
        workers.pop().stop()
