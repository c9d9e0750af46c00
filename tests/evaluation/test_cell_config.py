"""What makes a cell: which keys decide, what differs in words, what is tuned."""

import json

import pytest

from configs import demo
from configs.studies import emoji
from evaluation.cell_config import (
    _NO_PART,
    answer_changes,
    config_hash,
    deciding,
    model_changes,
    policy_changes,
    strategy,
)
from evaluation.study_files import Cell
from input_pipeline.frame_budget import canonical_spec

HYBRID = canonical_spec({"kind": "hybrid", "candidates": [2, 4, 8, 16]})


def config(**changes):
    """The demo's config as JSON values, with {"train.epochs": 2.0} set."""
    values = json.loads(demo.get_config().to_json_best_effort())
    for key, value in changes.items():
        *folders, name = key.split(".")
        place = values
        for folder in folders:
            place = place[folder]
        place[name] = value
    return values


def cell(policy=HYBRID, **changes):
    decides = deciding(config(**changes), policy)
    return Cell("c", "sft", "base", "full", 0, policy, decides, config_hash(decides))


@pytest.mark.parametrize(
    "key, value",
    [
        ("seed", 7),
        ("train.epochs", 2.0),
        ("optimizer.learning_rate.llm", 1e-5),
        ("lora.rank", 8),
        ("data.train.videos.weight", 1.0),
        ("data.train.videos.annotations", "world/train/other.json"),
        ("data.demo_world.train_clips", 100),
        ("model.text.depth", 5),
        ("layout.row_tokens", 512),
        ("mesh.context", 2),
        ("tokenizer", "elsewhere"),
    ],
)
def test_what_decides_the_model_is_named(key, value):
    before, now = cell(), cell(**{key: value})
    assert before.config_hash != now.config_hash
    (change,) = model_changes(before, now)
    assert change.startswith(f"config.{key} was ") and change.endswith(f" and is {value!r}")
    assert answer_changes(before, now) == []


@pytest.mark.parametrize(
    "key, value",
    [
        ("data.root", "/mnt/other"),
        ("data.index_dir", "/mnt/index"),
        ("data.cache_dir", "/mnt/cache"),
        ("data.workers", 64),
        ("data.decoder", "threads"),
        ("train.log_every", 1),
        ("train.checkpoint_every", 1),
        ("eval.batch_rows", 8),
        ("mesh.fsdp", 4),
        ("study.seeds", [0, 1]),
        ("plan.rows", 2),
    ],
)
def test_where_how_fast_and_how_often_decide_nothing(key, value):
    before, now = cell(), cell(**{key: value})
    assert before == now


@pytest.mark.parametrize(
    "key, value",
    [
        ("eval.max_new_tokens", 3),
        ("eval.temperature", 1.0),
        ("lora.eval_scale", 0.5),
        ("data.benchmarks.world_video.annotations", "world/val/videos.jsonl"),
    ],
)
def test_what_decides_the_answers_leaves_the_model(key, value):
    before, now = cell(), cell(**{key: value})
    assert before.config_hash == now.config_hash and model_changes(before, now) == []
    (change,) = answer_changes(before, now)
    assert change.startswith(f"config.{key} was ") and change.endswith(f" and is {value!r}")


def test_benchmarks_come_and_go():
    benchmark = {"annotations": "a.jsonl", "media_root": "", "modality": "video"}
    before, now = cell(), cell(**{"data.benchmarks.more": benchmark})
    assert model_changes(before, now) == answer_changes(before, now) == []
    assert model_changes(now, before) == answer_changes(now, before) == []


def test_a_changed_policy_is_named_by_its_keys():
    other = canonical_spec({"kind": "hybrid", "candidates": [2, 4], "label": "hybrid"})
    (change,) = [c for c in model_changes(cell(), cell(other)) if "label" not in c]
    assert change == "config.frames.candidates was [2, 4, 8, 16] and is [2, 4]"
    renamed = canonical_spec({**HYBRID, "label": "mine"})
    assert model_changes(cell(), cell(renamed)) == policy_changes(HYBRID, renamed) == []


def test_a_key_that_was_not_there_is_a_change():
    before, now = cell(), cell(**{"train.novelty": 3})
    assert model_changes(before, now) == ["config.train.novelty was not set and is 3"]


def test_keys_that_are_left_out_exist():
    for key in _NO_PART:
        place = emoji.get_config()  # default.py's keys, and those of the emoji world
        for name in key.split("."):
            place = place[name]


@pytest.mark.parametrize(
    "changes, words",
    [
        ({}, "full"),
        ({"lora.rank": 16}, "lora-16"),
        ({"lora.rank": 8, "lora.targets": "attention"}, "lora-8 on attention"),
        ({"train.only": "gate_up"}, "only gate_up"),
        ({"optimizer.learning_rate.tower": 0.0}, "frozen tower"),
        (
            {"lora.rank": 4, "optimizer.learning_rate": {"tower": 0, "projector": 0, "llm": 1e-4}},
            "lora-4, frozen projector and tower",
        ),
    ],
)
def test_strategy_says_what_is_tuned(changes, words):
    assert strategy(config(**changes)) == words
