"""One picture as a clip: the pixels of the picture, as often as asked."""

import json

import numpy as np
import pytest

from evaluation.diagnostics.replicated import replicate, replicated
from input_pipeline.index import ExampleStore
from vsft_jax.config import Run
from vsft_jax.prepare import prepare_benchmarks


def test_a_picture_becomes_a_clip_of_itself(shared_config, world, tmp_path):
    source, out = world / "world" / "test" / "images.jsonl", tmp_path / "x4.jsonl"
    asked = [json.loads(line) for line in source.read_text().splitlines()]
    assert replicate(source, out, 4) == len(asked)
    config = shared_config.copy_and_resolve_references()
    with config.unlocked():
        entry = {"annotations": str(out), "media_root": "world", "modality": "video"}
        config.data.benchmarks = {"copies": entry}
        config.data.index_dir = str(tmp_path / "index")
    run = Run(config, tmp_path)
    store = prepare_benchmarks(run, {"kind": "fixed", "frames": 4}).stores()["copies"]
    assert isinstance(store, ExampleStore) and len(store) == len(asked)
    example, layout = store[0]
    (clip,), (medium,) = example.media, layout.media
    assert (clip.kind, len(medium.frame_indices)) == ("video", 4)
    frames = run.decoder.frames(clip, [0, 1, 2, 3], (28, 28))
    assert all(np.array_equal(frame, frames[0]) for frame in frames) and frames[0].std() > 0
    assert example.meta["answer"] == asked[0]["answer"]
    assert example.instruction == asked[0]["conversations"][0]["value"].replace("<image>\n", "")


def test_what_is_not_about_one_image_is_named():
    with pytest.raises(ValueError, match="record 'a' is not about one image"):
        replicated({"id": "a", "video": "v.mp4", "conversations": []}, 4)
