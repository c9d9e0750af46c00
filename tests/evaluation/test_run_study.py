"""The jobs joined: study, evaluate and predict on the tiny world, and the budget they share."""

import json
import shutil
from pathlib import Path

import pytest
from ml_collections import ConfigDict

from configs import common
from evaluation import run_study as study
from evaluation.compare import compare_folders
from evaluation.evaluate import evaluate_checkpoint
from evaluation.records import ResultError
from evaluation.results import PREDICTIONS_FILE, BenchmarkResult, read_predictions
from evaluation.study import plan_cells
from input_pipeline.frame_budget import spec_hash
from tests.conftest import devices
from vsft_jax.checkpoints import Checkpoints
from vsft_jax.config import Run
from vsft_jax.errors import ConfigError
from vsft_jax.predict import Question, predict

CANDIDATES = (2, 4, 8, 16)


@pytest.fixture(scope="module")
def config(shared_config):
    config = shared_config.copy_and_resolve_references()
    config.train.update(steps=1, checkpoint_every=1)
    with config.unlocked():
        config.study.base.train = ConfigDict({"steps": 1, "batch_rows": 2})
        config.study.frames = ConfigDict(
            {name: common.frame_spec(name, CANDIDATES) for name in ("4", "hybrid")}
        )
    return config


@pytest.fixture(scope="module")
def finished(config, tmp_path_factory):
    """A finished study's workdir."""
    workdir = tmp_path_factory.mktemp("study")
    with devices(1):
        study.run_study(Run(config, workdir))
    return workdir


@pytest.fixture(autouse=True)
def _single(one_device):
    """Every test here runs on one device."""


def test_a_study_leaves_cells_results_and_a_report(finished):
    cells = {path.name for path in (finished / "cells").iterdir()}
    assert cells == {"base", "fixed-4-seed0", "hybrid-seed0"}
    for name in ("report.html", "report.md", "study.csv", "tradeoff.png", "index_summary.json"):
        assert (finished / name).stat().st_size > 0
    base = finished / "cells" / "base" / "eval"
    assert {path.name for path in base.iterdir()} == {"fixed-4", "hybrid"}
    # Pictures have no frame budget: the base answers them once.
    assert len(list(base.glob("*/world_image.json"))) == 1
    assert len(list(base.glob("*/world_video.json"))) == 2


def refuse(*_, **__):
    raise AssertionError("trained, evaluated or prepared again")


def test_a_finished_study_trains_and_evaluates_nothing_again(config, finished, monkeypatch):
    monkeypatch.setattr(study, "train", refuse)
    monkeypatch.setattr(study, "evaluate_checkpoint", refuse)
    study.run_study(Run(config, finished))


def test_an_interrupted_study_goes_on_with_what_is_missing(config, finished, monkeypatch):
    lost = finished / "cells" / "hybrid-seed0" / "eval" / "hybrid" / "world_video.json"
    before = lost.read_text()
    lost.unlink()
    evaluated = []
    evaluate = study.evaluate_checkpoint
    monkeypatch.setattr(
        study,
        "evaluate_checkpoint",
        lambda run, policy: evaluated.append(run.workdir.name) or evaluate(run, policy),
    )
    study.run_study(Run(config, finished))
    assert evaluated == ["hybrid-seed0"]
    first, again = json.loads(before), json.loads(lost.read_text())
    assert first["by_task"] == again["by_task"] and first["n"] == again["n"]


def changed(config, **sections):
    """A copy of the config with {"train": {"steps": 2}} set."""
    config = config.copy_and_resolve_references()
    with config.unlocked():
        for name, values in sections.items():
            config[name].update(ConfigDict(values))
    return config


