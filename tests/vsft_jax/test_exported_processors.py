"""An export of every family: transformers' own processor sees what training saw, and the directory
as a base model answers as the checkpoint did."""

import importlib
import json

import jax
import numpy as np
import pytest
from flax import nnx
from ml_collections import ConfigDict
from PIL import Image
from safetensors.numpy import save_file
from transformers import AutoProcessor
from transformers.video_utils import VideoMetadata

from input_pipeline.batches import build_row
from input_pipeline.examples import Example, MediaRef, Turn
from input_pipeline.index import lay_out
from input_pipeline.media import probe
from input_pipeline.media.frames import decode_frames
from tests.conftest import devices
from tests.input_pipeline.layout.test_patches import photograph
from tests.input_pipeline.media_fixtures import write_clip
from tests.parity.released_directories import write_directory
from vsft_jax.checkpoints import Checkpoints
from vsft_jax.config import Run
from vsft_jax.export import export
from vsft_jax.huggingface.tensors import params_to_hf
from vsft_jax.models import FAMILIES
from vsft_jax.predict import Question, predict

# What the models were trained with: other sizes than the released processors'.
CHOICES = {
    "qwen2_5_vl": {
        "image_max_pixels": 40_000,
        "video_max_pixels": 30_000,
        "video_total_pixels": 25_000.0,
    },
    "qwen3_vl": {"image_min_pixels": 1024, "image_max_pixels": 40_000, "video_max_pixels": 20_000},
    "qwen3_5": {"image_min_pixels": 1024, "image_max_pixels": 40_000, "video_max_pixels": 20_000},
    "llava_1_5": {"fit": "pad"},
    "llava_next_video": {},
    "llava_onevision": {},
    "smolvlm": {"image_longest_edge": 1000, "clip_longest_edge": 300},
    "gemma4": {"image_tokens": 140, "frame_tokens": 70},
}
FRAMES = 4


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """photo.png of 600 × 512 pixels, and a clip of 20 frames."""
    root = tmp_path_factory.mktemp("media")
    Image.fromarray(photograph()).save(root / "photo.png")
    write_clip(root / "clip.mp4", 20, fps=10, size=(192, 128))
    return root


def config_of(name, path, **layout):
    config = importlib.import_module(f"configs.{name}").get_config(f"path={path}")
    config.model.update(dtype="float32", remat="none")
    config.layout.update(row_tokens=6144, row_patches=13_824, **layout)
    config.data.decoder = "threads"
    config.eval.update(batch_rows=1, max_new_tokens=4)
    config.export.dtype = "float32"
    return config


def save(run):
    """Random weights, large enough that an answer depends on what is seen: in the directory that
    the run begins with, and in a checkpoint of its workdir."""
    family, shape = run.family, run.model_config
    params = nnx.split(family.model(shape, rngs=nnx.Rngs(3)))[1]
    params = jax.tree.map(lambda x: 3 * x if x.ndim > 1 else x, params)
    tensors = {n: np.asarray(x) for n, x in params_to_hf(family, shape, params).items()}
    save_file(tensors, run.model_directory / "model.safetensors")
    checkpoints = Checkpoints(run.workdir)
    meta = {"config": run.as_json, "frames": run.config.frames.to_dict(), "step": 7}
    checkpoints.save(7, params, {"step": np.int32(7)}, meta)
    checkpoints.close()


def our_ids(run, files, media):
    question = Example("it", "test", (Turn("user", (*media, "What is it?")),))
    store = lay_out([question], run.index_spec(run.config.frames.to_dict()), mode="prompt")
    row = build_row([store[0]], run.tokenizer, run.layout, run.row_shape, "prompt")
    return row["tokens"][: store[0][1].tokens].tolist(), store[0][1].media


