"""The prepare job: its table, and when it fails."""

import json
import logging

import pytest
from ml_collections import ConfigDict

from input_pipeline.index import TooManyBad
from vsft_jax.config import Run
from vsft_jax.errors import ConfigError
from vsft_jax.prepare import (
    prepare_all,
    prepare_benchmarks,
    prepare_training,
    resolve_frame_policy,
)


@pytest.fixture
def small(shared_config, world, tmp_path):
    """Makes a run on six questions about clips of the world, so many of which are gone."""

    def make(gone):
        records = json.loads((world / "world" / "train" / "videos.json").read_text())[:6]
        for record in records[:gone]:
            record["video"] = "gone.mp4"
        (tmp_path / "six.json").write_text(json.dumps(records))
        config = shared_config.copy_and_resolve_references()
        with config.unlocked():
            config.data.index_dir = str(tmp_path / f"index-{gone}")
            config.data.train = {
                "six": {
                    "annotations": str(tmp_path / "six.json"),
                    "media_root": "world",
                    "weight": 1.0,
                }
            }
        return Run(config, tmp_path)

    return make


def test_the_job_ends_with_a_table_and_checks_every_benchmark(small, caplog):
    caplog.set_level(logging.INFO)
    checked = []
    prepare_all(small(0), lambda dataset, store: checked.append((dataset.name, len(store))))
    assert [name for name, _ in checked] == ["world_image", "world_video"]
    assert all(count for _, count in checked)
    table = next(text for text in caplog.messages if text.startswith("prepared:"))
    rows = {line.split()[0]: line.split()[1:] for line in table.splitlines()[2:]}
    assert rows["six"] == ["train", "6", "6", "0", "0"]
    assert rows["world_video"][0] == "prompt"
    fill = next(text for text in caplog.messages if text.startswith("an epoch of 6 examples"))
    assert "row_tokens" in fill and "as now" in fill


def test_a_small_set_with_more_bad_than_allowed_fails_after_the_table(small, caplog):
    caplog.set_level(logging.INFO)
    run = small(4)
    prepare_training(run)  # a training goes on: a handful
    with pytest.raises(TooManyBad, match=r"4 of 6 examples.*max_bad_fraction = 0.1: .*six-train"):
        prepare_all(run, lambda *_: None)
    table = next(text for text in caplog.messages if text.startswith("prepared:"))
    assert "left out of six: 4 of 6" in table and "(missing)" in table


def test_a_question_that_cannot_be_scored_ends_the_job(small):
    def check(dataset, store):
        raise ConfigError(f"{dataset.name} is wrong")

    with pytest.raises(ConfigError, match="world_image is wrong"):
        prepare_all(small(0), check)


def test_a_config_of_benchmarks_alone_is_prepared(small):
    config = small(0).config.copy_and_resolve_references()
    with config.unlocked():
        config.data.update(train=ConfigDict(), replay="")
    checked = []
    prepare_all(Run(config, small(0).workdir), lambda dataset, _: checked.append(dataset.name))
    assert checked == list(config.data.benchmarks)


@pytest.mark.parametrize("kind", ["random_matched", "type_matched"])
def test_a_control_has_the_budgets_of_its_policy_in_every_data_set(shared_config, tmp_path, kind):
    """In training and in evaluation by themselves: it costs the same in both."""
    config = shared_config.copy_and_resolve_references()
    found = []
    for spec in (config.frames.to_dict(), {"kind": kind, "of": config.frames.to_dict()}):
        with config.unlocked():
            config.frames = ConfigDict(spec)
        run = Run(config, tmp_path)
        policy = resolve_frame_policy(run)
        stores = {**prepare_training(run).stores(), **prepare_benchmarks(run, policy).stores()}
        found.append({name: sorted(store.budgets.tolist()) for name, store in stores.items()})
    assert found[0] == found[1]
    assert {"videos", "world_video", "world_image"} <= set(found[0])
    assert len(set(found[0]["world_video"])) > 1
