"""Waits without an end, and processes that die, end a job with one line."""

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.vsft_jax import several_processes
from vsft_jax.config import Run
from vsft_jax.train import loop, train
from vsft_jax.train.watchdog import EXIT_CODE, Watchdog

ROOT = Path(__file__).parents[3]
_STUCK = """
import ctypes
from vsft_jax.train.watchdog import Watchdog
with Watchdog(1.0) as watchdog:
    with watchdog.waiting_for("nothing"):
        pass
    with watchdog.waiting_for("its part of the batch"):
        lock = ctypes.create_string_buffer(64)  # a mutex
        for _ in range(2):  # the second time it waits for ever, without a line of Python
            ctypes.CDLL(None).pthread_mutex_lock(lock)
"""


def test_a_wait_without_an_end_ends_the_process_with_a_line():
    job = subprocess.run([sys.executable, "-c", _STUCK], cwd=ROOT, capture_output=True, timeout=60)
    assert job.returncode == EXIT_CODE
    (line,) = job.stderr.decode().strip().splitlines()[-1:]
    assert (
        line.startswith("host ") and "waited 1 s for its part of the batch (config.train." in line
    )


def test_what_comes_in_time_ends_nothing():
    with Watchdog(0.5) as watchdog:
        for _ in range(4):
            with watchdog.waiting_for("a little"):
                time.sleep(0.2)
        time.sleep(0.6)  # not a wait
    with Watchdog(0.0) as watchdog, watchdog.waiting_for("ever"):
        time.sleep(0.2)


@pytest.mark.usefixtures("one_device")
def test_a_training_is_watched_where_it_waits(shared_config, tmp_path, monkeypatch):
    waits = []

    class Spy(Watchdog):
        def waiting_for(self, what):
            waits.append((self._seconds, what))
            return super().waiting_for(what)

    monkeypatch.setattr(loop, "Watchdog", Spy)
    config = shared_config.copy_and_resolve_references()
    config.train.update(steps=2, watchdog_seconds=500.0)
    train(Run(config, tmp_path))
    said = {what.partition(",")[0] for seconds, what in waits if seconds == 500.0}
    assert said == {f"its part of the batch of step {k}" for k in (1, 2)} | {
        f"its devices to finish step {k}" for k in (1, 2)
    }


_PEERS = """
import os, sys, time
from vsft_jax.train.watchdog import Peers, peers
peers.SIGN_SECONDS, peers.DEAD_SECONDS = 0.5, 5.0
with Peers():
    time.sleep(2.0)
    if jax.process_index() == int(sys.argv[3]):
        exec(sys.argv[4])
    time.sleep(120)
"""


@pytest.mark.parametrize(
    ("dying", "how", "said"),
    [
        (
            1,
            "os._exit(0)",
            "process 1 of 2 on host .* gave no sign of life for . s: it died; start",
        ),
        (1, "raise OSError('full')", "process 1 of 2 on host .* ended with OSError: full; started"),
        (0, "raise OSError('full')", r"ends: host .* \(process 0 of 2\) ended with OSError: full"),
    ],
)
def test_the_others_say_in_a_line_who_died(dying, how, said):
    workers = several_processes.start(_PEERS, str(dying), how)
    try:
        _, errors = workers[1 - dying].communicate(timeout=60)
    finally:
        for worker in workers:
            worker.kill()
    assert workers[1 - dying].returncode == EXIT_CODE, errors[-2000:]
    line = errors.strip().splitlines()[-1]
    assert re.search(said, line), errors[-2000:]
