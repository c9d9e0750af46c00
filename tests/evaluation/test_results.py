"""Result files: what goes in comes out, and bad ones are named."""

import dataclasses
import json
import math

import pytest

from evaluation.results import (
    BenchmarkResult,
    Metric,
    Prediction,
    Provenance,
    ResultError,
    evaluation_folder,
    read_predictions,
    save_evaluation,
    summarise,
    write_predictions,
)
from evaluation.statistics import Interval, Sample, bootstrap_mean, wilson
from input_pipeline.files import write_atomically

PROVENANCE = Provenance(
    frame_policy={"kind": "fixed", "frames": 8},
    trained_with=None,
    checkpoint={"step": 10, "path": "checkpoints/10"},
    config={"train": {"steps": 10}},
    examples_per_second=3.5,
    generation={"max_new_tokens": 4},
)


def prediction(id, score=1.0, **changes):
    fields = {
        "id": id,
        "benchmark": "world_video",
        "task": "count",
        "format": "choice",
        "frames": 8,
        "why": "8: fixed",
        "prediction": "B",
        "answer": "B",
        "score": score,
        "parsed": True,
        "visual_tokens": 96,
        "chance": 0.25,
    }
    return Prediction(**(fields | changes))


def summary(predictions, **changes):
    options = {
        "benchmark": "world_video",
        "modality": "video",
        "masked": 2,
        "provenance": PROVENANCE,
    }
    return summarise(predictions, **(options | changes))


def test_summarise_by_task_and_frames():
    result = summary(
        [
            prediction("1", 1.0),
            prediction("2", 0.0, prediction="", parsed=False),
            prediction("3", 1.0, frames=4),
            prediction("4", 0.5, task="order", format="caption", frames=16, chance=0.0),
        ]
    )
    assert result.score == pytest.approx(2.5 / 4)
    assert (result.n, result.unparsed, result.masked) == (4, 1, 2)
    assert result.chance == pytest.approx(0.75 / 4)
    assert list(result.by_task) == ["count", "order"]
    count = result.by_task["count"]
    assert (count.score, count.n, count.chance) == (pytest.approx(2 / 3), 3, 0.25)
    assert (count.low, count.high) == (wilson(2, 3).low, wilson(2, 3).high)
    assert list(result.by_frames) == ["4", "8", "16"]  # by number, not by text
    assert [part.n for part in result.by_frames.values()] == [1, 2, 1]


def test_empty_predictions_stay_in_the_denominator():
    result = summary(
        [prediction("1"), *(prediction(i, 0.0, prediction="", parsed=False) for i in "23")]
    )
    assert result.score == pytest.approx(1 / 3)
    assert result.unparsed == 2


def test_the_score_is_a_micro_average():
    rows = [prediction("a", 1.0, task="rare")]
    rows += [prediction(str(i), 0.0) for i in range(9)]
    assert summary(rows).score == pytest.approx(0.1)


def test_images_have_no_frames():
    result = summary([prediction("1", frames=None)], modality="image")
    assert result.by_frames == {}


def test_questions_about_one_clip_belong_together():
    rows = [
        prediction(f"{clip}/{k}", float((clip + (k > 2)) % 2), cluster=f"{clip}.mp4")
        for clip in range(40)
        for k in range(4)
    ]
    result = summary(rows)
    expected = bootstrap_mean(Sample([p.score for p in rows], [p.cluster for p in rows]))
    assert (result.n, result.clusters, result.by_task["count"].clusters) == (160, 40, 40)
    assert (result.low, result.high) == (expected.low, expected.high)
    alone = summary([dataclasses.replace(p, cluster="") for p in rows])  # of an older file
    assert (alone.n, alone.clusters) == (160, 160)
    assert (alone.low, alone.high) == (wilson(80, 160).low, wilson(80, 160).high)


def test_official_numbers_keep_their_unit_and_interval(tmp_path):
    metrics = {
        "perception": Interval(1500.0, 1400.0, 1600.0, 2),
        "one": Interval(0.5, math.nan, math.nan, 2),
    }
    result = summary([prediction("1"), prediction("2", 0.0)], metrics=metrics)
    path = tmp_path / "mme.json"
    result.save(path)
    assert BenchmarkResult.load(path) == result
    assert result.metrics["perception"] == Metric(1500.0, 1400.0, 1600.0)
    assert result.metrics["one"] == Metric(0.5, None, None)


def test_summarising_twice_gives_the_same():
    rows = [prediction(str(i), i % 3 / 2) for i in range(30)]
    assert summary(rows) == summary(rows)


@pytest.mark.parametrize(
    "rows, changes, message",
    [
        ([], {}, "world_video.*2 masked.*media_root"),
        ([prediction("1"), prediction("1")], {}, "'1' occurs twice"),
        ([prediction("1", benchmark="other")], {}, "'1' belongs to 'other'"),
        ([prediction("1")], {"modality": "sound"}, "sound"),
    ],
)
def test_summarise_rejects(rows, changes, message):
    with pytest.raises(ResultError, match=message):
        summary(rows, **changes)


def test_save_and_load(tmp_path):
    result = summary([prediction("1"), prediction("2", 0.0, frames=16)])
    path = tmp_path / "eval" / "fixed-8" / "world_video.json"
    result.save(path)
    assert BenchmarkResult.load(path) == result
    assert [p.name for p in path.parent.iterdir()] == ["world_video.json"]
    record = json.loads(path.read_text())
    assert record["by_task"]["count"].keys() == {
        *("score", "n", "low", "high", "chance", "clusters"),
    }
    assert record["provenance"]["checkpoint"] == {"step": 10, "path": "checkpoints/10"}
    assert result.provenance.frame_policy_label == "fixed-8"