@pytest.mark.parametrize(
    "sections, differs, folders",
    [
        (
            {"optimizer": {"learning_rate": {"llm": 5e-4}}},
            "config.optimizer.learning_rate.llm was 0.001 and is 0.0005",
            "cells/base, cells/fixed-4-seed0, cells/hybrid-seed0",
        ),
        (
            # The label stays "hybrid".
            {"study": {"frames": {"hybrid": {"candidates": (2, 4)}}}},
            "config.frames.candidates was [2, 4, 8, 16] and is [2, 4]",
            "cells/base/eval/hybrid, cells/hybrid-seed0",
        ),
        (
            # Of the base alone; what was tuned from it goes with it.
            {"study": {"base": {"train": {"steps": 2}}}},
            "config.train.steps was 1 and is 2",
            "cells/base, cells/fixed-4-seed0, cells/hybrid-seed0",
        ),
        (
            {"eval": {"max_new_tokens": 3}},
            "config.eval.max_new_tokens was 4 and is 3",
            "cells/base/eval, cells/fixed-4-seed0/eval, cells/hybrid-seed0/eval",
        ),
    ],
)
def test_a_changed_config_is_refused_before_anything_is_trained(
    config, finished, monkeypatch, sections, differs, folders
):
    for name in ("train", "evaluate_checkpoint", "prepare_training"):
        monkeypatch.setattr(study, name, refuse)
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*.json")}
    with pytest.raises(ConfigError) as raised:
        study.run_study(Run(changed(config, **sections), finished))
    message = str(raised.value)
    assert f"{differs}." in message or f"{differs};" in message
    assert f"take another workdir, or remove {folders} to make them anew" in message
    assert before == {path: path.stat().st_mtime_ns for path in finished.rglob("*.json")}


def test_cells_that_do_not_say_what_they_were_made_with_are_refused(config, finished, tmp_path):
    cells = shutil.copytree(finished / "cells", tmp_path / "cells")
    path = cells / "base" / "cell.json"
    older = {"name": "base", "role": "base", "start": "scratch", "strategy": "full", "seed": 0}
    path.write_text(json.dumps(older | {"frames": None}))
    with pytest.raises(ConfigError, match="earlier version.* remove cells/base to make them anew"):
        study.run_study(Run(config, tmp_path))


def test_fixed_counts_and_remedies_of_evaluation_are_asked_without_training(
    config, finished, tmp_path, monkeypatch
):
    """Every model at two frames as well; none of the way from the base is the base."""
    workdir = shutil.copytree(finished, tmp_path / "more")
    trained = []
    monkeypatch.setattr(study, "train", lambda run: trained.append(run.workdir.name))
    remedies = {"nothing-of-it": {"remedy": {"interpolate": 0.0}}}
    more = {"infer_frames": (2,), "remedies": remedies, "remedies_of": ("hybrid",)}
    more["diagnose"] = "images"
    study.run_study(Run(changed(config, study=more), workdir))
    cells = {path.name: path for path in (workdir / "cells").iterdir()}
    asked = {name: {each.name for each in path.glob("eval/*")} for name, path in cells.items()}
    assert asked == {
        "base": {"fixed-4", "hybrid", "fixed-2"},
        "fixed-4-seed0": {"fixed-4", "fixed-2"},
        "hybrid-seed0": {"hybrid", "fixed-2"},
        "hybrid-nothing-of-it-seed0": {"hybrid"},
    }
    remedied = cells["hybrid-nothing-of-it-seed0"]
    assert set(trained) == set(cells) - {remedied.name}, "which find themselves trained"
    assert json.loads((remedied / "cell.json").read_text())["strategy"] == "nothing-of-it"
    assert not (remedied / "checkpoints").exists()
    made = BenchmarkResult.load(remedied / "eval" / "hybrid" / "world_video.json").provenance
    assert Path(made.checkpoint["path"]) == cells["hybrid-seed0"]
    assert made.settings["interpolate"] == 0.0

    found = json.loads((workdir / "diagnostics.json").read_text())
    (measured,) = found["by_frames"].values()
    assert list(found["by_frames"]) == ["2"] and found["curvature"] > 0
    assert all(-1 <= cosine <= 1 for cosine in measured["cosines"].values())
    assert set(measured["cosines"]) > {"all", "tower", "projector", "llm"}
    assert [rate > 0 for rate, *_ in measured["changes"]] == [True] * 4
    report = (workdir / "report.md").read_text()
    assert "What the gradients said" in report and "Smallest sufficient budgets" in report

    def said(cell):
        rows = read_predictions(cell / "eval" / "hybrid" / PREDICTIONS_FILE)
        return {row.id: row.prediction for row in rows if row.benchmark == "world_video"}

    assert said(remedied) == said(cells["base"])


