"""A copy of configs/forkme.py with its marked lines changed: a released model on a user's files."""

import importlib.util
import json
from pathlib import Path

import pytest

from evaluation.report.read_study import read_study
from evaluation.run_study import run_study
from tests.conftest import devices
from tests.vsft_jax.hf_fixtures import write_model
from vsft_jax.config import Run

ROOT = Path(__file__).parents[1]


def _copied(folder: Path, model: Path, world: Path):
    """What a user makes of the file: the lines marked CHANGE, and nothing else."""
    text = (ROOT / "configs" / "forkme.py").read_text()
    for old, new in {
        "/models/Qwen2.5-VL-3B-Instruct": str(model),
        '"/data"': repr(str(world)),
        "my_clips/train.json": "world/train/videos.json",
        "my_pictures/train.json": "world/train/images.json",
        "my_clips/test.jsonl": "world/test/videos.jsonl",
        "my_pictures/test.jsonl": "world/test/images.jsonl",
        "my_clips/videos": "world",
        "my_pictures/images": "world",
    }.items():
        assert old in text, f"{old} stands no longer in forkme.py"
        text = text.replace(old, new)
    path = folder / "mine.py"
    path.write_text(text)
    spec = importlib.util.spec_from_file_location("mine", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _small(config):
    """Rows and answers for a model of a few thousand parameters; no choice of forkme's."""
    config.model.update(dtype="float32", remat="none")
    config.layout.update(row_tokens=512, row_patches=1024, image_max_pixels=112 * 112)
    config.layout.update(video_min_pixels=56 * 56, video_max_pixels=112 * 112)
    config.data.decoder = "threads"
    config.train.update(epochs=0.0, steps=1, loss_chunk=256)
    config.eval.update(batch_rows=8, max_new_tokens=2)
    return config


@pytest.fixture(scope="module")
def mine(world, tmp_path_factory):
    folder = tmp_path_factory.mktemp("forkme")
    model = folder / "model"
    model.mkdir()
    write_model(model)
    return _copied(folder, model, world)


def test_it_stands_on_what_was_published(mine):
    """Not on the demo: rates of fine-tuning, the model's own tokenizer and sizes."""
    config = mine.get_config()
    assert dict(config.optimizer.learning_rate) == {"llm": 1e-5, "projector": 1e-5, "tower": 2e-6}
    assert (config.model.family, config.tokenizer) == ("qwen2_5_vl", "")
    assert not config.data.demo_world and not config.model.text and not config.study.base
    assert mine.get_config("frames=16").frames.to_dict() == {"kind": "fixed", "frames": 16}


def test_a_study_compares_with_the_released_model_as_it_is(mine, tmp_path):
    config = _small(mine.get_config())
    with config.unlocked():
        del config.study.frames.frames_32, config.study.frames.frames_08
    with devices(1):
        run_study(Run(config, tmp_path))
    base = tmp_path / "cells" / "base"
    assert not (base / "checkpoints").exists()
    assert json.loads((base / "cell.json").read_text())["start"] == "released"
    tuned = json.loads((tmp_path / "cells" / "hybrid-seed0" / "config.json").read_text())["config"]
    assert tuned["train"]["init_from"] == "" and tuned["model"]["path"]
    study = read_study(tmp_path)
    assert {model.cell.role for model in study.models} == {"base", "sft"}
    assert len(study.models) == 3 and not study.problems
    assert (tmp_path / "report.html").stat().st_size > 0
