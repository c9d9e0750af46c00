"""Runs that are killed, told to end, damaged or out of room lose nothing.

`make soak` makes many tries of each kind and prints a table of tries and losses; `make test` makes
a few. What is random follows from SOAK_SEED, 0 by default.
"""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import time

import numpy as np
import pytest

from configs import tiny
from tests.conftest import devices
from tests.soak.runs import STEPS, ended, lost_at_the_end, lost_on_the_way, rows, start
from tests.vsft_jax import several_processes
from tests.vsft_jax.train import test_multihost as multihost
from vsft_jax.checkpoints import steps_of
from vsft_jax.config import Run
from vsft_jax.prepare import ensure_made_sets
from vsft_jax.train import train

_RANDOM = random.Random(int(os.environ.get("SOAK_SEED", "0")))
_COMPILED = 0.3  # of the time of a run that compiles, about, takes one that need not
_TABLE: dict[str, list[int]] = {}  # kind → tries, losses


def tries(few: int, many: int):
    """A test that is made with a few tries in CI, and with many by `make soak`."""
    return pytest.mark.parametrize("count", [few, pytest.param(many, marks=pytest.mark.soak)])


def _count(kind: str, lost: list[str]) -> None:
    row = _TABLE.setdefault(kind, [0, 0])
    row[0] += 1
    row[1] += bool(lost)
    assert not lost, f"{kind}: lost {lost}"


@pytest.fixture(scope="module", autouse=True)
def table():
    yield
    print("\n\n| | tries | losses |\n|---|---|---|")
    for kind, (count, losses) in _TABLE.items():
        print(f"| {kind} | {count} | {losses} |")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """The media of all runs."""
    folder = tmp_path_factory.mktemp("data")
    ensure_made_sets(Run(tiny.get_config(), folder))
    return folder


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory, request):
    """(workdir of a run that nothing happens to, its seconds when everything is compiled)."""
    many = request.config.option.markexpr == "soak"  # a few tries are not worth a second run
    for name in ("first", "whole")[: 1 + many]:
        workdir = tmp_path_factory.mktemp(name) / "run"
        begun = time.monotonic()
        job = start(data, workdir)
        said = ended(job)
        assert job.returncode == 0, said[-3000:]
    return workdir, (time.monotonic() - begun) * (1 if many else _COMPILED)


def _finish(data, workdir):
    job = start(data, workdir)
    said = ended(job)
    return [] if job.returncode == 0 else [f"exit code {job.returncode}: {said[-1500:]}"]


def _disturbed(data, whole, tmp_path, kind, count, disturb):
    """Disturbs runs at random times, `count` times in all; each goes on to its end."""
    left = count
    while left:
        workdir, latest = tmp_path / f"run{left}", 0
        while left and latest < STEPS:
            job = start(data, workdir)
            # More than one in three does not get to its first step.
            with contextlib.suppress(subprocess.TimeoutExpired):
                job.wait(timeout=_RANDOM.uniform(0.3, 1.1) * whole[1])
            lost = disturb(job)
            steps = steps_of(workdir / "checkpoints")
            if max(steps, default=0) < latest:
                lost.append(f"checkpoint {latest}")
            latest = max(steps, default=0)
            _count(kind, lost + lost_on_the_way(workdir, whole[0]))
            left -= 1
        _count(f"{kind}, at the end", _finish(data, workdir) + lost_at_the_end(workdir, whole[0]))


def _kill(job):
    job.kill()
    job.communicate()
    return []