def test_each_cell_asks_its_own_model_or_that_which_it_shares(config, tmp_path, monkeypatch):
    """The order of work, with nothing computed."""
    done = []

    def note(job):
        return lambda run, *more: done.append((job, run.workdir.name, *more))

    monkeypatch.setattr(study, "train", note("train"))
    monkeypatch.setattr(study, "evaluate_checkpoint", note("ask"))
    monkeypatch.setattr(study, "load_model", lambda run: (run.workdir.name, run.config))
    monkeypatch.setattr(study, "evaluate_model", note("ask another's"))
    monkeypatch.setattr(study, "diagnose", note("diagnose"))
    remedies = {"half": {"remedy": {"interpolate": 0.5}}, "l2": {"remedy": {"l2": 0.1}}}
    more = {"infer_frames": (2,), "remedies": remedies, "remedies_of": ("hybrid",)}
    more["diagnose"] = "images"
    study.run_study(Run(changed(config, study=more), tmp_path))
    jobs = [(job, name) for job, name, *_ in done]
    asks = [("ask", "base")] * 3  # under both policies and at two frames
    assert jobs == [
        *(("train", "base"), *asks, ("diagnose", "diagnostics")),
        *(("train", "fixed-4-seed0"), *[("ask", "fixed-4-seed0")] * 2),
        *(("train", "hybrid-seed0"), *[("ask", "hybrid-seed0")] * 2),
        ("ask another's", "hybrid-half-seed0"),
        *(("train", "hybrid-l2-seed0"), ("ask", "hybrid-l2-seed0")),
    ]
    ((model, asked_with), policy) = next(more for job, _, *more in done if job == "ask another's")
    assert model == "hybrid-seed0" and policy["kind"] == "hybrid"
    assert asked_with.remedy.interpolate == 0.5
    assert Path(asked_with.train.init_from).name == "base", "which it is mixed with"


def test_machines_share_a_study_by_its_cells(config, tmp_path, monkeypatch):
    """What is left comes in lots, the base first; a lot is done alone, and where its start is not
    trained nothing is done."""
    done = []

    def note(job):
        return lambda run, *_: done.append((job, run.workdir.name))

    monkeypatch.setattr(study, "train", note("train"))
    monkeypatch.setattr(study, "evaluate_checkpoint", note("ask"))
    monkeypatch.setattr(study, "load_model", lambda run: run.workdir.name)
    monkeypatch.setattr(study, "evaluate_model", note("ask another's"))
    remedies = {"half": {"remedy": {"interpolate": 0.5}}, "l2": {"remedy": {"l2": 0.1}}}
    run = Run(
        changed(config, study={"remedies": remedies, "remedies_of": ("hybrid",)}),
        tmp_path,
    )
    lots = study.what_is_left(run)
    assert lots == [
        (("base",), ""),
        (("fixed-4-seed0",), "base"),
        (("hybrid-seed0", "hybrid-half-seed0"), "base"),
        (("hybrid-l2-seed0",), "base"),
    ]
    assert not done and not (tmp_path / "cells").exists()
    with pytest.raises(ConfigError, match="--cell=hybrid-seed0 needs the model of cell base"):
        study.run_study(run, ("hybrid-seed0",))
    with pytest.raises(ConfigError, match="no such cell.*did you mean hybrid-seed0"):
        study.run_study(run, ("hybrid-seed00",))
    assert not done
    (tmp_path / "cells" / "base" / "checkpoints" / "1").mkdir(parents=True)
    report = study.run_study(run, ("hybrid-half-seed0", "hybrid-seed0"))
    asked = [("ask", "hybrid-seed0"), ("ask another's", "hybrid-half-seed0")]
    assert done == [("train", "hybrid-seed0"), *asked]
    assert "No fine-tuned model and its base are both" in report.with_suffix(".md").read_text()


def test_a_cell_is_left_until_its_last_answer(config, finished, tmp_path):
    """Of a finished study nothing is left; without a result file its cell is."""
    workdir = shutil.copytree(finished, tmp_path / "copy")
    assert study.what_is_left(Run(config, workdir)) == []
    (workdir / "cells" / "hybrid-seed0" / "eval" / "hybrid" / "world_video.json").unlink()
    assert study.what_is_left(Run(config, workdir)) == [(("hybrid-seed0",), "")]


