"""Files: whole, the same for the same parameters, and such that the pipeline reads them."""

import json

import cv2
import numpy as np
import pytest

from configs.studies import emoji
from demo_world.building import SUMMARY
from emoji_world import __main__ as entry
from emoji_world import generate, generate_emoji_world
from emoji_world.questions import JUDGED
from evaluation.study import plan_cells
from input_pipeline.examples import MediaRef
from input_pipeline.frame_budget import canonical_spec, resolve_spec
from input_pipeline.media import probe
from tests.emoji_world.small_packages import SIZES
from vsft_jax.config import Run
from vsft_jax.config.checks import check_study
from vsft_jax.errors import ConfigError
from vsft_jax.prepare import ensure_made_sets, prepare_benchmarks, prepare_training


def _records(root, name):
    text = (root / name).read_text()
    return json.loads(text) if name.endswith(".json") else list(map(json.loads, text.splitlines()))


def test_the_same_parameters_give_the_same_files_and_need_the_packages_once(
    emoji_world, registry, tmp_path
):
    packages = emoji_world.parent / "packages"
    again = generate_emoji_world(
        tmp_path / "again",
        **SIZES,
        packages=packages,
        pins=registry.pins,
        npm="http://never.invalid",
        pypi="http://never.invalid",
    )
    summaries = [(root / SUMMARY).read_bytes() for root in (emoji_world, again)]
    assert summaries[0] == summaries[1], "with the hash over all files"
    # A complete world does not need them any more.
    nowhere = {"packages": tmp_path / "none", "npm": "http://never.invalid"}
    generate_emoji_world(again, **SIZES, pins=registry.pins, **nowhere)
    assert not (tmp_path / "none").exists()


def test_another_seed_or_other_packages_give_another_world(emoji_world, registry, tmp_path):
    packages = emoji_world.parent / "packages"
    few = dict.fromkeys(SIZES, 2) | {"pixels": 16}
    one, other = (
        generate_emoji_world(
            tmp_path / str(seed), seed=seed, packages=packages, pins=registry.pins, **few
        )
        for seed in (0, 1)
    )
    assert (one / SUMMARY).read_bytes() != (other / SUMMARY).read_bytes()
    described = json.loads((one / SUMMARY).read_text())["packages"]
    assert [line.split()[0] for line in described] == [p.name for p in registry.pins.all()]


def test_media_are_as_promised(emoji_world):
    for record in _records(emoji_world, "train/images.json"):
        assert cv2.imread(str(emoji_world / record["image"])).shape == (32, 32, 3)
    for record in _records(emoji_world, "test/videos.jsonl"):
        info = probe(MediaRef("video", str(emoji_world / record["video"])))
        assert (info.width, info.height) == (48, 32)
        assert 24 <= info.frames <= 72
        assert np.allclose(np.diff(info.frame_times), 1 / 12, atol=2e-3)


def test_records_are_in_the_files_that_their_tasks_belong_to(emoji_world):
    train, base = (_records(emoji_world, f"train/{n}.json") for n in ("videos", "videos_base"))
    assert {r["task"] for r in train} == {*JUDGED["video"], "speed"}
    assert {r["task"] for r in base} <= set(JUDGED["video"])
    assert 0 < len({r["video"] for r in base}) <= len({r["video"] for r in train}) / 4
    for kind in ("image", "video"):
        tasks = {r["task"] for r in _records(emoji_world, f"test/{kind}s.jsonl")}
        assert tasks == set(JUDGED[kind])
        names = _records(emoji_world, f"test/{kind}s_names.jsonl")
        assert names and all(r["choices"][r["answer"]] for r in names)
        named = _records(emoji_world, f"train/{kind}s_names.json")
        assert named and {r["task"] for r in named} == {"name"}
    easy = _records(emoji_world, "test/easy_vqa.jsonl")
    assert len(easy) == SIZES["test_easy"]
    assert {r["task"] for r in easy} == {"easy_exists", "easy_colour", "easy_shape"}


def test_what_text_alone_gets_right_is_said(emoji_world):
    lines = generate.guessing_lines(emoji_world)
    assert any(line.split()[:2] == ["test/videos.jsonl", "moves"] for line in lines)
    assert all(line.endswith("% by text alone") for line in lines)


def test_bad_numbers_are_refused(tmp_path):
    with pytest.raises(ValueError, match="pixels must be a whole number from 16 on: 8"):
        generate_emoji_world(tmp_path / "world", pixels=8)
    with pytest.raises(ValueError, match="train_easy.*-1"):
        generate_emoji_world(tmp_path / "world", train_easy=-1)


def test_entry_says_what_cannot_be_had(tmp_path, monkeypatch):
    nowhere = (tmp_path / "nowhere").as_uri()
    flags = [f"--out={tmp_path / 'w'}", f"--packages={tmp_path / 'p'}", f"--npm={nowhere}"]
    monkeypatch.setattr("sys.argv", ["emoji_world", *flags])
    monkeypatch.setattr(entry.logging, "set_verbosity", lambda _: None)  # of other tests too
    with pytest.raises(SystemExit, match="cannot be fetched"):
        entry.main()
    assert not (tmp_path / "w").exists()


# --- The study's config ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arg", "cells", "benchmarks"),
    [(None, 1 + 4 + 1, 3), ("names", 1 + 4 + 1, 5), ("size=large", 1 + 5 * (7 + 16), 3)],
)
def test_the_study_is_whole(arg, cells, benchmarks, emoji_world, tmp_path):
    config = emoji.get_config(arg)
    (tmp_path / "emoji_world").symlink_to(emoji_world)
    run = Run(config, tmp_path)  # which checks the config
    check_study(config)
    assert run.model_config.text.vocab_size >= 648, "all that the tokenizer may hold"
    specs = [
        canonical_spec(resolve_spec(each.to_dict(), lambda _: [(9, n) for n in (2, 4, 8, 16)]))
        for each in config.study.frames.values()
    ]
    assert len(plan_cells(config, tmp_path, specs)) == cells
    assert len(config.data.benchmarks) == benchmarks


def test_a_size_that_there_is_not_is_named():
    with pytest.raises(ValueError, match="size='huge': expected one of small, large"):
        emoji.get_config("size=huge")


@pytest.mark.usefixtures("one_device")
def test_the_pipeline_reads_all_of_it(registry, tmp_path, monkeypatch):
    """The study's data set from packages to indexes, for one model of it."""
    monkeypatch.setattr(generate, "Pins", lambda: registry.pins)
    config = emoji.get_config("names")
    config.data.emoji_world.update(SIZES, packages=str(tmp_path / "p"), **registry.addresses)
    for name in config.data.train:
        config.data.train[name].weight = 1.0
    run = Run(config, tmp_path / "run")
    training = prepare_training(run)
    benchmarks = prepare_benchmarks(run, training.frame_policy)
    for summary in (*training.summaries.values(), *benchmarks.summaries.values()):
        assert summary["kept"] == summary["examples"] > 0
    assert run.tokenizer_dir == tmp_path / "run" / "emoji_world" / "tokenizer"


def test_it_is_not_made_at_an_address():
    config = emoji.get_config()
    config.data.root = "gs://bucket"
    with pytest.raises(ConfigError, match="emoji_world is made in a folder, but .*gs://bucket"):
        ensure_made_sets(Run(config, "/work"))
