"""Models for frame budget policies: DINOv2 and a judge of our own, from directories as
transformers writes them, through preparing a data set."""

import cv2
import jax
import numpy as np
import pytest
import torch
from transformers import Dinov2Config, Dinov2Model

from input_pipeline.frame_budget import ModelError, Refused, make_policy
from input_pipeline.frame_budget.novelty import cosine_novelty
from input_pipeline.index import ExampleStore
from input_pipeline.media import frames as decode
from tests.input_pipeline.frame_budget.budget_queries import Preview, query
from tests.parity.reference import randomise
from tests.vsft_jax.hf_fixtures import write_model
from vsft_jax import inference
from vsft_jax.config import Run
from vsft_jax.errors import ConfigError
from vsft_jax.frame_models import dino as dino_module
from vsft_jax.frame_models import tools
from vsft_jax.frame_models.dino import SIDE, DinoEmbedder
from vsft_jax.frame_models.judge import JudgeModel
from vsft_jax.inference import Answer
from vsft_jax.models.dinov2.config import IMAGE_MEAN, IMAGE_STD
from vsft_jax.prepare import prepare_training


@pytest.fixture(scope="module")
def dino(tmp_path_factory):
    """A directory, and transformers' model."""
    directory = tmp_path_factory.mktemp("dinov2-tiny")
    torch.manual_seed(0)
    numbers = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=56)
    model = randomise(Dinov2Model(Dinov2Config(**numbers)).eval())
    model.save_pretrained(directory)
    return directory, model


@pytest.fixture(scope="module")
def judge(tmp_path_factory):
    directory = tmp_path_factory.mktemp("judge-tiny")
    write_model(directory)
    return directory


@pytest.fixture
def config(shared_config, tmp_path):
    config = shared_config.copy_and_resolve_references()
    with config.unlocked():
        config.data.index_dir = str(tmp_path / "index")
        config.data.benchmarks = {}
    return config


def similarity(directory, **more):
    return {"kind": "similarity", "features": "dinov2", "path": str(directory), **more}


# ── DINOv2. ─────────────────────────────────────────────────────────────────────────────────────