def test_a_study_is_policies_by_remedies_by_seeds(config, finished):
    remedies = {
        "low-rate": {"optimizer": {"learning_rate": {"llm": 1e-5}}},
        "half": {"remedy": {"interpolate": 0.5}},
    }
    planned = plan_cells(
        changed(config, study={"remedies": remedies, "remedies_of": ("hybrid",), "seeds": (0, 1)}),
        finished,
        [{"kind": "fixed", "frames": 4}, {**config.study.frames.hybrid.to_dict()}],
    )
    names = [each.cell.name for each in planned]
    of_seed = ["fixed-4-seed{}", "hybrid-seed{}", "hybrid-half-seed{}", "hybrid-low-rate-seed{}"]
    assert names == ["base", *(name.format(seed) for seed in (0, 1) for name in of_seed)]
    models = {each.cell.name: each.model_of and each.model_of.name for each in planned}
    assert {name for name, of in models.items() if of} == {f"hybrid-half-seed{s}" for s in (0, 1)}
    assert models["hybrid-half-seed1"] == "hybrid-seed1"
    wrong = changed(config, study={"remedies": {"a": {"remedy": {"l2": -1.0}}}})
    with pytest.raises(ConfigError, match="config.study.remedies.a.remedy.l2 = -1.0"):
        study.run_study(Run(wrong, finished))


def test_another_place_more_workers_and_another_spelling_change_no_cell(
    config, finished, tmp_path, monkeypatch
):
    """A moved study goes on; the policy's own spelling does not matter."""
    moved = tmp_path / "moved"
    shutil.copytree(finished, moved)
    monkeypatch.setattr(study, "train", refuse)
    monkeypatch.setattr(study, "evaluate_checkpoint", refuse)
    other = changed(config, data={"workers": 3}, train={"log_every": 7})
    with other.unlocked():
        del other.study.frames.hybrid["label"]
        other.study.frames.hybrid.update({"label": "hybrid", "preview_frames": 8})
    study.run_study(Run(other, moved))


def test_cell_json_says_what_is_tuned_and_with_which_policy(config, finished):
    record = json.loads((finished / "cells" / "hybrid-seed0" / "cell.json").read_text())
    assert record["strategy"] == "full" and record["start"] == "base"
    assert spec_hash(record["frame_policy"]) == spec_hash(config.study.frames.hybrid.to_dict())
    assert record["config"]["train.steps"] == 1
    base = json.loads((finished / "cells" / "base" / "cell.json").read_text())
    assert base["frame_policy"] is None and base["start"] == "scratch"
    assert record["config"]["train.init_from"] == f"base~{base['config_hash']}"
    lora = changed(config, lora={"rank": 4})
    planned = plan_cells(lora, finished, [record["frame_policy"]])
    assert [each.cell.strategy for each in planned] == ["lora-4", "lora-4"]


def test_evaluation_applies_the_checkpoints_budget_whatever_the_config_says(
    config, finished, tmp_path
):
    folder = finished / "cells" / "fixed-4-seed0"
    meta = Checkpoints(folder, read_only=True).meta()
    assert meta["frames"] == {"kind": "fixed", "frames": 4}
    other = config.copy_and_resolve_references()
    assert other.frames.kind == "hybrid"
    results = evaluate_checkpoint(Run(other, folder))
    video = results["world_video"]
    assert spec_hash(video.provenance.frame_policy) == spec_hash(meta["frames"])
    assert set(video.by_frames) == {"4"}
    made = video.provenance
    assert made.frame_policy_label == made.trained_with == "fixed-4"

    other.eval.frames = "config"
    asked = evaluate_checkpoint(Run(other, folder))["world_video"]
    made = asked.provenance
    assert made.frame_policy_label == "hybrid" and made.trained_with == "fixed-4"
    assert set(asked.by_frames) > {"2", "16"}
    other.eval.frames = "both"
    with pytest.raises(ConfigError, match="config.eval.frames = 'both'"):
        evaluate_checkpoint(Run(other, folder))


def test_an_answer_says_which_clip_and_which_moments_it_is_about(finished):
    folder = finished / "cells" / "hybrid-seed0" / "eval" / "hybrid"
    rows = read_predictions(folder / PREDICTIONS_FILE)
    for row in rows:
        assert Path(row.cluster).is_file()
        if row.frames is None:
            assert row.frame_times is None
        else:
            (times,) = row.frame_times
            assert len(times) == row.frames and times[0] == 0.0 and times == sorted(set(times))
        ((kind, path),) = row.media
        assert kind == ("video" if row.frames else "image") and row.question
        root = BenchmarkResult.load(folder / f"{row.benchmark}.json").provenance.media_root
        assert not Path(path).is_absolute() and Path(root, path) == Path(row.cluster)
    result = BenchmarkResult.load(folder / "world_video.json")
    about = {row.cluster for row in rows if row.benchmark == "world_video"}
    assert result.clusters == len(about)


