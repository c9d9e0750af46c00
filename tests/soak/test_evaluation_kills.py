"""An evaluation that is killed at a random moment goes on to the same files, byte for byte.

`make soak` makes ten tries and prints each; tests/evaluation/test_evaluate.py makes the same of
every place without a process. What is random follows from SOAK_SEED, 0 by default.
"""

import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TRIES = 10
# A row at a time, so that a kill may fall between many batches.
SETTINGS = ("eval.batch_rows=1", "train.evaluate_every=0", "train.steps=2", "mesh.fsdp=1")


def _start(workdir: Path, job: str) -> subprocess.Popen:
    return subprocess.Popen(
        [
            *(sys.executable, str(ROOT / "main.py"), f"--config={ROOT / 'configs' / 'tiny.py'}"),
            *(f"--config.{setting}" for setting in SETTINGS),
            *(f"--workdir={workdir}", f"--job={job}"),
        ],
        env={**os.environ, "JAX_NUM_CPU_DEVICES": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def _finish(workdir: Path, job: str) -> dict[str, bytes]:
    """Runs a job to its end; its results and predictions by name."""
    process = _start(workdir, job)
    said = process.communicate(timeout=600)[1]
    assert process.returncode == 0, said[-3000:]
    files = sorted((workdir / "eval").glob("*/*.json*"))
    return {path.name: path.read_bytes() for path in files if "answers" not in path.name}


def _answered(workdir: Path) -> int:
    """Bytes of answers that are kept."""
    return sum(path.stat().st_size for path in workdir.glob("eval/*/*.answers.jsonl"))


@pytest.mark.soak
def test_ten_kills_of_an_evaluation(tmp_path):
    seed = int(os.environ.get("SOAK_SEED", "0"))
    chance, workdir = random.Random(seed), tmp_path / "run"
    _finish(workdir, "train")
    whole, most = _finish(workdir, "evaluate"), _answered(workdir)
    assert len(whole) == 3
    for count in range(TRIES):
        shutil.rmtree(workdir / "eval")
        least, process = chance.randrange(most), _start(workdir, "evaluate")
        while process.poll() is None and _answered(workdir) < least:
            time.sleep(0.002)
        time.sleep(chance.random() * 0.02)
        process.kill()
        process.communicate()
        there = _answered(workdir)
        same = _finish(workdir, "evaluate") == whole
        print(f"\nkill {count}: at {there} of {most} bytes of answers, same files: {same}", end="")
        assert same