def their_ids(name, processor, files, kind):
    """The whole clip is given, from which the processor samples; of LLaVA-1.5, whose processor
    knows no clips, its frames as images."""
    tokens = processor.tokenizer
    content = [{"type": kind}, {"type": "text", "text": "What is it?"}]
    if name == "llava_1_5":
        content[0] = {"type": "image"}
    messages = [{"role": "user", "content": content}]
    text = processor.apply_chat_template(messages, add_generation_prompt=True)
    if kind == "image":
        picture = Image.open(files / "photo.png")
        return processor(text=[text], images=[picture], return_tensors="np")["input_ids"][0]
    clip = MediaRef("video", str(files / "clip.mp4"))
    frames = decode_frames(clip, tuple(range(len(probe(clip).frame_times))))
    if name == "llava_1_5":
        indices = np.linspace(0, len(frames) - 1, FRAMES).round().astype(int)
        text = text.replace("<image>", "<image>" * FRAMES)
        images = list(frames[indices])
        return processor(text=[text], images=images, return_tensors="np")["input_ids"][0]
    metadata = VideoMetadata(total_num_frames=len(frames), fps=10.0)
    if name == "smolvlm":  # whose processor samples otherwise
        metadata.frames_indices = np.linspace(0, len(frames) - 1, FRAMES).round().astype(int)
        metadata.duration, frames = len(frames) / metadata.fps, frames[metadata.frames_indices]
    found = processor(text=[text], videos=[frames], video_metadata=[metadata], return_tensors="np")[
        "input_ids"
    ][0]
    if name in ("qwen3_vl", "qwen3_5"):
        # transformers 5 leaves the template's own start and end of vision around all of a clip.
        start, end = map(tokens.convert_tokens_to_ids, ("<|vision_start|>", "<|vision_end|>"))
        places = np.flatnonzero((found == start) | (found == end))
        found = np.delete(found, [places[0], places[-1]])
    return found


@pytest.mark.parametrize("name", FAMILIES)
def test_an_export_sees_and_answers_as_the_checkpoint(name, files, tmp_path):
    with devices(1):
        config = config_of(name, write_directory(name, tmp_path / "model"), **CHOICES[name])
        config.frames = ConfigDict({"kind": "fixed", "frames": FRAMES})
        run = Run(config, tmp_path / "run")
        save(run)
        out = export(run)
        asked = [
            Question("What is it?", [str(files / "photo.png"), str(files / "clip.mp4")], "both")
        ]
        (before,) = predict(run, asked)
        # The family's config as it is: sizes and frame policy come with the directory.
        again = Run(config_of(name, out), tmp_path / "again")
        assert again.config.frames.kind == "hybrid"
        (after,) = predict(again, asked)
    assert again.layout == run.layout
    assert after["frame_policy"] == before["frame_policy"] == f"fixed-{FRAMES}"
    assert (after["visual_tokens"], after["timestamps"]) == (
        before["visual_tokens"],
        before["timestamps"],
    )
    assert after["token_ids"] == before["token_ids"]
    np.testing.assert_allclose(after["token_logprobs"], before["token_logprobs"], atol=1e-4)

    processor = AutoProcessor.from_pretrained(out)
    for kind, file in (("image", "photo.png"), ("video", "clip.mp4")):
        expected, media = our_ids(run, files, [MediaRef(kind, str(files / file))])
        assert len(media[0].frame_indices) == (FRAMES if kind == "video" else 1)
        assert their_ids(name, processor, files, kind).tolist() == expected, kind


def test_files_that_say_so_already_stay_as_they_are(tmp_path):
    """A model that was imported at its own sizes and never trained."""
    directory = write_directory("qwen3_vl", tmp_path / "model")
    config = config_of("qwen3_vl", directory)
    run = Run(config, tmp_path / "run")
    save(run)
    stored = json.loads((directory / "config.json").read_text()) | {"quantization_config": {}}
    del stored["architectures"]
    (directory / "config.json").write_text(json.dumps(stored))
    config.export.dtype = "float16"
    with devices(1):
        out = export(Run(config, tmp_path / "run"))
    for file in ("preprocessor_config.json", "video_preprocessor_config.json"):
        assert (out / file).read_bytes() == (directory / file).read_bytes()
    written = json.loads((out / "config.json").read_text())
    assert written["architectures"] == ["Qwen3VLForConditionalGeneration"]
    assert "quantization_config" not in written and written["torch_dtype"] == "float16"
    assert json.loads((out / "vsft.json").read_text())["frames"]["kind"] == "hybrid"


def test_what_transformers_has_no_place_for_is_named(tmp_path, caplog):
    directory = write_directory("llava_onevision", tmp_path / "model")
    config = config_of("llava_onevision", directory, image_max_tiles=2)
    run = Run(config, tmp_path / "run")
    save(run)
    with devices(1), caplog.at_level("INFO"):
        out = export(run)
    assert "transformers' processor has no place for image_max_tiles = 2" in caplog.text
    assert "the frame policy hybrid has no place in transformers' processor" in caplog.text
    again = Run(config_of("llava_onevision", out), tmp_path / "again")
    assert again.layout.image_max_tiles == 2
    assert again.exported_frames["kind"] == "hybrid"
