"""Two processes, each with its own device and its own rows, train what one process trains."""

import json
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np

from tests.conftest import devices
from vsft_jax.train import loop
from vsft_jax.train.metrics import read_jsonl

ROOT = Path(__file__).parents[2]

_WORKER = """
import sys
import jax
jax.distributed.initialize("localhost:" + sys.argv[1], num_processes=2, process_id=int(sys.argv[2]))
from ml_collections import ConfigDict
from vsft_jax.train.loop import train
import json
config = ConfigDict(json.load(open(sys.argv[3])))
assert jax.device_count() == 2 and jax.local_device_count() == 1
train(config, sys.argv[4])
"""


def test_two_processes_give_the_losses_of_one_and_resume_from_its_checkpoint(
    shared_config, tmp_path
):
    config = shared_config.copy_and_resolve_references()
    config.train.update(steps=3, batch_rows=4, checkpoint_every=2)
    with devices(1):
        loop.train(config, tmp_path / "one")
    path = tmp_path / "config.json"
    path.write_text(config.to_json())
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    environment = {"JAX_PLATFORMS": "cpu", "PATH": "", "PYTHONPATH": str(ROOT)}
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", _WORKER, port, str(i), str(path), str(tmp_path / "two")],
            cwd=ROOT,
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        for i in range(2)
    ]
    for worker in workers:
        _, errors = worker.communicate(timeout=300)
        assert worker.returncode == 0, errors[-3000:]
    losses = [
        [row["loss"] for row in read_jsonl(tmp_path / run / "train.jsonl")]
        for run in ("one", "two")
    ]
    assert len(losses[0]) == 3
    np.testing.assert_allclose(losses[1], losses[0], rtol=2e-5)
    saved = json.loads((tmp_path / "two" / "config.json").read_text())
    assert saved["config"]["train"]["steps"] == 3

    # What two processes saved, one goes on from.
    config.train.steps = 4
    with devices(1):
        loop.train(config, tmp_path / "two")
    assert [row["step"] for row in read_jsonl(tmp_path / "two" / "train.jsonl")] == [1, 2, 3, 4]
