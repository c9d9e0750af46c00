"""What a job needs is looked for before it begins."""

import shutil

import pytest

from configs import default, tiny
from tests.conftest import devices
from vsft_jax.config import (
    Run,
    check_before_evaluation,
    check_before_study,
    check_before_training,
    check_data,
)
from vsft_jax.errors import ConfigError


@pytest.fixture
def config(tmp_path):
    """configs/tiny.py with files of one's own, all of them there."""
    config = tiny.get_config()
    config.data.root = str(tmp_path / "data")
    config.data.demo_world = {}
    config.tokenizer = "tokenizer"
    for section in (config.data.train, config.data.benchmarks):
        for entry in section.values():
            entry.media_root = "media"
            path = tmp_path / "data" / entry.annotations
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("[]")
    (tmp_path / "data" / "media").mkdir()
    (tmp_path / "data" / "tokenizer").mkdir()
    (tmp_path / "data" / "tokenizer" / "tokenizer.json").write_text("{}")
    config.train.batch_rows = config.eval.batch_rows = 8
    return config


def refused(check, config, workdir="/nowhere") -> list[str]:
    """The lines of the error."""
    with pytest.raises(ConfigError) as raised:
        check(Run(config, workdir))
    return str(raised.value).splitlines()


def test_where_everything_is_there_nothing_is_said(config, tmp_path):
    run = Run(config, tmp_path / "run")
    for check in (check_data, check_before_training, check_before_evaluation, check_before_study):
        check(run)
    assert not run.workdir.exists()


def test_the_built_in_world_is_made_when_it_is_needed(tmp_path):
    config = tiny.get_config()
    config.train.batch_rows = 8
    check_before_training(Run(config, tmp_path))
    check_before_evaluation(Run(config, tmp_path))
    assert not list(tmp_path.iterdir())


def test_addresses_are_not_touched(config):
    config.data.train.videos.update(
        annotations="gs://bucket/train/*.parquet", media_root="gs://bucket/videos"
    )
    check_before_training(Run(config, "/nowhere"))
    config.data.root = "gs://bucket"
    config.data.train.videos.update(annotations="train.json", media_root="")
    (line,) = refused(check_before_training, config)  # a tokenizer is read from a folder
    assert "config.tokenizer = 'tokenizer' leads to the address gs://bucket/tokenizer" in line


def test_annotations_and_media_that_are_not_there_are_named_together(config, tmp_path):
    root = tmp_path / "data"
    config.data.train.videos.update(annotations="world/train/vidoes.json", media_root="medai")
    assert refused(check_before_training, config) == [
        f"config.data.train.videos.annotations: there is no {root}/world/train/vidoes.json; did "
        "you mean videos.json?",
        f"config.data.train.videos.media_root: there is no {root}/medai; did you mean media?",
    ]
    config.data.benchmarks.world_video.annotations = "tests/videos.jsonl"
    assert refused(check_before_evaluation, config) == [
        f"config.data.benchmarks.world_video.annotations: there is no {root}/tests/videos.jsonl, "
        f"only {root}",
    ]
    assert len(refused(check_data, config)) == 3
    assert len(refused(check_before_study, config)) == 3
    config.train.evaluate_every = 2
    assert len(refused(check_before_training, config)) == 3


def test_sets_that_take_no_part_are_not_asked_for(config):
    config.data.train.images.annotations = "nothing.json"  # weight 0
    check_before_training(Run(config, "/nowhere"))
    assert "config.data.train.images.annotations" in refused(check_before_study, config)[0]


@pytest.mark.parametrize("annotations", ["world/train", "world/*/videos.json", "corpus/train"])
def test_folders_patterns_and_splits_of_tfds(config, tmp_path, annotations):
    corpus = tmp_path / "data" / "corpus"
    corpus.mkdir()
    (corpus / "features.json").write_text("{}")
    config.data.train.videos.annotations = annotations
    check_data(Run(config, "/nowhere"))
    shutil.rmtree(corpus)
    shutil.rmtree(tmp_path / "data" / "world" / "train")
    assert "config.data.train.videos.annotations: there is no" in refused(check_data, config)[0]