def _tell(job):
    number = _RANDOM.choice([signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
    job.send_signal(number)
    said = ended(job)
    # Before the job listens, a signal ends it as the system does.
    fine = job.returncode in (0, 128 + number, -number)
    return [] if fine else [f"exit code {job.returncode} after {number}: {said[-1500:]}"]


@pytest.mark.soak
def test_kills(data, whole, tmp_path):
    _disturbed(data, whole, tmp_path, "kills", 20, _kill)


@pytest.mark.soak
def test_signals(data, whole, tmp_path):
    _disturbed(data, whole, tmp_path, "signals", 10, _tell)


def test_a_kill_and_a_signal(data, whole, tmp_path):
    both = iter((_kill, _tell))
    _disturbed(data, whole, tmp_path, "kills and signals", 2, lambda job: next(both)(job))


def _flip(path):
    content = bytearray(path.read_bytes())
    content[_RANDOM.randrange(len(content))] ^= 1 << _RANDOM.randrange(8)
    path.write_bytes(content)


_HARM = [
    _flip,
    lambda path: path.write_bytes(path.read_bytes()[: _RANDOM.randrange(path.stat().st_size)]),
    lambda path: path.write_bytes(b""),
    lambda path: path.unlink(),
]


def _harm(folder):
    """Damages one of the files in a folder; returns which."""
    files = [p for p in sorted(folder.rglob("*")) if p.is_file() and p.stat().st_size]
    files = [p for p in files if p.suffix != ".lock" and p.name != "manifest.json"]
    path = _RANDOM.choice(files)
    _RANDOM.choice(_HARM)(path)
    return path


def _damaged(data, whole, workdir, places):
    """A run with a damaged file in each of some places of {checkpoint, index} goes to its end
    again."""
    shutil.copytree(whole[0], workdir, symlinks=True)
    newest = steps_of(workdir / "checkpoints")[0]
    folders = {"checkpoint": workdir / "checkpoints" / str(newest), "index": workdir / "index"}
    harmed = [_harm(folders[place]) for place in places]
    lost = _finish(data, workdir) + lost_at_the_end(workdir, whole[0])
    _count("damages", [f"{harmed}: {each}" for each in lost])


@pytest.mark.soak
def test_damages(data, whole, tmp_path):
    for number in range(20):
        place = _RANDOM.choice(["checkpoint", "index"])
        _damaged(data, whole, tmp_path / f"run{number}", [place])


def test_a_damaged_checkpoint_and_a_damaged_index(data, whole, tmp_path):
    _damaged(data, whole, tmp_path / "run", ["checkpoint", "index"])


@tries(1, 10)
def test_full_disks(data, whole, tmp_path, count):
    """Of random sizes, so that any file of a run is the one that does not fit."""
    needed = int(subprocess.check_output(["du", "-s", "-B1", whole[0]]).split()[0])
    for number in range(count):
        disk = tmp_path / f"disk{number}"
        disk.mkdir()
        # On every other one it is the first checkpoint or what is written before it.
        part = _RANDOM.uniform(0.4, 0.95) if number % 2 else 0.4 * 40 ** -_RANDOM.random()
        size = int(needed * part)
        mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(disk)]
        if subprocess.run(mount, capture_output=True).returncode:
            pytest.skip("nothing can be mounted here")
        try:
            job = start(data, disk / "run")
            said = ended(job)
            (last,) = said.strip().splitlines()[-1:]
            lost = [] if job.returncode in (0, 2) else [f"exit {job.returncode}: {said[-1500:]}"]
            print(f"\n{size / needed:.0%} of the room: exit code {job.returncode}: {last[:150]}")
            subprocess.run(["mount", "-o", "remount,size=1g", str(disk)], check=True)
            lost += _finish(data, disk / "run") + lost_at_the_end(disk / "run", whole[0])
        finally:
            subprocess.run(["umount", "-l", str(disk)], check=True)
        _count("full disks", lost)


@pytest.mark.soak
@pytest.mark.parametrize("dying", [0, 1])
def test_two_processes_of_which_one_is_killed(shared_config, tmp_path, dying):
    config = shared_config.copy_and_resolve_references()
    config.train.update(steps=STEPS, batch_rows=4, checkpoint_every=2)
    with devices(1):
        train(Run(config, tmp_path / "alone"))
    workers = multihost.start_workers(config, tmp_path, "two")
    record = tmp_path / "two" / "train.jsonl"
    while all(worker.poll() is None for worker in workers):
        time.sleep(0.2)
        if record.exists() and len(record.read_text().splitlines()) > 4:
            workers[dying].kill()
    said = ended(workers[1 - dying])
    lost = [] if dying == 0 or "process 1 of 2" in said.splitlines()[-1] else [said[-1500:]]
    several_processes.finish(multihost.start_workers(config, tmp_path, "two"))
    losses = [[row["loss"] for row in rows(tmp_path / name)] for name in ("two", "alone")]
    if len(losses[0]) != STEPS or not np.allclose(*losses, rtol=2e-5):
        lost.append(f"losses {losses}")
    _count("one of two processes killed", lost)
