"""Processes that run functions, hang, crash and are replaced."""

import functools
import operator
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import pytest

from input_pipeline.media import MediaError
from input_pipeline.media.workers.pool import WorkerCrash, WorkerPool
from tests.input_pipeline.media.stalling import (
    busy_loop,
    kill_once,
    loaded,
    raise_media_error,
    raise_unpicklable,
)

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def pool():
    pool = WorkerPool(2, deadline_s=20)
    yield pool
    pool.close()


def test_results_and_errors_come_back(pool):
    assert pool.run(operator.add, 1, 2) == 3
    with pytest.raises(ZeroDivisionError):
        pool.run(operator.truediv, 1, 0)
    with pytest.raises(MediaError, match="/a.mp4: truncated: 3 of 4"):
        pool.run(raise_media_error)
    with pytest.raises(RuntimeError, match="ValueError: no lock"):
        pool.run(raise_unpicklable)


@pytest.mark.parametrize("shape", [(), (0, 4), (3, 200, 500, 3)])
def test_arrays_come_back_as_they_are(pool, shape):
    array = np.random.default_rng(0).integers(0, 255, shape).astype(np.uint8)
    for sent in (array, array.T, np.asfortranarray(array), array[..., ::-1] if shape else array):
        came = pool.run(np.copy, sent)
        assert came.dtype == sent.dtype and came.flags.writeable
        np.testing.assert_array_equal(came, sent)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_is_sent_to_all_processes_ends_none_that_starts(number, monkeypatch, capfd):
    started = []

    def popen(*args, popen=subprocess.Popen, **options):
        started.append(process := popen(*args, **options))
        process.send_signal(number)  # as Ctrl-C is, before there is a handler
        return process

    monkeypatch.setattr(subprocess, "Popen", popen)
    one = WorkerPool(1, deadline_s=20)
    try:
        assert one.run(operator.add, 1, 2) == 3
        started[0].send_signal(number)
        assert one.run(os.getpid) == started[0].pid
    finally:
        one.close()
    assert len(started) == 1 and capfd.readouterr().err == ""


def test_workers_need_no_jax(pool):
    assert not any(pool.run(loaded, name) for name in ("jax", "flax", "pyarrow", "tensorflow"))


def test_threads_share_the_processes(pool):
    with ThreadPoolExecutor(8) as threads:
        pids = set(threads.map(lambda _: pool.run(os.getpid), range(50)))
    assert 1 <= len(pids) <= 2 and os.getpid() not in pids


@pytest.mark.parametrize("hang", [lambda p: p.run(time.sleep, 600), lambda p: p.run(busy_loop)])
def test_a_hang_ends_at_the_deadline_and_the_next_call_works(hang):
    pool = WorkerPool(1, deadline_s=0.5)
    pid = pool.run(os.getpid)
    start = time.monotonic()
    with pytest.raises(TimeoutError, match="0.5 s"):
        hang(pool)
    assert time.monotonic() - start < 5
    assert not psutil.pid_exists(pid)
    assert pool.run(os.getpid) != pid
    pool.close()


def test_a_crash_is_named_and_the_next_call_works():
    pool = WorkerPool(1, deadline_s=20)
    with pytest.raises(WorkerCrash, match="SIGABRT"):
        pool.run(os.abort)
    with pytest.raises(WorkerCrash, match="exit code 3"):
        pool.run(os._exit, 3)
    pid = pool.run(os.getpid)
    os.kill(pid, 9)  # while it waits for work
    psutil.wait_procs([psutil.Process(pid)] if psutil.pid_exists(pid) else [], timeout=5)
    assert pool.run(operator.add, 1, 2) == 3
    pool.close()


def test_memory_is_bounded():
    pool = WorkerPool(1, deadline_s=20)
    with pytest.raises(MemoryError):
        pool.run(np.zeros, 9 * 2**30, np.uint8)
    assert pool.run(operator.add, 1, 2) == 3
    pool.close()


def test_what_a_killed_process_did_is_done_again_once(tmp_path):
    pool = WorkerPool(1, deadline_s=20)
    assert pool.run(kill_once, str(tmp_path / "mark")) == "done"
    with pytest.raises(WorkerCrash, match="SIGKILL; tried again, .* SIGKILL") as caught:
        pool.run(signal.raise_signal, signal.SIGKILL)
    assert caught.value.killed
    with pytest.raises(WorkerCrash, match="SIGABRT") as caught:
        pool.run(os.abort)
    assert not caught.value.killed
    pool.close()


def test_each_process_starts_with_what_it_is_given():
    pool = WorkerPool(1, None, functools.partial(os.putenv, "STARTED", "yes"))
    assert pool.run(subprocess.check_output, ["printenv", "STARTED"]) == b"yes\n"
    pool.close()
    failing = WorkerPool(1, None, functools.partial(operator.truediv, 1, 0))
    with pytest.raises(ZeroDivisionError):
        failing.run(os.getpid)


@pytest.mark.parametrize("doing", ["pool.run(time.sleep, 600)", "time.sleep(600)"])
def test_workers_end_silently_with_their_parent(doing):
    code = (
        "import os, time; from input_pipeline.media.workers.pool import WorkerPool;"
        f"pool = WorkerPool(1, 20); print(pool.run(os.getpid), flush=True); {doing}"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as parent:
        worker = psutil.Process(int(parent.stdout.readline()))
        time.sleep(0.2)
        parent.kill()
        assert not psutil.wait_procs([worker], timeout=10)[1]
        assert parent.communicate() == ("", "")
