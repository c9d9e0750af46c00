"""Runs that are killed or told to end leave the record and the model of a run that was not."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vsft_jax.checkpoints import Checkpoints
from vsft_jax.config import Run
from vsft_jax.train import RecordError, loop, read_jsonl, train
from vsft_jax.train.preemption import SIGNALS, Preempted
from vsft_jax.train.record import goodput

pytestmark = pytest.mark.usefixtures("one_device")
ROOT = Path(__file__).parents[3]
_TIMES = {
    *goodput.SCALARS,
    "seconds",
    "data_wait_fraction",
    *(f"{name}_per_second" for name in ("examples", "tokens")),
}


class Killed(Exception):
    """Stands for the end of the process."""


def _rows(workdir):
    """The record without what a clock says."""
    times = {*_TIMES, "visual_tokens_per_second"}
    return [
        {name: value for name, value in row.items() if name not in times}
        for row in read_jsonl(workdir / "train.jsonl")
    ]


def _latest(workdir):
    checkpoints = Checkpoints(workdir, read_only=True)
    with contextlib.closing(checkpoints):
        return checkpoints.latest()


def _score(model):
    return {"eval/score": float(model.step)}


@pytest.fixture
def at_step(monkeypatch):
    """at_step(k, do) does something while step k of the next run is being taken."""
    put = loop.put_batch

    def plan(step, do):
        left = [step]

        def spy(*arguments):
            left[0] -= 1
            if left[0] == 0:
                do()
            return put(*arguments)

        monkeypatch.setattr(loop, "put_batch", spy)

    return plan


def _raise(error):
    raise error


@pytest.fixture(scope="module")
def config(shared_config):
    config = shared_config.copy_and_resolve_references()
    config.train.update(steps=7, log_every=3, checkpoint_every=2, evaluate_every=4)
    return config


@pytest.fixture(scope="module")
def whole(config, tmp_path_factory):
    """The record of a run that nothing happened to."""
    from tests.conftest import devices

    workdir = tmp_path_factory.mktemp("whole")
    with devices(1):
        train(Run(config, workdir), _score)
    rows = _rows(workdir)
    assert [(row["step"], "loss" in row) for row in rows] == [
        *((3, True), (4, False), (6, True), (7, True), (7, False))
    ]
    return rows


def test_a_killed_run_has_the_record_of_a_whole_one(config, whole, tmp_path, at_step):
    at_step(6, lambda: _raise(Killed))
    with pytest.raises(Killed):
        train(Run(config, tmp_path), _score)
    assert _latest(tmp_path) == 4
    at_step(2, lambda: _raise(Killed))  # step 6 of a run that goes on from 4
    with pytest.raises(Killed):
        train(Run(config, tmp_path), _score)
    at_step(-1, None)
    train(Run(config, tmp_path), _score)
    assert _rows(tmp_path) == whole


def test_a_run_that_is_told_to_end_has_the_record_of_a_whole_one(
    config, whole, tmp_path, at_step, caplog
):
    caplog.set_level("INFO")
    at_step(5, lambda: os.kill(os.getpid(), signal.SIGHUP))
    with pytest.raises(Preempted) as ended:
        train(Run(config, tmp_path), _score)
    assert ended.value.code == 129 and _latest(tmp_path) == 5
    (said,) = [message for message in caplog.messages if "to go on" in message]
    assert said.startswith("SIGHUP: step 5 is saved; to go on: ") and "\n" not in said
    at_step(-1, None)
    train(Run(config, tmp_path), _score)
    assert _rows(tmp_path) == whole


def test_an_evaluation_is_left_and_made_up(config, whole, tmp_path):
    config = config.copy_and_resolve_references()
    config.train.checkpoint_every = 100
    asked = []

    def told(model):
        asked.append(model.step)
        os.kill(os.getpid(), SIGNALS[len(asked) - 1])
        time.sleep(60)

    before = [signal.getsignal(each) for each in SIGNALS]
    start = time.monotonic()
    for number, step in zip(SIGNALS, (4, 4, 7), strict=True):  # one that is made up is left too
        with pytest.raises(Preempted) as ended:
            train(Run(config, tmp_path), told if step == 4 else _told_at_the_end(told))
        assert ended.value.code == 128 + number and _latest(tmp_path) == step
    assert asked == [4, 4, 7] and time.monotonic() - start < 60
    assert [signal.getsignal(each) for each in SIGNALS] == before
    # It lacks the last evaluation, and then nothing.
    train(Run(config, tmp_path), _score)
    assert _rows(tmp_path) == whole
    train(Run(config, tmp_path), lambda model: _raise(AssertionError("evaluated again")))
    assert _rows(tmp_path) == whole


def _told_at_the_end(told):
    return lambda model: told(model) if model.step == 7 else _score(model)


def test_an_evaluation_that_fails_after_the_last_step_is_made_up(config, whole, tmp_path):
    with pytest.raises(Killed):
        train(
            Run(config, tmp_path),
            lambda model: _raise(Killed) if model.step == 7 else _score(model),
        )
    assert _rows(tmp_path) == whole[:-1]
    train(Run(config, tmp_path), _score)
    assert _rows(tmp_path) == whole


def test_a_signal_before_the_first_step_ends_the_run_with_nothing_saved(
    config, tmp_path, monkeypatch, caplog
):
    caplog.set_level("INFO")

    def prepare(run):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(60)

    monkeypatch.setattr(loop, "prepare_training", prepare)
    with pytest.raises(Preempted) as ended:
        train(Run(config, tmp_path), _score)
    assert ended.value.code == 130 and not (tmp_path / "checkpoints").exists()
    assert any("SIGINT: no step was taken; to go on: " in message for message in caplog.messages)


_WATCH = """
import ctypes, sys
from vsft_jax.train import preemption
preemption.STUCK_SECONDS = float(sys.argv[1])
with preemption.PreemptionWatch() as watch, watch.interruptible(nothing_to_lose=True):
    print("ready", flush=True)
    lock = ctypes.create_string_buffer(64)  # a mutex
    for _ in range(2):  # the second time it waits for ever, without a line of Python
        ctypes.CDLL(None).pthread_mutex_lock(lock)
