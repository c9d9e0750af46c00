"""Two jobs in one folder: the second is refused by name, and a dead owner holds nothing."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from input_pipeline import mirrors
from vsft_jax import workdir_lock
from vsft_jax.workdir_lock import LOCK_FILE, WorkdirInUse, working_in

ROOT = Path(__file__).parents[2]
_HOLD = """
import sys, time
from pathlib import Path
from vsft_jax.workdir_lock import working_in
with working_in(Path(sys.argv[1]), "train"):
    print("working", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def other(tmp_path):
    """Another process that works in the folder."""
    command = [sys.executable, "-c", _HOLD, str(tmp_path)]
    job = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert job.stdout.readline() == "working\n"
    yield job
    job.kill()
    job.wait()


def test_the_second_job_is_refused_by_name_until_the_first_ends(other, tmp_path, caplog):
    with (
        pytest.raises(
            WorkdirInUse, match=f"--job=train of process {other.pid} on .*, begun 2"
        ) as e,
        working_in(tmp_path, "study"),
    ):
        pass
    assert str(tmp_path) in str(e.value) and len(str(e.value).splitlines()) <= 5
    other.send_signal(signal.SIGKILL)
    other.wait()
    with working_in(tmp_path, "train"):
        pass
    (line,) = [m for m in caplog.messages if "taking it over" in m]
    assert f"process {other.pid}" in line and "ended without letting go" in line


def test_a_job_that_ends_lets_go_however_it_ends(tmp_path, caplog):
    with pytest.raises(SystemExit), working_in(tmp_path / "new", "train"):
        raise SystemExit(143)
    with working_in(tmp_path / "new", "train"):
        owner = json.loads((tmp_path / "new" / LOCK_FILE).read_text())
        assert owner["pid"] == os.getpid() and owner["job"] == "train"
        with pytest.raises(WorkdirInUse), working_in(tmp_path / "new", "prepare"):
            pass
        with working_in(tmp_path / "new" / "cell", "train"):  # of a study
            pass
    assert not caplog.messages and not (tmp_path / "new" / LOCK_FILE).read_text()


def _of_another_host(path, beats):
    owner = {"job": "train", "host": "elsewhere", "pid": 7, "started": "2026-01-01 00:00:00"}
    file = os.open(path, os.O_WRONLY | os.O_CREAT)
    os.pwrite(file, json.dumps({**owner, "beats": beats}).encode(), 0)  # as owners do, in place
    os.close(file)


def test_another_hosts_job_is_watched_where_locks_are_not_shared(tmp_path, monkeypatch, caplog):
    path = tmp_path / LOCK_FILE
    monkeypatch.setattr(workdir_lock, "DEAD_SECONDS", 2.0)
    _of_another_host(path, 0)
    with working_in(tmp_path, "train"):  # it is dead
        pass
    assert any("process 7 on elsewhere" in m and "taking it over" in m for m in caplog.messages)
    _of_another_host(path, 0)
    beat = threading.Timer(0.3, _of_another_host, [path, 1])
    beat.start()
    with (
        pytest.raises(WorkdirInUse, match="process 7 on elsewhere"),
        working_in(tmp_path, "train"),
    ):
        pass
    beat.join()


def test_an_owner_counts_up_and_without_locks_that_is_what_holds(tmp_path, monkeypatch):
    def none(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(workdir_lock.fcntl, "flock", none)
    monkeypatch.setattr(workdir_lock, "BEAT_SECONDS", 0.1)
    monkeypatch.setattr(workdir_lock, "DEAD_SECONDS", 2.0)
    with working_in(tmp_path, "train"):
        first = (tmp_path / LOCK_FILE).read_text()
        start = time.monotonic()
        with pytest.raises(WorkdirInUse), working_in(tmp_path, "train"):
            pass
        assert time.monotonic() - start < 2.0
        second = (tmp_path / LOCK_FILE).read_text()
        assert first != second and len(first) == len(second)
    with working_in(tmp_path, "train"):
        pass


def test_at_an_address_an_owner_that_counts_is_alive_and_another_is_dead(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(mirrors, "_open", {})
    monkeypatch.setattr(workdir_lock, "DEAD_SECONDS", 0.5)
    monkeypatch.setattr(workdir_lock, "BEAT_SECONDS", 0.05)
    address = "memory://locks/run"
    one = mirrors.copy_of(address)
    with working_in(one, "train"):
        said = f"^{address} is in use: --job=train of process"
        with pytest.raises(WorkdirInUse, match=said), working_in(one, "study"):
            pass
        left = mirrors.read_object(f"{address}/{LOCK_FILE}")
    assert mirrors.read_object(f"{address}/{LOCK_FILE}") == b""
    mirrors.write_object(f"{address}/{LOCK_FILE}", left)  # as of a job that was killed
    with working_in(one, "train"):
        pass
