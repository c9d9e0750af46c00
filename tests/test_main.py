"""main.py as its user runs it: a job that prints something. tests/front has the mistakes."""

import json
import subprocess
import sys
from pathlib import Path

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
