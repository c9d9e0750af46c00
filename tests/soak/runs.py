"""Trainings of configs/tiny.py as a user starts them, and what one that was disturbed has lost."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import orbax.checkpoint as ocp

from vsft_jax.checkpoints import steps_of
from vsft_jax.checkpoints.manifest import damage
from vsft_jax.train import read_jsonl
from vsft_jax.train.record import goodput

ROOT = Path(__file__).parents[2]
STEPS, EVERY = 40, 4  # of a run; a checkpoint after every so many
WAIT = 600  # seconds for a job to end by itself, on a machine that does other things too
_CLOCK = {"seconds", "data_wait_fraction", "examples_per_second", "tokens_per_second"}
_CLOCK |= {"visual_tokens_per_second", *goodput.SCALARS}


def command(data: Path, workdir: Path) -> list[str]:
    """The command line of a training whose media are in `data`."""
    train = {"steps": STEPS, "checkpoint_every": EVERY, "log_every": 3, "evaluate_every": 20}
    settings = {"data.root": data, **{f"train.{key}": value for key, value in train.items()}}
    return [
        *(sys.executable, str(ROOT / "main.py"), f"--config={ROOT / 'configs' / 'tiny.py'}"),
        *(f"--config.{key}={value}" for key, value in settings.items()),
        *(f"--workdir={workdir}", "--job=train", "--config.train.keep_checkpoints=2"),
    ]


def start(data: Path, workdir: Path) -> subprocess.Popen:
    """The job at work. What was compiled for one workdir serves all, and quickly compiled."""
    workdir.mkdir(parents=True, exist_ok=True)
    compiled = workdir / ".compilation_cache"
    if not compiled.exists():
        (data / "compiled").mkdir(exist_ok=True)
        compiled.symlink_to(data / "compiled")
    fast = {"JAX_NUM_CPU_DEVICES": "1", "XLA_FLAGS": "--xla_backend_optimization_level=0"}
    environment = {**os.environ, **fast}
    return subprocess.Popen(
        command(data, workdir), env=environment, stdout=-3, stderr=subprocess.PIPE, text=True
    )


def ended(job: subprocess.Popen) -> str:
    """What the job said, when it has ended by itself; a job that hangs is killed and is an
    error."""
    try:
        return job.communicate(timeout=WAIT)[1]
    finally:
        job.kill()


def rows(workdir: Path) -> list[dict]:
    """The record, without what a clock says."""
    return [
        {name: value for name, value in row.items() if name not in _CLOCK}
        for row in read_jsonl(workdir / "train.jsonl")
    ]


def lost_on_the_way(workdir: Path, whole: Path) -> list[str]:
    """What a run that was disturbed, and did not go on yet, lacks of one that was not."""
    lost = []
    directory = workdir / "checkpoints"
    for step in steps_of(directory):
        if problem := damage(directory / str(step)):
            lost.append(f"checkpoint {step}: {problem}")
    if (workdir / "train.jsonl").exists():
        found = rows(workdir)
        if found != rows(whole)[: len(found)]:
            lost.append("rows of train.jsonl")
    return lost


def lost_at_the_end(workdir: Path, whole: Path) -> list[str]:
    """What a run lacks that has come to its end."""
    lost = lost_on_the_way(workdir, whole)
    if rows(workdir) != rows(whole):
        lost.append("rows at the end of train.jsonl")
    found, expected = _parameters(workdir), _parameters(whole)
    lost += [name for name in expected if not np.array_equal(found.get(name), expected[name])]
    return lost


def _parameters(workdir: Path) -> dict[str, np.ndarray]:
    folder = workdir / "checkpoints" / str(STEPS) / "params"
    restored = ocp.StandardCheckpointer().restore(folder) if folder.exists() else {}
    return {name: np.asarray(value) for name, value in restored.items()}