"""


@pytest.mark.parametrize(
    ("stuck_seconds", "signals", "number"),
    [
        (0.5, 1, signal.SIGTERM),
        (60.0, 2, signal.SIGINT),
        (60.0, 2, signal.SIGTERM),
        (60.0, 2, signal.SIGHUP),
    ],
)
def test_a_call_that_does_not_come_back_is_left(stuck_seconds, signals, number):
    command = [sys.executable, "-c", _WATCH, str(stuck_seconds)]
    job = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert job.stdout.readline() == "ready\n"
        time.sleep(1.0)  # until it is in that call
        for _ in range(signals):
            job.send_signal(number)
            time.sleep(0.2)
        _, said = job.communicate(timeout=20)
    finally:
        job.kill()
    assert job.returncode == 128 + number
    assert said.strip().splitlines()[-1] == f"{signal.Signals(number).name}: left at once"


def test_a_signal_that_is_ignored_stays_so():
    code = """if True:
        import os, signal
        from vsft_jax.train.preemption import PreemptionWatch
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
        with PreemptionWatch() as watch, watch.interruptible():
            os.kill(os.getpid(), signal.SIGHUP)
            assert not watch.reached(1)
    """
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 8 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("nothing can be mounted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_ends_the_run_in_a_line(shared_config, small_disk):
    config = shared_config.copy_and_resolve_references()
    config.train.update(steps=100, checkpoint_every=100, evaluate_every=2)
    started = []

    def fill(model):
        started.append(time.monotonic())
        with contextlib.suppress(OSError), open(small_disk / "filler", "wb", buffering=0) as file:
            while file.write(bytes(4096)):
                pass
        return {}

    with pytest.raises(RecordError, match="train.jsonl cannot be written: No space left on device"):
        train(Run(config, small_disk), fill)
    assert time.monotonic() - started[0] < 60