def test_features_are_transformers_pooled_output(dino):
    directory, model = dino
    frames = Preview()(3, 96)
    resized = np.stack([cv2.resize(f, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for f in frames])
    pixels = (resized / 255 - np.array(IMAGE_MEAN)) / np.array(IMAGE_STD)
    with torch.no_grad():
        pixels = torch.tensor(pixels.transpose(0, 3, 1, 2), dtype=torch.float32)
        expected = model(pixels).pooler_output.numpy()
    embed = DinoEmbedder(similarity(directory))
    np.testing.assert_allclose(embed(frames), expected, atol=1e-4, rtol=1e-4)
    np.testing.assert_allclose(embed(frames[:2]), expected[:2], atol=1e-4, rtol=1e-4)


def test_prepare_by_similarity(dino, config, tmp_path, monkeypatch):
    directory, _ = dino
    config.frames = {"kind": "similarity", "features": "dinov2", "path": str(directory)}
    config.frames.update(candidates=(2, 4), preview_frames=4, novelty_low=0.01, novelty_high=0.05)
    prepared = prepare_training(Run(config, tmp_path))
    embed = DinoEmbedder(config.frames)
    checked = 0
    for name, path in prepared.paths.items():
        store = ExampleStore.open(path)
        for i in range(len(store)):
            example, _ = store[i]
            if store.budgets[i] and checked < 3:
                frames = decode.preview_frames(example.media[0], 4, SIDE)
                assert max(frames.shape[1:3]) > 64, "more than the policies without a model see"
                novelty = cosine_novelty(embed(frames))
                assert f"novelty {novelty:.2f} (dinov2)" in store.why(i)
                checked += 1
        assert prepared.summaries[name]["frame_policy"]["features"] == "dinov2"
    assert checked == 3

    # other thresholds, the same previews: what the model said is known
    refused = pytest.fail
    monkeypatch.setattr(
        dino_module, "load_on_one_device", lambda *_, **__: refused("it was loaded")
    )
    config.frames.novelty_high = 0.9
    again = prepare_training(Run(config, tmp_path))
    assert set(again.paths.values()).isdisjoint(prepared.paths.values())


def test_a_path_without_a_model_is_named(tmp_path, config):
    with pytest.raises(ModelError, match="'path' of the similarity spec: .*/nothing: there is no"):
        make_policy(similarity(tmp_path / "nothing"), tools(Run(config, tmp_path)))
    (tmp_path / "config.json").write_text('{"model_type": "vit"}')
    policy = make_policy(similarity(tmp_path), tools(Run(config, tmp_path)))
    with pytest.raises(ModelError, match="'vit' is not dinov2"):
        policy(query())


def test_models_do_not_go_into_processes(dino, config, tmp_path):
    config.frames = {"kind": "similarity", "features": "dinov2", "path": str(dino[0])}
    config.data.prepare_processes = 2
    with pytest.raises(ConfigError, match="config.data.prepare_processes = 2"):
        prepare_training(Run(config, tmp_path))


# ── A judge. ────────────────────────────────────────────────────────────────────────────────────


def test_a_judge_of_our_own_answers_but_nonsense(judge, config, tmp_path, one_device, monkeypatch):
    spec = {"kind": "judge", "path": str(judge), "max_tokens": 4, "preview_frames": 2}
    policy = make_policy(spec, tools(Run(config, tmp_path)))
    asked = query("Why does it stop?", media_id="a")
    budget = policy(asked)
    assert f"(no usable answer of {judge.name})" in budget.why
    monkeypatch.setattr(JudgeModel, "__call__", lambda *_: pytest.fail("asked once more"))
    assert policy(asked) == budget
    assert policy._decide.unusable == 2


def test_a_judge_sees_the_frames_and_the_question(judge, config, tmp_path, monkeypatch):
    seen = []

    def answer(run, model, store):
        example, layout = store[0]
        frames = decode.decode_frames(example.media[0], layout.media[0].frame_indices)
        seen.append((run.config, example.instruction, frames, layout.media[0].frame_times))
        yield Answer(0, '{"causal_relations": 5, "frames": 32}', [], [], None)

    monkeypatch.setattr(inference, "answer", answer)
    monkeypatch.setattr(inference, "load_model", lambda run: None)
    spec = {"kind": "judge", "path": str(judge), "preview_frames": 4, "max_tokens": 77}
    preview = Preview()
    budget = make_policy(spec, tools(Run(config, tmp_path)))(query("Why?", preview=preview))
    assert budget.why == f"32: judged by {judge.name}: causal 5"
    ((given, words, frames, times),) = seen
    assert "Why?" in words and "causal_relations" in words
    np.testing.assert_array_equal(frames, Preview()(4, 224))
    np.testing.assert_allclose(times, [0, 4.5, 9, 13.5], atol=1e-3)
    assert (given.eval.max_new_tokens, given.model.family) == (77, "qwen2_5_vl")
    assert config.model.path == "", "the run's own config is left alone"


def test_a_question_too_long_for_the_judge_is_refused(judge, config, tmp_path):
    ask = tools(Run(config, tmp_path)).ask({"path": str(judge), "max_tokens": 4})
    with pytest.raises(Refused, match="too_long"):
        ask("why " * 40_000, Preview()(2, 64), 3.0)


def test_a_judge_that_cannot_be_is_named(judge, config, tmp_path, monkeypatch):
    spec = {"kind": "judge", "path": str(tmp_path)}
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    with pytest.raises(ModelError, match="the judge's 'path': .*not a model of .*'qwen2_5_vl'"):
        make_policy(spec, tools(Run(config, tmp_path)))
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    with pytest.raises(ModelError, match="one process only: prepare on one machine first"):
        make_policy(spec | {"path": str(judge)}, tools(Run(config, tmp_path)))
