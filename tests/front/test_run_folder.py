"""A run's folder is enough to go on with it: the config saved there, with overrides on top."""

import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from front import configs, door, main
from tests.evaluation.report.synthetic_study import write_study
from vsft_jax.config import Run, as_json

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def trained(world, tmp_path_factory):
    """A tiny model's workdir, on the shared world."""
    workdir = tmp_path_factory.mktemp("run")
    settings = [f"--config.data.root={world}", f"--config.data.index_dir={world / 'index'}"]
    fewer = ["--config.train.steps=2", "--config.train.batch_rows=8"]
    config = "--config=configs/tiny.py:frames=hybrid"
    assert main([config, *settings, *fewer, f"--workdir={workdir}"]) == 0
    return workdir


@pytest.fixture
def run(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "run")


def test_the_saved_config_is_the_config(run):
    config = configs.saved(run)
    assert as_json(config) == json.loads((run / configs.SAVED).read_text())["config"]
    assert config.frames.candidates == (2, 4, 8, 16)  # not a list
    assert Run(config, run).architecture.vision.fullatt_block_indexes == (1,)


def test_keys_of_later_versions_have_their_defaults(run):
    saved = json.loads((run / configs.SAVED).read_text())
    del saved["config"]["export"], saved["config"]["eval"]["top_k"]
    (run / configs.SAVED).write_text(json.dumps(saved))
    config = configs.saved(run)
    assert config.export.dtype == "bfloat16" and config.eval.top_k == 0
    assert "video_total_pixels" in config.layout and set(config.frames) == set(
        saved["config"]["frames"]
    )


def test_what_was_unset_can_be_set(run):
    saved = json.loads((run / configs.SAVED).read_text())
    saved["config"]["layout"] |= {"image_max_pixels": None, "time_mode": None}
    (run / configs.SAVED).write_text(json.dumps(saved))
    config = configs.saved(run)
    assert config.layout.image_max_pixels is None
    assert configs.override(config, ["--config.layout.image_max_pixels=12544"]) == [
        "config.layout.image_max_pixels: None → 12544"
    ]
    assert config.layout.image_max_pixels == 12544


def test_training_goes_on(run, capfd):
    assert main([f"--workdir={run}", "--config.train.steps=3"]) == 0
    told = capfd.readouterr().err
    assert f"config: {run / 'config.json'}\nconfig.train.steps: 2 → 3\n" in told
    assert told.endswith(f"; next: vsft --workdir={run} --job=evaluate\n")
    assert (run / "checkpoints" / "3").is_dir()
    assert configs.saved(run).train.steps == 3


def test_what_has_no_effect_on_a_finished_run_is_said(run, capfd, caplog):
    assert main([f"--workdir={run}", "--config.lora.rank=4"]) == 2
    assert "error: config.lora gives Lora(rank=4" in capfd.readouterr().err
    assert main([f"--workdir={run}", "--config.optimizer.b2=0.5"]) == 0
    assert f"{run}: already trained, step 2" in caplog.messages
    said = "the model stays as it is, though config.optimizer.b2 was 0.98 and is 0.5"
    assert said in caplog.messages
    caplog.clear()
    assert main([f"--workdir={run}"]) == 0
    assert not [each for each in caplog.messages if "stays as it is" in each]


def test_epochs_of_a_run_that_goes_on_count(run, monkeypatch, capfd):
    given = []
    monkeypatch.setitem(door.DO, "train", lambda request: given.append(request.config.train))
    assert main([f"--workdir={run}", "--config.train.epochs=3", "--config.train.log_every=1"]) == 0
    assert (given[0].steps, given[0].epochs, given[0].batch_rows) == (0, 3.0, 8)
    told = capfd.readouterr().err
    assert "config.train.steps: 2 → 0, worked out from config.train.epochs\n" in told

    assert main([f"--workdir={run}", "--config.train.epochs=3", "--config.train.steps=7"]) == 0
    assert (given[1].steps, given[1].epochs) == (7, 3.0)
    assert "worked out" not in capfd.readouterr().err


def test_it_is_evaluated_with_overrides_in_sight(run, capfd):
    overrides = ["--config.eval.max_new_tokens=2", "--config.eval.batch_rows=8"]
    assert main([f"--workdir={run}", "--job=evaluate", *overrides]) == 0
    told = capfd.readouterr().err
    assert "config.eval.max_new_tokens: 4 → 2\n" in told
    assert "config.eval.batch_rows" not in told.split("next:")[0]  # as it was
    assert f"scores and answers: {run}/eval; next: vsft " in told
    assert list(run.glob("eval/*/world_video.json"))


