"""A study's command lines: what a shell makes of each is a study of one model, on machines too."""

import re
import shlex

import pytest

from evaluation import run_study as jobs_study
from evaluation.study import Lot
from front import main
from front.arguments import parse
from front.jobs import _resource_name
from input_pipeline.errors import UserError
from launch.__main__ import main as launch

LOTS = [
    Lot(("base",), ""),
    Lot(("hybrid-seed0", "hybrid-half-seed0"), "base"),
    Lot(("hybrid~3f2a-seed0",), "base"),
]


@pytest.fixture
def lines(monkeypatch, tmp_path, capfd):
    """What `--launch` prints, by its COMMAND."""
    monkeypatch.setattr(jobs_study, "what_is_left", lambda run: LOTS)

    def printed(command):
        words = ["--config=configs/tiny.py", "--config.study.seeds=(0, 1)", "--job=study"]
        assert main([*words, f"--workdir={tmp_path}", *command]) == 0
        return capfd.readouterr().out.splitlines()

    return printed


def test_each_line_is_the_study_of_a_model(lines, tmp_path):
    first, second, third = lines(["--launch"])
    assert first.endswith("--cell=base") and second.endswith("  # when base is done")
    program, *words = shlex.split(second, comments=True)
    typed = parse(words, program)
    assert typed.cell == ("hybrid-seed0", "hybrid-half-seed0") and typed.job == "study"
    assert typed.overrides == ("--config.study.seeds=(0, 1)",) and typed.launch is None
    assert parse(shlex.split(third, comments=True)[1:], "vsft").cell == ("hybrid~3f2a-seed0",)


def test_launch_takes_them_as_they_are(lines, capfd):
    command = "python -m launch jobset --name={cell} --tpu=v5e:2x2 --image=i --print --"
    for line in lines([f"--launch={command}"]):
        words = shlex.split(line, comments=True)[3:]
        assert launch(words) == 0
        assert "--cell=" in capfd.readouterr().out


def test_names_of_resources_are_short_plain_and_of_one_cell_each():
    cells = ["hybrid-seed0", "8-frames-seed0", "hybrid~3f2a-seed1"]
    cells += [f"random-matched-frozen-tower-and-more-seed{i}" for i in range(12)]
    names = [_resource_name(cell) for cell in cells]
    assert names[0] == cells[0] and len(set(names)) == len(cells)
    assert all(re.fullmatch("[a-z]([-a-z0-9]{0,38}[a-z0-9])?", name) for name in names)


@pytest.mark.parametrize("flag", ["--launch", "--cell=base"])
def test_they_are_for_studies_alone(flag):
    with pytest.raises(UserError, match="it is for study"):
        parse(["--config=configs/tiny.py", "--workdir=x", flag], "vsft")
