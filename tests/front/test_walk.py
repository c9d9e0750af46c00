"""The commands of README and docs/laptop.md for clips of one's own, run as they stand, on a small
model and a few clips."""

import json
import re
import shlex

import pytest
import transformers

from front import main
from tests.conftest import devices
from tests.input_pipeline.media_fixtures import write_clip
from tests.parity.released_directories import write_directory
from tests.test_docs import ROOT, commands_of, text_of
from tests.vsft_jax.hf_fixtures import edit_json, write_model

SMALL = {
    "model.dtype": "float32",
    "export.dtype": "float32",
    "data.decoder": "threads",
    "layout.row_tokens": 512,
    "layout.row_patches": 1024,
    "layout.video_min_pixels": 3136,
    "layout.video_max_pixels": 12544,
    "layout.image_max_pixels": 12544,
    "train.batch_rows": 2,
    "train.steps": 2,
    "train.loss_chunk": 256,
    "eval.max_new_tokens": 8,
}


@pytest.fixture
def places(tmp_path):
    """What README names → what is there."""
    model, videos, clip = (tmp_path / name for name in ("model", "videos", "clip.mp4"))
    model.mkdir()
    write_model(model)
    videos.mkdir()
    write_clip(clip, frames=24)
    records = []
    for number in range(6):
        write_clip(videos / f"{number}.mp4", frames=8 + 2 * number)
        asked = {"from": "human", "value": "<video>\nHow many times does it bounce?"}
        said = {"from": "gpt", "value": ["one", "two"][number % 2]}
        records.append({"video": f"{number}.mp4", "conversations": [asked, said]})
    (tmp_path / "train.json").write_text(json.dumps(records))
    return {
        "/models/Qwen2.5-VL-3B-Instruct": str(model),
        "/data/": f"{tmp_path}/",
        "=clip.mp4": f"={clip}",
        "=runs/": f"={tmp_path}/runs/",
    }


@pytest.fixture
def do(capfd):
    """Does a command's words on one device; what it said."""

    def do(words, places, settings):
        for named, there in places.items():
            words = [word.replace(named, there) for word in words]
        with devices(1):
            assert main([*words, *(f"--config.{key}={settings[key]}" for key in settings)]) == 0
        return capfd.readouterr()

    return do


def test_own_clips_from_a_released_model_to_an_export(places, do, monkeypatch):
    monkeypatch.chdir(ROOT)
    section = text_of(ROOT / "README.md").partition("\n## Your clips")[2].partition("\n## ")[0]
    # Publishers' files of benchmarks are tried in tests of their own.
    commands = [each for each in commands_of(section) if "benchmarks=" not in each.line]
    said = {}
    for command in commands:
        job = command.flag("job")
        if job == "predict" and not command.flag("config"):
            job = "ask the tuned model"
        said[job] = do(command.words, places, SMALL)
    assert list(said) == ["predict", "prepare", "train", "ask the tuned model", "export"]
    before, after = (json.loads(said[job].out) for job in ("predict", "ask the tuned model"))
    assert before["frame_budget"] == after["frame_budget"] and before["visual_tokens"] > 0

    # Each job says what to type next; after the export that is a question to what was exported.
    assert f"--workdir={places['=runs/'][1:]}mine" in said["train"].err.splitlines()[-1]
    then = said["export"].err.splitlines()[-1].partition("; next: vsft ")[2]
    words = [word for word in shlex.split(then) if not word.startswith("--prompt=")]
    exported = json.loads(do([*words, f"--prompt={commands[0].flag('prompt')}"], places, SMALL).out)
    assert exported["frame_budget"] == after["frame_budget"]
    assert exported["token_ids"] == after["token_ids"]


ON_A_LAPTOP = {
    "model.dtype": "float32",
    "data.decoder": "threads",
    "layout.row_patches": 8 * 64,
    "layout.clip_longest_edge": 128,
    "train.loss_chunk": 256,
    "eval.max_new_tokens": 4,
}


@pytest.fixture
def laptop(tmp_path):
    """What docs/laptop.md has in its folder: clips, questions, a config; a small SmolVLM2."""
    model = write_directory("smolvlm", tmp_path / "model")
    tower = json.loads((model / "config.json").read_text())["vision_config"]
    edit_json(model / "config.json", vision_config={**tower, "image_size": 128})
    for name in ("preprocessor_config.json", "processor_config.json"):
        (model / name).unlink()  # those of a larger tower
    shape = transformers.AutoConfig.from_pretrained(model)
    transformers.AutoModelForImageTextToText.from_config(shape).save_pretrained(model)
    (tmp_path / "data" / "clips").mkdir(parents=True)
    for name in ("001", "002", "101"):
        write_clip(tmp_path / "data" / "clips" / f"{name}.mp4", frames=16)
    page = text_of(ROOT / "docs" / "laptop.md")
    shown = {name: re.search(rf"^    data/{name} +(.*)", page, re.M)[1] for name in FILES}
    train = shown["train.json"].replace(", …]", "]")
    (first,) = json.loads(train)
    (tmp_path / "data" / "train.json").write_text(
        json.dumps([first, {**first, "video": "002.mp4"}])
    )
    (tmp_path / "data" / "test.jsonl").write_text(shown["test.jsonl"].replace(", a line each", ""))
    config = re.search(r"```python\n(.*?)```", page, re.S)[1]
    released = "HuggingFaceTB/SmolVLM2-256M-Video-Instruct"
    assert released in config
    (tmp_path / "mine.py").write_text(config.replace(released, str(model)))
    return tmp_path


FILES = ("train.json", "test.jsonl")


def test_a_laptop_from_its_clips_to_an_export(laptop, do, monkeypatch):
    monkeypatch.chdir(ROOT)
    places = {
        "configs/mine.py": str(laptop / "mine.py"),
        "=data/": f"={laptop}/data/",
        "=runs/": f"={laptop}/runs/",
    }
    settings = {**ON_A_LAPTOP, "data.root": laptop / "data"}
    said = {}
    for command in commands_of(text_of(ROOT / "docs" / "laptop.md")):
        job = command.flag("job")
        had = {} if job == "compare" else settings  # which computes nothing
        said[f"{command.flag('workdir')} {job}"] = do(command.words, places, had)
    assert list(said) == [
        "runs/before evaluate",
        *(f"runs/mine {job}" for job in ("prepare", "train", "evaluate", "compare", "predict")),
        "runs/mine export",
    ]
    assert json.loads(said["runs/mine predict"].out)["frame_budget"].endswith("novelty")
    compared = json.loads((laptop / "runs" / "mine" / "comparison.json").read_text())
    assert [each["benchmark"] for each in compared] == ["test"]
    assert (laptop / "runs" / "mine" / "hf" / "model.safetensors").exists()