def test_cells_of_a_study_are_asked_alike(finished):
    cells = finished / "cells"
    for name in ("fixed-4-seed0", "hybrid-seed0"):
        found = compare_folders(cells / name, cells / "base")
        assert {each.benchmark: each.unlike for each in found} == {
            "world_image": [],
            "world_video": [],
        }
        assert all(each.unpaired == 0 for each in found)
    made = BenchmarkResult.load(cells / "base" / "eval" / "hybrid" / "world_video.json").provenance
    assert made.checkpoint["fingerprint"] and made.settings["resolution"] and made.software["jax"]
    with pytest.raises(ResultError, match="frames.kind: hybrid, the base fixed"):
        compare_folders(cells / "hybrid-seed0", cells / "base" / "eval" / "fixed-4")


def test_budgets_in_training_and_evaluation_are_the_same_function(config, finished):
    """The same clip and question get the same frames in the training index as in evaluation."""
    folder = finished / "cells" / "hybrid-seed0"
    rows = read_predictions(folder / "eval" / "hybrid" / PREDICTIONS_FILE)
    clips = [row for row in rows if row.benchmark == "world_video"]
    assert len({row.frames for row in clips}) > 1
    one = clips[0]
    example = next(
        json.loads(line)
        for line in config_path(config).read_text().splitlines()
        if json.loads(line)["id"] == one.id
    )
    prompt = example["conversations"][0]["value"].replace("<video>\n", "")
    media = f"{config.data.root}/world/{example['video']}"
    said = predict(Run(config, folder), [Question(prompt, [media])])[0]
    assert said["frame_budget"] == one.why
    assert len(said["timestamps"][0]) == one.frames
    assert said["visual_tokens"] == one.visual_tokens
    assert said["text"] == one.prediction
    assert len(said["token_ids"]) == len(said["token_logprobs"])
    assert all(p <= 0 for p in said["token_logprobs"])


def config_path(config):
    """The annotation file of the video benchmark."""
    return Path(config.data.root) / config.data.benchmarks.world_video.annotations


def test_predict_with_text_alone_a_picture_and_a_missing_file(config, finished):
    folder = finished / "cells" / "hybrid-seed0"
    elsewhere = config.copy_and_resolve_references()
    elsewhere.data.root = ""  # the model carries its tokenizer, the data need not be there
    alone = predict(Run(elsewhere, folder), [Question("What colour is the sky?", [])])[0]
    assert alone["visual_tokens"] == 0 and alone["timestamps"] == []
    picture = next((config_path(config).parents[1] / "media" / "test" / "images").iterdir())
    seen = predict(Run(config, folder), [Question("What digit is shown?", [str(picture)])])[0]
    assert seen["visual_tokens"] > 0
    with pytest.raises(Exception, match="nothing.mp4"):
        predict(
            Run(config, folder), [Question("What is it?", [str(picture.parent / "nothing.mp4")])]
        )


def test_results_say_what_they_were_made_with(finished):
    path = finished / "cells" / "hybrid-seed0" / "eval" / "hybrid" / "world_video.json"
    made = BenchmarkResult.load(path).provenance
    assert made.checkpoint["step"] == 1
    assert made.frame_policy["kind"] == "hybrid" and made.frame_policy["candidates"]
    assert made.config["train"]["steps"] == 1


def test_two_entries_for_one_policy_are_refused(config, tmp_path):
    config = config.copy_and_resolve_references()
    with config.unlocked():
        config.study.frames.again = ConfigDict(common.frame_spec("4", CANDIDATES))
    with pytest.raises(ValueError, match="config.study.frames.again is the same policy"):
        study.run_study(Run(config, tmp_path))
    with config.unlocked():
        config.study.frames = ConfigDict()
    with pytest.raises(ValueError, match="config.study.frames is empty"):
        study.run_study(Run(config, tmp_path))


def test_a_benchmark_without_answers_is_named(config, finished, tmp_path):
    config = config.copy_and_resolve_references()
    config.data.benchmarks.world_video.annotations = "world/train/videos.json"
    with pytest.raises(ConfigError, match="has no format, answer, chance"):
        evaluate_checkpoint(Run(config, finished / "cells" / "hybrid-seed0"))
