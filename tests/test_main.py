"""main.py as its user runs it: flags, overrides, and the jobs that print something."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def _main(*arguments):
    return subprocess.run(
        [sys.executable, "main.py", *arguments], cwd=ROOT, capture_output=True, text=True
    )


def test_prepare_prints_the_histogram_with_reasons(world, tmp_path):
    done = _main(
        "--config=configs/tiny.py:frames=hybrid",
        f"--config.data.root={world}",
        f"--workdir={tmp_path}",
        "--job=prepare",
    )
    assert done.returncode == 0, done.stderr
    assert "frame budgets (hybrid), mean" in done.stderr
    assert "'What colour" in done.stderr and "asks for a colour (-)" in done.stderr
    summaries = list((tmp_path / "index").glob("videos-train-*.summary.json"))
    assert json.loads(summaries[0].read_text())["histogram"]


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--config=configs/tiny.py", "--config.train.stepz=20"], "stepz"),
        (["--config=configs/tiny.py:frame=4"], "unknown config argument 'frame'"),
        (["--config=configs/tiny.py", "--jobs=train"], "Unknown command line flag 'jobs'"),
        (["--config=configs/tiny.py", "--prompt=hello", "--job=prepare"], "have no effect"),
        (["--config=configs/tiny.py", "--job=predict"], "--job=predict needs --prompt"),
        (["--config=configs/tiny.py", "--job=evaluate"], "was the model trained"),
    ],
)
def test_mistakes_are_named(arguments, message, tmp_path):
    done = _main(*arguments, f"--workdir={tmp_path}")
    assert done.returncode != 0
    assert message in done.stderr + done.stdout