def test_results_with_a_flat_provenance_stay_readable(tmp_path):
    """What was written before the provenance was one field; the oldest had no `generation`."""
    result = summary([prediction("1"), prediction("2", 0.0, frames=16)])
    path = tmp_path / "world_video.json"
    result.save(path)
    record = json.loads(path.read_text())
    record |= record.pop("provenance") | {"frame_policy_label": "fixed-8"}
    path.write_text(json.dumps(record))
    assert BenchmarkResult.load(path) == result
    for newer in ("generation", "clusters", "metrics"):
        del record[newer]
    for part in (*record["by_task"].values(), *record["by_frames"].values()):
        del part["clusters"]
    path.write_text(json.dumps(record))
    older = BenchmarkResult.load(path)
    assert (older.clusters, older.by_task["count"].clusters, older.metrics) == (None, None, {})
    assert BenchmarkResult.load(path).provenance == dataclasses.replace(PROVENANCE, generation=None)
    del record["checkpoint"]
    path.write_text(json.dumps(record))
    with pytest.raises(ResultError, match="world_video.json: provenance: missing checkpoint"):
        BenchmarkResult.load(path)


def test_an_evaluation_lies_in_a_folder_named_by_its_policy(tmp_path):
    rows = [prediction("1"), prediction("2", 0.0)]
    result = summary(rows)
    folder = save_evaluation(tmp_path, PROVENANCE.frame_policy, [result], rows)
    assert folder == tmp_path / "eval" / "fixed-8"
    assert folder == evaluation_folder(tmp_path, {"kind": "fixed", "frames": 8, "label": None})
    assert {path.name for path in folder.iterdir()} == {"predictions.jsonl", "world_video.json"}
    assert BenchmarkResult.load(folder / "world_video.json") == result
    assert read_predictions(folder / "predictions.jsonl") == rows


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "result.json"
    summary([prediction("1")]).save(path)
    before = path.read_text()
    broken = dataclasses.replace(summary([prediction("1")]), score=float("nan"))
    with pytest.raises(ValueError):
        broken.save(path)
    with pytest.raises(UnicodeEncodeError):
        write_atomically(path, "\ud800")
    assert path.read_text() == before
    assert [p.name for p in tmp_path.iterdir()] == ["result.json"]


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda r: r.pop("score"), "missing score"),
        (lambda r: r.update(scoer=1), "unknown scoer"),
        (lambda r: r["provenance"].update(frams=1), "provenance: unknown frams"),
        (lambda r: r.update(provenance=None), "provenance: expected an object, found None"),
        (lambda r: r["by_task"]["count"].pop("n"), r"by_task\['count'\]: missing n"),
        (lambda r: r.update(by_frames=[]), r"by_frames must be an object, found \[\]"),
    ],
)
def test_load_names_what_is_wrong(tmp_path, change, message):
    path = tmp_path / "result.json"
    summary([prediction("1")]).save(path)
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))
    with pytest.raises(ResultError, match=f"result.json.*{message}"):
        BenchmarkResult.load(path)


def test_load_of_no_or_broken_file(tmp_path):
    with pytest.raises(ResultError, match="nothing.json: no such result file"):
        BenchmarkResult.load(tmp_path / "nothing.json")
    (tmp_path / "half.json").write_text('{"score": 0.')
    with pytest.raises(ResultError, match="half.json: not JSON"):
        BenchmarkResult.load(tmp_path / "half.json")
    (tmp_path / "list.json").write_text("[]")
    with pytest.raises(ResultError, match="list.json"):
        BenchmarkResult.load(tmp_path / "list.json")


def test_predictions_survive_a_round_trip(tmp_path):
    rows = [
        prediction("1", prediction='two\nlines, "quotes", a line\u2028separator, 三'),
        prediction("2", frames=None, score=0.5, cluster="a.jpg"),
        prediction("3", frame_times=[[0.0, 0.533], [0.0, 2.0]]),
    ]
    path = tmp_path / "predictions.jsonl"
    write_predictions(path, rows)
    assert read_predictions(path) == rows
    assert path.read_text(encoding="utf-8").count("\n") == 3
    # What was written before questions had clusters and times.
    lines = path.read_text(encoding="utf-8").split("\n")
    older = {k: v for k, v in json.loads(lines[1]).items() if k not in ("cluster", "frame_times")}
    path.write_text(json.dumps(older))
    assert read_predictions(path) == [dataclasses.replace(rows[1], cluster="")]


def test_predictions_name_the_bad_line(tmp_path):
    path = tmp_path / "predictions.jsonl"
    write_predictions(path, [prediction("1")])
    path.write_text(path.read_text() + '{"id": "2"}\n')
    with pytest.raises(ResultError, match="predictions.jsonl, line 2: missing .*score"):
        read_predictions(path)
    for damaged in (b"{\n", b"\xe5\xff{}\n"):
        path.write_bytes(damaged)
        with pytest.raises(ResultError, match="predictions.jsonl, line 1: not JSON"):
            read_predictions(path)
    with pytest.raises(ResultError, match="no such predictions file"):
        read_predictions(tmp_path / "none.jsonl")