def test_it_answers_and_is_exported(run, world, tmp_path, capfd):
    clip = next((world / "world/media/test").rglob("*.mp4"))
    asked = ["--job=predict", f"--media={clip}", "--prompt=Which way does it move?"]
    assert main([f"--workdir={run}", *asked]) == 0
    assert set(json.loads(capfd.readouterr().out)) >= {"text", "frame_budget"}

    assert main([f"--workdir={run}", "--job=predict", "--media=no.mp4", "--prompt=Why?"]) == 2
    told = capfd.readouterr().err
    assert told.splitlines()[-1].startswith("error: ") and "no.mp4: missing: " in told

    assert main([f"--workdir={run}", "--job=export"]) == 0
    told = capfd.readouterr().err
    assert told.splitlines()[-1].startswith(f"a Hugging Face directory: {run / 'hf'}; next: vsft ")

    # An imported model needs no workdir: what it compiles is kept for the user, and found again.
    command = [sys.executable, "main.py", f"--config=configs/qwen2_5_vl.py:path={run / 'hf'}"]
    kept = []
    for _ in range(2):
        done = subprocess.run(
            [*command, *asked, "--config.eval.max_new_tokens=2"],
            cwd=ROOT,
            env={**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0 and json.loads(done.stdout)["token_ids"], done.stderr
        kept.append({path.name for path in (tmp_path / "cache/vsft-jax").rglob("*-cache")})
    assert kept[0] and kept[0] == kept[1]


def test_it_talks(run, world, monkeypatch, capfd):
    clip = next((world / "world/media/test").rglob("*.mp4"))
    monkeypatch.setattr("sys.stdin", io.StringIO("Which way does it move?\nAnd then?\n"))
    assert main([f"--workdir={run}", "--job=chat", f"--media={clip}"]) == 0
    said = capfd.readouterr()
    assert said.out.startswith("> Which way does it move?\n") and "\n> And then?\n" in said.out
    assert "asks about motion" in said.err


def test_runs_are_compared_wherever_they_lie(tmp_path, capfd):
    cells = write_study(tmp_path / "study", questions=24) / "cells"
    runs = [shutil.copytree(cells / "base", tmp_path / "elsewhere" / "two")]
    runs.append(shutil.copytree(cells / "fixed-16-seed0", tmp_path / "sixteen"))
    named = [f"--run={run}" for run in runs]
    out = tmp_path / "comparison"
    assert main([f"--workdir={out}", "--job=report", *named]) == 0
    said = capfd.readouterr()
    assert said.err.splitlines()[-1] == f"the report: {out / 'report.html'}"
    assert "The only finished policy, fixed-16, changed video" in said.out
    rows = [line.split(",") for line in (out / "study.csv").read_text().splitlines()[1:]]
    assert {tuple(row[:2]) for row in rows} == {("elsewhere/two", "base"), ("sixteen", "sft")}

    assert main([f"--workdir={out}", "--job=report", *named, f"--run={tmp_path}/sixten"]) == 2
    told = capfd.readouterr().err
    assert f"--run={tmp_path}/sixten: no such folder; did you mean {runs[1]}?" in told


def test_a_study_is_reported_by_its_folder(tmp_path, capfd):
    study = write_study(tmp_path / "study", questions=24)
    assert main([f"--workdir={study}", "--job=report"]) == 0
    said = capfd.readouterr()
    assert said.err.splitlines()[-1] == f"the report: {study / 'report.html'}"
    assert (study / "report.html").is_file() and "hybrid" in said.out


def test_two_runs_are_compared_by_their_folders(tmp_path, capfd):
    cells = write_study(tmp_path / "study", questions=30, policies=("hybrid",)) / "cells"
    asked = [f"--workdir={cells}/hybrid-seed0", f"--against={cells}/base", "--job=compare"]
    assert main(asked) == 2
    refused = capfd.readouterr().err
    assert "settings: not recorded in either" in refused and "--even-unlike" in refused
    assert main([*asked, "--even-unlike"]) == 0
    said = capfd.readouterr()
    assert "world_video under hybrid: 30 questions" in said.out and "base → this" in said.out
    numbers = cells / "hybrid-seed0" / "comparison.json"
    assert said.err.splitlines()[-1] == f"the numbers: {numbers}" and numbers.is_file()
