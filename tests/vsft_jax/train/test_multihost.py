"""Two processes, each with its own device and its own rows, train what one process trains."""

import json
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from evaluation.evaluate import during_training
from front import configs
from input_pipeline import mirrors
from tests.bucket import bucket
from tests.conftest import devices
from tests.vsft_jax import several_processes
from vsft_jax.checkpoints import Checkpoints
from vsft_jax.config import Run
from vsft_jax.train import train
from vsft_jax.train.record import read_jsonl

_WORKER = """
from ml_collections import ConfigDict
from evaluation.evaluate import during_training
from vsft_jax.config import Run
from vsft_jax.train import train
import json

def tuples(value):  # JSON has lists only
    if isinstance(value, dict):
        return {key: tuples(inner) for key, inner in value.items()}
    return tuple(map(tuples, value)) if isinstance(value, list) else value

config = ConfigDict(tuples(json.load(open(sys.argv[3]))))
run = Run(config, sys.argv[4])
train(run, during_training(run))
"""


def start_workers(config, folder: Path, run: str, count: int = 2) -> list[subprocess.Popen]:
    """Processes that train in <folder>/<run>, on one device each."""
    path = folder / "config.json"
    path.write_text(config.to_json())
    return several_processes.start(_WORKER, str(path), str(folder / run), count=count)


@pytest.fixture(scope="module")
def alone(shared_config, tmp_path_factory):
    """What one process on one device does: (config, workdir)."""
    config = shared_config.copy_and_resolve_references()
    config.train.update(steps=3, batch_rows=4, checkpoint_every=2, evaluate_every=3)
    config.eval.update(batch_rows=4, max_new_tokens=4)
    workdir = tmp_path_factory.mktemp("alone")
    with devices(1):
        run = Run(config, workdir)
        train(run, during_training(run))
    return config, workdir


def _answers(workdir):
    (predictions,) = workdir.glob("eval/*/predictions.jsonl")
    return {(row["benchmark"], row["id"]): row["prediction"] for row in read_jsonl(predictions)}


def _steps(workdir):
    """The rows of the steps, without those of evaluations."""
    return [row for row in read_jsonl(workdir / "train.jsonl") if "loss" in row]


def _compare(workdir, alone):
    """The losses are those of one process, and so are the answers to the benchmarks that it had."""
    losses = [[row["loss"] for row in _steps(w)] for w in (workdir, alone)]
    assert len(losses[0]) == 3
    np.testing.assert_allclose(*losses, rtol=2e-5)
    answers, expected = _answers(workdir), _answers(alone)
    assert len(set(expected.values())) > 1  # so that a mix-up would show
    asked = {benchmark for benchmark, _ in expected}
    assert {key: answers[key] for key in answers if key[0] in asked} == expected


def test_a_tensor_axis_across_processes(alone, tmp_path):
    """Both processes have a part of every row, and load them all."""
    config = alone[0].copy_and_resolve_references()
    config.mesh.update(data=1, fsdp=1, tensor=2)
    several_processes.finish(start_workers(config, tmp_path, "two"))
    _compare(tmp_path / "two", alone[1])


def test_two_processes_give_the_losses_of_one_and_resume_from_its_checkpoint(alone, tmp_path):
    config = alone[0].copy_and_resolve_references()
    several_processes.finish(start_workers(config, tmp_path, "two"))
    _compare(tmp_path / "two", alone[1])
    saved = json.loads((tmp_path / "two" / "config.json").read_text())
    assert saved["config"]["train"]["steps"] == 3

    # What two processes saved, one goes on from.
    config.train.update(steps=4, evaluate_every=0)
    with devices(1):
        train(Run(config, tmp_path / "two"))
    assert [row["step"] for row in _steps(tmp_path / "two")] == [1, 2, 3, 4]


@pytest.mark.slow
def test_four_processes_save_what_two_and_one_go_on_from_and_they_again(alone, tmp_path):
    """From one checkpoint, each number of processes takes the step that the others take."""
    config, four = alone[0].copy_and_resolve_references(), tmp_path / "four"
    several_processes.finish(start_workers(config, tmp_path, "four", count=4))
    _compare(four, alone[1])

    config.train.evaluate_every = 0
    for step, count in enumerate([2, 1, 4], start=4):
        config.train.steps = step
        same = tmp_path / f"by one alone at {step}"
        shutil.copytree(four, same)
        several_processes.finish(start_workers(config, tmp_path, "four", count=count))
        with devices(1):
            train(Run(config, same))
        last = [_steps(workdir)[-1] for workdir in (four, same)]
        assert [row["step"] for row in last] == [step, step]
        for name in ("loss", "grad_norm"):
            assert last[0][name] == pytest.approx(last[1][name], rel=1e-6)
    assert [row["step"] for row in _steps(four)] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("count", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_hosts_that_share_no_disk_work_in_a_bucket(alone, world, tmp_path, monkeypatch, count):
    """They are started from the command line, give the losses and answers of one process, and a
    host alone goes on from what they saved, and they from what that saved."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "host-alone"))
    monkeypatch.setattr(mirrors, "_open", {})
    with bucket("pod") as there:
        address = f"{there}/run"
        begun = [
            "--config=configs/tiny.py:frames=hybrid",
            f"--config.data.root={world}",
            *("--config.train.batch_rows=4", "--config.train.checkpoint_every=2"),
            *("--config.train.evaluate_every=3", "--config.train.log_every=1"),
            *("--config.eval.batch_rows=4", "--config.eval.max_new_tokens=4"),
        ]
        flags = [f"--workdir={address}", "--config.train.steps=3"]
        several_processes.finish(several_processes.start_hosts(count, tmp_path, *begun, *flags))
        _compare(mirrors.copy_of(address), alone[1])

        more = ["--config.train.evaluate_every=0", f"--workdir={address}"]
        with devices(1), mirrors.publishing():
            config = configs.saved(mirrors.copy_of(address))
            configs.override(config, [more[0], "--config.train.steps=4"])
            train(Run(config, mirrors.copy_of(address)))
        more.append("--config.train.steps=5")
        several_processes.finish(several_processes.start_hosts(count, tmp_path, *more))
        mirrors.fetch()
        rows = _steps(mirrors.copy_of(address))
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5]
    config, workdir = alone[0].copy_and_resolve_references(), tmp_path / "on one host"
    shutil.copytree(alone[1], workdir)
    for steps in (4, 5):
        config.train.update(steps=steps, evaluate_every=0)
        with devices(1):
            train(Run(config, workdir))
    losses = [[row["loss"] for row in each] for each in (rows, _steps(workdir))]
    np.testing.assert_allclose(*losses, rtol=2e-5)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_one_process_saves_and_ends_both(shared_config, tmp_path, number):
    config = shared_config.copy_and_resolve_references()
    config.train.update(steps=100_000, batch_rows=4, checkpoint_every=100_000)
    workers = start_workers(config, tmp_path, "run")
    try:
        record = tmp_path / "run" / "train.jsonl"
        deadline = time.monotonic() + 300
        while not (record.exists() and record.read_text()):
            assert time.monotonic() < deadline and all(w.poll() is None for w in workers)
            time.sleep(0.2)
        workers[1].send_signal(number)
        for worker, status in zip(workers, (128 + signal.SIGTERM, 128 + number), strict=True):
            _, errors = worker.communicate(timeout=120)
            assert worker.returncode == status, errors[-3000:]
    finally:
        for worker in workers:
            worker.kill()
    rows = read_jsonl(record)
    assert Checkpoints(tmp_path / "run", read_only=True).latest() == rows[-1]["step"] < 100_000
