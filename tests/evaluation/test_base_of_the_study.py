"""What a study of the demo rests on: its base can do what it is judged by.

VSFT_STUDY=runs/demo-full python -m pytest -m study tests/evaluation/test_base_of_the_study.py
"""

import os
from pathlib import Path

import pytest

from evaluation.results import BenchmarkResult

MARGIN = 0.10  # above what guessing gets, on every task


@pytest.mark.study
def test_the_base_is_ten_points_above_guessing_on_every_task():
    folder = Path(os.environ["VSFT_STUDY"]) / "cells" / "base" / "eval"
    found = {
        name: BenchmarkResult.load(next(folder.glob(f"{policy}/{name}.json")))
        for name, policy in (
            ("world_image", "*"),
            ("world_text", "*"),
            ("world_video", "fixed-16"),
        )
    }
    below = {
        f"{name}, {task}": f"{part.score:.2f} where guessing gets {part.chance:.2f}"
        for name, result in found.items()
        for task, part in result.by_task.items()
        if part.score < part.chance + MARGIN
    }
    assert not below
