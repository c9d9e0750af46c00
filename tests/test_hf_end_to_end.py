"""A directory that transformers wrote, used as its owner would: ask it, evaluate it, train from it,
export it, and ask transformers the same."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

from configs import qwen2_5_vl as published
from evaluation.evaluate import evaluate_checkpoint
from evaluation.results import BenchmarkResult
from tests.conftest import devices
from tests.input_pipeline.tiny_qwen import TEMPLATE
from tests.parity.qwen_files import write_tokenizer
from tests.vsft_jax.hf_fixtures import write_model
from vsft_jax.checkpoints import CheckpointError
from vsft_jax.config import Run
from vsft_jax.export import export
from vsft_jax.huggingface import model_fingerprint
from vsft_jax.inference import load_model
from vsft_jax.models.qwen2_5_vl import FAMILY as qwen2_5_vl
from vsft_jax.predict import Question, predict
from vsft_jax.train import train

ROOT = Path(__file__).parents[1]
PROMPT = "How many times does the ball bounce?"


def _config(source, **data):
    config = published.get_config(f"path={source},frames=4")
    config.model.update(dtype="float32", remat="none")
    config.layout.update(video_max_pixels=112 * 112, video_min_pixels=56 * 56, row_tokens=512)
    config.layout.update(image_max_pixels=112 * 112, row_patches=1024)
    config.train.update(steps=2, batch_rows=8, loss_chunk=256)
    config.eval.update(batch_rows=8, max_new_tokens=4)
    with config.unlocked():
        config.data.update(data)
    return config


def _add_processor(directory: Path) -> Path:
    """What transformers' processor needs, and a picture beside it."""
    config = published.get_config(f"path={directory}")
    files = qwen2_5_vl.processor_files(Run(config, "").architecture, Run(config, "").layout)
    for name, content in files.items():
        (directory / name).write_text(json.dumps(content))
    (directory / "chat_template.jinja").write_text(TEMPLATE)
    # Of a size that stays as it is: how to resize is compared elsewhere.
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    picture = cv2.resize(pixels, (196, 140), interpolation=cv2.INTER_CUBIC)
    cv2.imwrite(str(directory / "picture.png"), picture)
    return directory


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    directory = tmp_path_factory.mktemp("model")
    write_model(directory, max_shard_size="300KB")
    return _add_processor(directory)


def _transformers_answer(directory: Path) -> list[int]:
    """What transformers answers about the picture, without the token that ends it."""
    if not importlib.util.find_spec("torchvision"):
        pytest.skip("transformers' processor needs torchvision")
    processor = AutoProcessor.from_pretrained(directory)
    model = AutoModelForImageTextToText.from_pretrained(directory, attn_implementation="eager")
    content = [
        {"type": "image", "image": Image.open(directory / "picture.png")},
        {"type": "text", "text": PROMPT},
    ]
    inputs = processor.apply_chat_template(
        [{"role": "user", "content": content}],
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
    )
    config = _config(directory)
    with torch.no_grad():
        output = model.eval().generate(
            **inputs,
            max_new_tokens=12,
            do_sample=False,
            suppress_tokens=list(Run(config, "").architecture.media_token_ids),
        )
    stops = Run(config, "").tokenizer.stop_ids()
    answer = output[0, inputs["input_ids"].shape[1] :].tolist()
    return [token for token in answer if token not in stops]


def test_predict_answers_as_transformers_does(source):
    done = subprocess.run(
        [
            sys.executable,
            "main.py",
            f"--config=configs/qwen2_5_vl.py:path={source}",
            "--job=predict",
            f"--media={source / 'picture.png'}",
            f"--prompt={PROMPT}",
            "--config.model.dtype=float32",
            "--config.eval.max_new_tokens=12",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    said = json.loads(done.stdout)
    assert said["visual_tokens"] == 5 * 7 and len(said["token_ids"]) > 4
    assert said["token_ids"] == _transformers_answer(source)


@pytest.mark.slow
def test_predict_with_the_real_tokenizer(tmp_path):
    """Qwen's vocabulary, and the token ids of the released models."""
    directory = tmp_path / "model"
    write_model(directory, released_ids=True)
    write_tokenizer(directory)
    config = published.get_config(f"path={_add_processor(directory)},frames=4")
    config.model.dtype, config.eval.max_new_tokens = "float32", 12
    with devices(1):
        said = predict(Run(config, tmp_path), [Question(PROMPT, [str(directory / "picture.png")])])[
            0
        ]
    assert said["visual_tokens"] == 5 * 7 and len(said["token_ids"]) > 4
    assert said["token_ids"] == _transformers_answer(directory)


def test_jobs_that_leave_something_need_a_workdir(source):
    done = subprocess.run(
        [
            sys.executable,
            "main.py",
            f"--config=configs/qwen2_5_vl.py:path={source}",
            "--job=export",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0 and "--job=export needs --workdir" in done.stdout + done.stderr


@pytest.fixture
def benchmark(shared_config):
    """The demo world's pictures as a benchmark, and a few of them to train on."""
    data = shared_config.data.to_dict()
    pictures = data["benchmarks"]["world_image"]
    return {
        "root": data["root"],
        "demo_world": data["demo_world"],
        "benchmarks": {"world_image": pictures},
        "train": {"images": data["train"]["images"] | {"weight": 1.0}},
    }


def test_an_imported_model_is_evaluated_trained_and_exported(source, benchmark, tmp_path):
    config = _config(source, **benchmark)
    with devices(1):
        before = evaluate_checkpoint(Run(config, tmp_path))["world_image"]
        assert before.n > 12 and before.provenance.trained_with is None
        assert before.provenance.checkpoint == {
            "step": 0,
            "path": str(source),
            "fingerprint": model_fingerprint(source),
        }
        saved = BenchmarkResult.load(next(tmp_path.glob("eval/*/world_image.json")))
        assert saved.provenance.checkpoint == before.provenance.checkpoint

        config.optimizer.update(warmup_steps=1)
        config.optimizer.learning_rate.update(tower=0.0, projector=1e-2, llm=0.0)
        train(Run(config, tmp_path))
        config.export.dtype = "float32"
        out = export(Run(config, tmp_path))
        trained = load_model(Run(config, tmp_path))
    assert trained.step == 2 and trained.source == tmp_path
    old, new = (AutoModelForImageTextToText.from_pretrained(d).state_dict() for d in (source, out))
    changed = {name for name in old if not torch.equal(old[name], new[name])}
    # Training began with the directory's weights: what is frozen is what it was.
    assert changed and all(".merger." in name for name in changed)
    kernel = np.asarray(trained.params["merger"]["fc2"]["kernel"][...])
    np.testing.assert_array_equal(new["model.visual.merger.mlp.2.weight"].numpy().T, kernel)
    for directory in (out, tmp_path / "tokenizer"):
        for name in ("tokenizer.json", "chat_template.jinja"):
            assert (directory / name).read_bytes() == (source / name).read_bytes()
    # The sizes are the config's, not the directory's.
    processor = json.loads((out / "preprocessor_config.json").read_text())
    assert processor["size"]["longest_edge"] == config.layout.image_max_pixels
    assert (tmp_path / "tokenizer" / "preprocessor_config.json").is_file()


def test_without_path_and_checkpoint_there_is_nothing_to_ask(shared_config, tmp_path):
    with pytest.raises(CheckpointError, match="was the model trained"):
        load_model(Run(shared_config, tmp_path))
