"""The report of run folders that no study made."""

import io
import json
import re
import shutil

import pytest
from rich.console import Console

from evaluation.records import ResultError
from evaluation.report import (
    build_report,
    compare,
    compare_runs,
    print_summary,
    read_folder,
    write_report,
)
from evaluation.report.read_study import read_study
from evaluation.report.sections import make_document
from tests.evaluation.report.synthetic_study import write_study


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    return write_study(folder, questions=60, policies=("fixed-2", "hybrid"))


@pytest.fixture
def runs(study, tmp_path):
    """The study's models as folders of runs, without what a study knows of them."""
    folder = tmp_path / "runs"
    shutil.copytree(study / "cells", folder)
    for path in folder.glob("*/cell.json"):
        path.unlink()
    return folder


def gains(study):
    return {
        group.models[0].cell.name: [
            compare.gain(study, group.shown, compare.of_modality(study, modality))
            for modality in compare.MODALITIES
        ]
        for group in compare.groups(study)
    }


def test_runs_compare_as_the_cells_of_a_study_do(study, runs):
    found = compare_runs([runs / "hybrid-seed0", runs / "base", runs / "fixed-2-seed0"])
    assert [model.cell.name for model in found.models if model.is_base] == ["base"]
    assert gains(found) == gains(read_study(study))
    assert {group.label for group in compare.groups(found)} == {
        "hybrid + hybrid-seed0",
        "fixed-2 + fixed-2-seed0",
    }


def test_the_named_run_is_the_base_else_the_first(runs):
    folders = [runs / "hybrid-seed0", runs / "fixed-2-seed0"]
    assert compare_runs(folders).models[0].cell.name == "hybrid-seed0"
    named = compare_runs(folders, base=folders[1])
    assert [(m.cell.name, m.is_base) for m in named.models] == [
        ("fixed-2-seed0", True),
        ("hybrid-seed0", False),
    ]
    with pytest.raises(ResultError, match="not among the runs"):
        compare_runs(folders, base=runs / "base")


def test_two_runs_with_one_policy_stay_two_runs(runs):
    shutil.copytree(runs / "hybrid-seed0", runs / "again")
    found = compare_runs([runs / "base", runs / "hybrid-seed0", runs / "again"])
    assert [len(group.models) for group in compare.groups(found)] == [1, 1]


def test_runs_of_the_same_name_are_told_by_their_folders(runs, tmp_path):
    shutil.copytree(runs / "base", tmp_path / "other" / "base")
    found = compare_runs([runs / "base", tmp_path / "other" / "base"])
    assert [model.cell.name for model in found.models] == ["runs/base", "other/base"]


def test_the_report_of_a_folder_of_runs(runs):
    html = build_report(runs, runs).read_text()
    assert "hybrid + hybrid-seed0" in html
    assert (runs / "tradeoff.png").exists()
    again = write_report(compare_runs(sorted(runs.glob("*-seed0"))), runs / "pair").read_text()
    assert "fixed-2-seed0" in again


def test_a_single_run_shows_its_scores(runs):
    run = runs / "hybrid-seed0"
    result = json.loads((run / "eval" / "hybrid" / "world_video.json").read_text())
    score = f"{100 * result['score']:.1f}"
    html = build_report(run, run).read_text()
    assert f"video {score} (" in html and "nothing to compare it with" in html
    console = Console(file=io.StringIO(), width=80)
    print_summary(read_folder(run), console)
    assert re.search(rf"^ +video +{score} ", console.file.getvalue(), re.MULTILINE)


def test_a_run_without_results_says_how_to_get_them(runs):
    shutil.rmtree(runs / "base" / "eval")
    with pytest.raises(ResultError, match="evaluate the run first: .*--job=evaluate"):
        compare_runs([runs / "base"])


def test_official_numbers_are_shown_as_their_publishers_define_them(runs):
    assert "Official numbers" not in [s.title for s in make_document(read_folder(runs)).sections]
    (path,) = (runs / "base" / "eval").glob("hybrid/*video.json")
    record = json.loads(path.read_text())
    record["metrics"] = {
        "perception": {"value": 1432.04, "low": 1401.0, "high": 1466.26},
        "tasks": {"value": 19.0, "low": None, "high": None},
    }
    path.write_text(json.dumps(record))
    sections = {s.title: s for s in make_document(read_folder(runs)).sections}
    (table,) = sections["Official numbers"].tables
    assert (table.title, table.headers) == (path.stem, ["number", "base, hybrid"])
    assert table.rows == [["perception", "1,432.0 (1,401.0–1,466.3)"], ["tasks", "19.0"]]


def test_controls_stand_beside_the_score(runs):
    assert "Controls against guessing" not in [
        s.title for s in make_document(read_folder(runs)).sections
    ]
    (path,) = (runs / "base" / "eval").glob("hybrid/*video.json")
    record = json.loads(path.read_text()) | {"score": 0.251, "low": 0.2, "high": 0.3, "n": 50}
    (path.parent / "no_visual").mkdir()
    (path.parent / "no_visual" / path.name).write_text(json.dumps(record))
    sections = {s.title: s for s in make_document(read_folder(runs)).sections}
    (table,) = sections["Controls against guessing"].tables
    headers = ["model", "benchmark", "score", "reading the text alone", "chance"]
    assert table.headers == headers
    (row,) = table.rows
    assert row[:2] == ["base, hybrid", path.stem] and row[3].startswith("25.1")
    assert row[3].endswith("50 questions")
