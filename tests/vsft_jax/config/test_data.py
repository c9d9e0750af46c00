"""`config.data` → which sets are prepared, and how much of each an epoch takes."""

import logging as python_logging

import pytest
from ml_collections import ConfigDict

from configs import default, tiny
from input_pipeline.batches import Count
from input_pipeline.batches.mixture import epoch_order
from vsft_jax.config import Run
from vsft_jax.errors import ConfigError
from vsft_jax.prepare import ensure_made_sets, prepare_training
from vsft_jax.row_plan import mixture_weights
from vsft_jax.train.log import log_mix


def config_of(**data) -> ConfigDict:
    """A config with three training sets: videos (weight 1), images (0.5), notes (0)."""
    config = default.get_config()
    for name, weight in (("videos", 1.0), ("images", 0.5), ("notes", 0.0)):
        config.data.train[name] = {
            "annotations": f"{name}.json",
            "media_root": "",
            "weight": weight,
        }
    for key, value in data.items():
        config.data[key] = value
    return config


@pytest.mark.parametrize(
    ("data", "amounts", "replay"),
    [
        ({}, {"videos": 1.0, "images": 0.5}, {}),
        ({"mixture": "notes%50,videos#7"}, {"notes": 0.5, "videos": Count(7)}, {}),
        ({"replay": "images%10"}, {"videos": 1.0}, {"images": 0.1}),
        ({"replay": "notes%5", "mixture": "videos"}, {"videos": 1.0}, {"notes": 0.05}),
    ],
)
def test_what_takes_part(data, amounts, replay):
    config = config_of(**data)
    mixture = Run(config, "").mixture
    assert (dict(mixture.amounts), dict(mixture.replay)) == (amounts, replay)
    assert {dataset.name for dataset in Run(config, "").training_sets} == {*amounts, *replay}


def test_a_set_without_a_weight_is_taken_whole():
    config = config_of()
    del config.data.train.images["weight"]
    assert Run(config, "").mixture.amounts["images"] == 1.0


def test_a_weight_of_one_is_all_of_a_set_also_without_its_point():
    config = config_of(epoch="amounts")
    config.data.train.videos = {"annotations": "videos.json", "weight": 1}
    weights = Run(config, "").mixture.weights({"videos": 10_000, "images": 10_000})
    assert weights == {"videos": 1.0, "images": 0.5}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"mixture": "videos,birds"}, r"names \['birds'\]; config.data.train has \['images'"),
        ({"replay": "birds%5"}, r"names \['birds'\]"),
        ({"mixture": "videos%x"}, "cannot read 'videos%x'"),
        ({"replay": "images"}, "no percentage"),
        ({"replay": "images%10", "mixture": "videos,images"}, "an amount and a share"),
        ({"epoch": "longest"}, "epoch = 'longest'"),
        ({"replay_unit": "words", "replay": "images%5"}, "replay_unit = 'words'"),
    ],
)
def test_what_makes_no_sense_names_the_key(data, message):
    with pytest.raises(ConfigError, match=f"config.data.*{message}"):
        _ = Run(config_of(**data), "").mixture


def test_no_set_at_all():
    config = config_of()
    config.data.train.videos.weight = config.data.train.images.weight = 0.0
    with pytest.raises(ConfigError, match="^config.data.train.images.weight, .*nothing to train"):
        _ = Run(config, "").mixture
    config.data.train = {}
    with pytest.raises(ConfigError, match="^config.data.train is empty: .*annotations=FILE"):
        _ = Run(config, "").mixture


@pytest.mark.parametrize(
    ("root", "path", "expected"),
    [
        ("", "a/b", "/work/a/b"),
        ("sets", "a/b", "/work/sets/a/b"),
        ("/data", "a/b", "/data/a/b"),
        ("/data", "/other/a", "/other/a"),
        ("", "gs://bucket/a", "gs://bucket/a"),
        ("gs://bucket/", "a/b", "gs://bucket/a/b"),
        ("gs://bucket", "", "gs://bucket"),
        ("gs://bucket", "/other/a", "/other/a"),
        ("gs://bucket", "gs://elsewhere/a", "gs://elsewhere/a"),
    ],
)
def test_where_a_path_leads(root, path, expected):
    config = config_of()
    config.data.root = root
    config.data.train.videos.media_root = path
    config.data.train.videos.annotations = path or "videos.json"
    sets = {dataset.name: dataset for dataset in Run(config, "/work").training_sets}
    assert sets["videos"].media_root == expected
    assert sets["videos"].annotations == (expected if path else f"{expected}/videos.json")


def test_a_world_is_not_rendered_into_a_bucket():
    config = tiny.get_config()
    config.data.root = "gs://bucket"
    with pytest.raises(ConfigError, match="config.data.root = 'gs://bucket' is an address"):
        ensure_made_sets(Run(config, "/work"))


def test_a_tokenizer_is_not_read_from_a_bucket(tmp_path):
    config = tiny.get_config()
    config.data.root = "gs://bucket"
    with pytest.raises(ConfigError, match="address gs://bucket/world/tokenizer"):
        _ = Run(config, tmp_path).tokenizer_dir
    (tmp_path / "tokenizer").mkdir()
    assert Run(config, tmp_path).tokenizer_dir == tmp_path / "tokenizer"


def test_the_realised_mix_is_logged(shared_config, world, caplog):
    config = shared_config.copy_and_resolve_references()
    config.data.train.images.weight = 1.0
    config.data.replay, config.data.replay_unit = "images%20", "examples"
    prepared = prepare_training(Run(config, world))
    stores = prepared.stores()
    with caplog.at_level(python_logging.INFO, logger="absl"):
        log_mix(Run(config, ""), stores)
    lines = {line.split(":")[0].strip(): line for line in caplog.messages}
    assert set(lines) == {"images", "videos"}
    # Half of 32 clips, which are then four fifths.
    assert "16 of 32 examples (80.0 %)" in lines["videos"]
    assert "4 of 24 examples (20.0 %)" in lines["images"]
    store = stores["videos"]
    weights = mixture_weights(Run(config, ""), stores)
    _, rows = epoch_order({"videos": 32}, {"videos": weights["videos"]}, config.seed, 0)
    assert f"{store.tokens[rows].sum()} tokens" in lines["videos"]
    assert f"{store.visual_tokens[rows].sum()} visual tokens" in lines["videos"]
