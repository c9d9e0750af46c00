"""`config.data` → which sets are prepared, and how much of each an epoch takes."""

import logging as python_logging

import pytest
from ml_collections import ConfigDict

from configs import default
from input_pipeline.batches.mixture import epoch_order
from vsft_jax import experiment
from vsft_jax.experiment import ConfigError
from vsft_jax.train import loop


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
        ({"mixture": "notes%50,videos#7"}, {"notes": 0.5, "videos": 7}, {}),
        ({"replay": "images%10"}, {"videos": 1.0}, {"images": 0.1}),
        ({"replay": "notes%5", "mixture": "videos"}, {"videos": 1.0}, {"notes": 0.05}),
    ],
)
def test_what_takes_part(data, amounts, replay):
    config = config_of(**data)
    mixture = experiment.mixture(config)
    assert (dict(mixture.amounts), dict(mixture.replay)) == (amounts, replay)
    assert set(experiment._training_sets(config)) == {*amounts, *replay}


def test_a_set_without_a_weight_is_taken_whole():
    config = config_of()
    del config.data.train.images["weight"]
    assert experiment.mixture(config).amounts["images"] == 1.0


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"mixture": "videos,birds"}, r"names \['birds'\]; config.data.train has \['images'"),
        ({"replay": "birds%5"}, r"names \['birds'\]"),
        ({"mixture": "videos%x"}, "cannot read 'videos%x'"),
        ({"replay": "images"}, "no percentage"),
        ({"replay": "images%10", "mixture": "videos,images"}, "an amount and a share"),
        ({"epoch": "longest"}, "epoch is 'longest'"),
        ({"replay_unit": "words", "replay": "images%5"}, "unit of replay is 'words'"),
    ],
)
def test_what_makes_no_sense_names_the_key(data, message):
    with pytest.raises(ConfigError, match=f"config.data.*{message}"):
        experiment.mixture(config_of(**data))


def test_no_set_at_all():
    config = config_of()
    config.data.train.videos.weight = config.data.train.images.weight = 0.0
    with pytest.raises(ConfigError, match="config.data.train.*no source"):
        experiment.mixture(config)


def test_addresses_are_no_paths():
    config = config_of()
    assert experiment.resolve_path(config, "/work", "gs://bucket/a") == "gs://bucket/a"
    assert experiment.resolve_path(config, "/work", "a/b") == "/work/a/b"
    config.data.root = "gs://bucket/"
    assert experiment.resolve_path(config, "/work", "a/b") == "gs://bucket/a/b"


def test_the_realised_mix_is_logged(shared_config, world, caplog):
    config = shared_config.copy_and_resolve_references()
    config.data.train.images.weight = 1.0
    config.data.replay, config.data.replay_unit = "images%20", "examples"
    prepared = experiment.prepare_training(config, world)
    stores = {name: loop.ExampleStore.open(path) for name, path in prepared.paths.items()}
    with caplog.at_level(python_logging.INFO, logger="absl"):
        loop._log_mix(config, stores)
    lines = {line.split(":")[0].strip(): line for line in caplog.messages}
    assert set(lines) == {"images", "videos"}
    # Half of 32 clips, which are then four fifths.
    assert "16 of 32 examples (80.0 %)" in lines["videos"]
    assert "4 of 24 examples (20.0 %)" in lines["images"]
    store = stores["videos"]
    weights = loop.mixture_weights(config, stores)
    _, rows = epoch_order({"videos": 32}, {"videos": weights["videos"]}, config.seed, 0)
    assert f"{store.tokens[rows].sum()} tokens" in lines["videos"]
    assert f"{store.visual_tokens[rows].sum()} visual tokens" in lines["videos"]