def test_a_root_that_is_not_there_is_said_once(config):
    config.data.root = "/no/data"
    assert refused(check_before_training, config)[0] == (
        "config.data.root = '/no/data': there is no folder /no/data"
    )


def test_where_training_starts_from(config, tmp_path):
    config.train.init_from = str(tmp_path / "base")
    (line,) = refused(check_before_training, config)
    assert line.startswith(f"config.train.init_from = '{tmp_path}/base': there is no {tmp_path}/b")
    (tmp_path / "base").mkdir()
    (line,) = refused(check_before_training, config)
    assert line.endswith("base has no finished checkpoint; name the --workdir of a training")
    (tmp_path / "base" / "checkpoints" / "4.orbax-checkpoint-tmp").mkdir(parents=True)
    assert len(refused(check_before_training, config)) == 1
    (tmp_path / "base" / "checkpoints" / "4").mkdir()
    check_before_training(Run(config, "/nowhere"))


def test_a_run_that_has_begun_needs_no_start(config, tmp_path):
    config.train.init_from = str(tmp_path / "removed")
    (tmp_path / "run" / "checkpoints" / "2").mkdir(parents=True)
    check_before_training(Run(config, tmp_path / "run"))


def test_rows_that_do_not_divide_among_the_devices(config):
    config.train.batch_rows, config.train.accumulate = 8, 2
    config.eval.batch_rows = 6
    assert refused(check_before_training, config) == [
        "config.train.batch_rows = 8 must be a multiple of config.train.accumulate × data × fsdp "
        "= 2 × 8"
    ]
    assert refused(check_before_evaluation, config) == [
        "config.eval.batch_rows = 6 must be a multiple of data × fsdp = 8"
    ]
    assert len(refused(check_before_study, config)) == 2
    with devices(2):
        check_before_study(Run(config, "/nowhere"))
    config.mesh.update(data=3, fsdp=1)
    assert "does not cover the 8 devices" in refused(check_before_training, config)[0]


def test_training_without_effect(config):
    config.optimizer.learning_rate.update(tower=0.0, projector=0.0, llm=0.0)
    config.lora.eval_scale = 0.5
    config.train.evaluate_every = 2
    config.data.benchmarks = {}
    lines = refused(check_before_training, config)
    assert [line.split(" = ")[0] for line in lines] == [
        "config.optimizer.learning_rate",
        "config.lora.eval_scale",
        "config.train.evaluate_every",
    ]


def test_a_factor_for_experts_needs_some(config):
    config.train.router_coef = 0.01
    assert refused(check_before_training, config) == [
        "config.train.router_coef = 0.01 has no effect: the model has no experts"
    ]


def test_an_evaluation_of_nothing(config):
    config.data.benchmarks = {}
    assert refused(check_before_evaluation, config) == [
        "config.data.benchmarks is empty: there is nothing to evaluate"
    ]


def test_a_tokenizer_that_is_not_there(config, tmp_path):
    config.tokenizer = "tokenizers"
    (line,) = refused(check_before_training, config)
    assert line.startswith(f"config.tokenizer = 'tokenizers': {tmp_path}/data/tokenizers has no")


def test_a_model_is_looked_for_last(config, monkeypatch):
    def download(*_, **__):
        raise AssertionError("nothing is to be downloaded before the data is there")

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    config.model.path, config.tokenizer = "nobody/nothing", ""
    config.data.train.videos.media_root = "nowhere"
    assert "config.data.train.videos.media_root" in refused(check_before_training, config)[0]
    config.data.train.videos.media_root = "media"
    config.model.path = "/no/such/model"
    (line,) = refused(check_before_training, config)
    assert line.startswith("config.model.path = '/no/such/model': ")


def test_a_config_that_names_no_model(config):
    nameless = default.get_config()
    nameless.data.root, nameless.tokenizer = config.data.root, "tokenizer"
    nameless.data.train, nameless.data.benchmarks = config.data.train, config.data.benchmarks
    assert refused(check_before_training, nameless) == [
        "config.model names no model: set config.model.path (a Hugging Face directory or hub id), "
        "config.model.size (3b, 7b, 32b, 72b), or also depth, width, mlp_width, heads, kv_heads, "
        "vocab_size of config.model.text"
    ]
