"""Models trained with m frames and shown n, and the numbers of the paper beside ours."""

import json

import pytest

from evaluation.report import compare_runs
from evaluation.report.sections import make_document
from evaluation.report.wording import Strong
from tests.evaluation.report.synthetic_study import write_study


@pytest.fixture
def runs(tmp_path):
    """(folder of the runs base, fixed-2-seed0 and fixed-8-seed0, what a report has of them)."""
    write_study(tmp_path, questions=24, policies=("fixed-2", "fixed-8"))
    folder = tmp_path / "cells"
    for path in folder.glob("*/cell.json"):
        path.unlink()

    def sections():
        study = compare_runs([folder / "base", *sorted(folder.glob("*-seed0"))])
        return {section.title: section for section in make_document(study).sections}

    return folder, sections


def _change(path, to, **changes):
    """A result under another frame policy, or of another benchmark, with other facts in it."""
    record = json.loads(path.read_text())
    record["provenance"] |= changes.pop("provenance", {})
    to.parent.mkdir(exist_ok=True)
    to.write_text(json.dumps(record | changes))


def test_models_under_the_frames_of_others_make_a_table(runs):
    folder, sections = runs
    assert "Trained with, shown" not in sections()
    own = folder / "fixed-2-seed0" / "eval" / "fixed-2"
    shown = own.parent / "fixed-4"
    frames = {"provenance": {"frame_policy": {"kind": "fixed", "frames": 4}}}
    _change(own / "world_video.json", shown / "world_video.json", score=0.5, **frames)
    (table,) = sections()["Trained with, shown"].tables
    assert table.title.startswith("world_video, n = ")
    assert table.headers == ["trained with", "shown fixed-2", "shown fixed-4", "shown fixed-8"]
    base, two, eight = table.rows
    assert [row[0].split(" ")[0] for row in table.rows] == ["base", "fixed-2", "fixed-8"]
    assert base[1] != "–" != base[3] and base[2] == "–"
    assert two[2] == "50.0" and two[3] == "–" == eight[1] == eight[2]
    assert [isinstance(cell, Strong) for cell in two] == [False, True, False, False]
    assert [isinstance(cell, Strong) for cell in eight] == [False, False, False, True]


def test_the_papers_numbers_stand_beside_those_of_its_model(runs):
    folder, sections = runs
    number = {"value": 61.23, "low": 59.0, "high": 63.5}
    for run, path in (
        ("base", "/hub/models--Qwen--Qwen2.5-VL-7B-Instruct/snapshots/0a1b"),
    ) + tuple(
        (each, "/models/Qwen2.5-VL-3B-Instruct") for each in ("fixed-2-seed0", "fixed-8-seed0")
    ):
        for result in folder.glob(f"{run}/eval/*/world_video.json"):
            _change(
                result,
                result.with_name("videomme.json"),
                benchmark="videomme",
                metrics={"accuracy": number, "short": number},
                provenance={"config": {"model": {"path": path}}},
            )
    # Two frames are none of the paper's.
    (table,) = sections()["Beside the paper"].tables
    assert table.rows == [["videomme, accuracy", "base", "8", "51.19", "61.2 (59.0–63.5)"]]
    (tuned,) = folder.glob("fixed-8-seed0/eval/*/videomme.json")
    _change(
        tuned, tuned, provenance={"config": {"model": {"path": "/models/Qwen2.5-VL-7B-Instruct"}}}
    )
    (table,) = sections()["Beside the paper"].tables
    assert [row[1:4] for row in table.rows] == [
        ["base", "8", "51.19"],
        ["fixed-8-seed0", "8", "54.41"],
    ]
    # Trained with eight frames and shown sixteen is none of the paper's.
    sixteen = {"frame_policy": {"kind": "fixed", "frames": 16}}
    _change(tuned, tuned.parents[1] / "fixed-16" / tuned.name, provenance=sixteen)
    (table,) = sections()["Beside the paper"].tables
    assert len(table.rows) == 2


def test_tasks_are_corrected_for_their_number(runs):
    folder, sections = runs
    tables = {table.title: table for table in sections()["Tasks, corrected"].tables}
    assert list(tables) == ["world_image, 4 tasks", "world_video, 6 tasks"]
    video = tables["world_video, 6 tasks"]
    assert [row[0] for row in video.rows][:2] == ["action, n = 4", "appearance, n = 4"]
    assert len(video.headers) == 3 and not any(isinstance(c, Strong) for r in video.rows for c in r)
    # The tuned model has every question of one task that the base has not: four of four gained.
    for run, score in (("base", 0.0), ("fixed-8-seed0", 1.0)):
        path = folder / run / "eval" / "fixed-8" / "predictions.jsonl"
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        action = [line for line in lines if line["task"] == "action"]
        for line in action:
            line["score"] = score
        more = [line | {"id": f"{line['id']}-{i}"} for line in action for i in range(4)]
        path.write_text("".join(json.dumps(line) + "\n" for line in [*lines, *more]))
        for result in path.parent.glob("*.json"):
            mine = [x["score"] for x in [*lines, *more] if x["benchmark"] == result.stem]
            _change(result, result, n=len(mine), score=sum(mine) / len(mine))
    (_, video) = sections()["Tasks, corrected"].tables
    # 20 questions: 2 / 2 ** 20, six times.
    assert video.rows[0][2] == "+100.0 (p < 0.001)" and isinstance(video.rows[0][2], Strong)
    assert not any(isinstance(row[2], Strong) for row in video.rows[1:])
