"""README's commands for clips of one's own, run as they stand, on a small model and a few clips."""

import json
import shlex

import pytest

from front import main
from tests.conftest import devices
from tests.input_pipeline.media_fixtures import write_clip
from tests.test_docs import ROOT, commands_of, text_of
from tests.vsft_jax.hf_fixtures import write_model

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


def test_own_clips_from_a_released_model_to_an_export(places, capfd, monkeypatch):
    monkeypatch.chdir(ROOT)
    overrides = [f"--config.{key}={value}" for key, value in SMALL.items()]

    def do(words):
        for named, there in places.items():
            words = [word.replace(named, there) for word in words]
        with devices(1):
            assert main([*words, *overrides]) == 0, words
        return capfd.readouterr()

    section = text_of(ROOT / "README.md").partition("\n## Your clips")[2].partition("\n## ")[0]
    # Publishers' files of benchmarks are tried in tests of their own.
    commands = [each for each in commands_of(section) if "benchmarks=" not in each.line]
    said = {}
    for command in commands:
        job = command.flag("job")
        if job == "predict" and not command.flag("config"):
            job = "ask the tuned model"
        said[job] = do(command.words)
    assert list(said) == ["predict", "prepare", "train", "ask the tuned model", "export"]
    before, after = (json.loads(said[job].out) for job in ("predict", "ask the tuned model"))
    assert before["frame_budget"] == after["frame_budget"] and before["visual_tokens"] > 0

    # Each job says what to type next; after the export that is a question to what was exported.
    assert f"--workdir={places['=runs/'][1:]}mine" in said["train"].err.splitlines()[-1]
    then = said["export"].err.splitlines()[-1].partition("; next: vsft ")[2]
    words = [word for word in shlex.split(then) if not word.startswith("--prompt=")]
    exported = json.loads(do([*words, f"--prompt={commands[0].flag('prompt')}"]).out)
    assert exported["frame_budget"] == after["frame_budget"]
    assert exported["token_ids"] == after["token_ids"]
