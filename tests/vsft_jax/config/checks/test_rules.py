"""What has to hold between several values."""

import importlib
import pkgutil

import pytest
from ml_collections import ConfigDict

import configs
from configs import default, demo, tiny
from vsft_jax.config import Run
from vsft_jax.config.checks import check_study
from vsft_jax.errors import ConfigError

HYBRID_ODD = {"kind": "hybrid", "candidates": (2, 5)}
JUDGE = {"kind": "judge", "path": "/models/judge"}


def changed(changes: dict) -> ConfigDict:
    """configs/tiny.py with other values, {"train.steps": 3}."""
    config = tiny.get_config()
    for key, value in changes.items():
        *path, last = key.split(".")
        section = config
        for name in path:
            section = section[name]
        section[last] = ConfigDict(value) if isinstance(value, dict) else value
    return config


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        (
            {"train.steps": 0, "train.epochs": 0.0},
            "config.train.steps = 0: set config.train.steps or config.train.epochs",
        ),
        (
            {"train.batch_rows": 0, "train.batch_examples": 0},
            "config.train.batch_rows = 0: set config.train.batch_rows or config.train.batch_exa",
        ),
        (
            {"train.batch_rows": 6, "train.accumulate": 4},
            "config.train.batch_rows = 6: expected a multiple of config.train.accumulate = 4",
        ),
        ({"mesh.data": -1}, "config.mesh = {'context': 1, 'data': -1, 'fsdp': -1, 'tensor': 1}: e"),
        (
            {"mesh.context": 3},
            "config.layout.row_tokens = 256: expected a multiple of config.mesh.context = 3",
        ),
        (
            {"mesh.context": 2, "layout.row_patches": 1020, "model.size": "7b"},
            "config.layout.row_patches = 1020: expected a multiple of 4 × 2 (config.mesh.context)",
        ),
        ({"eval.top_p": 0.9}, "config.eval: top_p = 0.9 and top_k = 0 have no effect"),
        ({"eval.top_k": 5}, "config.eval: top_p = 1.0 and top_k = 5 have no effect"),
        ({"data.mixture": "vidoes"}, "config.data.mixture or .replay names ['vidoes']"),
        ({"data.replay": "images"}, "config.data.train, .mixture, .epoch or .replay: 'images'"),
        ({"data.prepare_processes": 2, "frames": JUDGE}, "config.data.prepare_processes = 2: conf"),
        (
            {"data.prepare_processes": 2, "study.frames.asked": JUDGE},
            "config.data.prepare_processes = 2: config.study.frames.asked asks a model",
        ),
        ({"model.size": "9b"}, "config.model.size = '9b': qwen2_5_vl has 3b, 7b, 32b, 72b"),
        ({"model.text.heads": 0}, "config.model.text.heads = 0: expected an integer >= 1"),
        (
            {"model.text": {"rope_theta": "1"}},
            "config.model.text.rope_theta = '1': exp",
        ),
        (
            {"model.text": {"tie_word_embeddings": 1}},
            "config.model.text.tie_word_embeddings = 1:",
        ),
        (
            {"model.text": {"mrope_section": 8}},
            "config.model.text.mrope_section = 8: exp",
        ),
        ({"model.text.heads": 3, "model.text.kv_heads": 2}, "config.model: text heads 3 must be a"),
        ({"model.text": {"heads": 2}}, "config.model names no model: set config.model.path"),
        ({"layout.row_patches": 383}, "config.layout.row_patches = 383: expected a multiple of 4"),
        ({"layout.fit": "crop"}, "config.layout.fit: the layout rules of qwen2_5_vl have no such"),
        ({"layout.image_min_pixels": 10**6}, "config.layout: image_min_pixels=1000000 must be"),
        ({"frames": {"kind": "fixed", "frames": 3}}, "config.frames: 'frames' must be a multiple"),
        ({"frames": HYBRID_ODD}, "config.frames: 'candidates' must be a multiple of 2"),
        ({"study.frames.odd": HYBRID_ODD}, "config.study.frames.odd: 'candidates' must be a mul"),
    ],
)
def test_what_does_not_go_together_is_named_once(changes, problem):
    with pytest.raises(ConfigError) as raised:
        Run(changed(changes), "")
    (line,) = str(raised.value).splitlines()
    assert line.startswith(problem)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"study.frames": {}}, "config.study.frames is empty"),
        (
            {"study.base.train": {"stesp": 3}},
            "config.study.base.train.stesp: there is no such key; did you mean steps?",
        ),
        (
            {"study.base.train": {"epochs": -1.0}},
            "config.study.base.train.epochs = -1.0: expected a number at least 0",
        ),
        (
            {"study.base.train": {"accumulate": 4}},
            "with config.study.base: config.train.batch_rows = 2: expected a multiple of",
        ),
        (
            {"study.remedies_of": ("hybrd",)},
            "config.study.remedies_of = 'hybrd': no policy of config.study.frames has this label, "
            "they are fixed-2, fixed-16, hybrid, random-matched; did you mean hybrid?",
        ),
        (
            {"study.base.layout": {"row_patches": 161}},
            "with config.study.base: config.layout.row_patches = 161: expected a multiple of 4",
        ),
    ],
)
def test_a_study_s_base_is_a_config_like_others(changes, problem):
    run = Run(changed(changes), "")  # for other jobs
    with pytest.raises(ConfigError) as raised:
        check_study(run.config)
    (line,) = str(raised.value).splitlines()
    assert line.startswith(problem)


def test_several_rules_are_broken_together():
    config = changed({"eval.top_k": 5, "layout.row_patches": 383, "train.accumulate": 3})
    with pytest.raises(ConfigError) as raised:
        Run(config, "")
    assert [line.split(" ")[0] for line in str(raised.value).splitlines()] == [
        "config.train.batch_rows",
        "config.eval:",
        "config.layout.row_patches",
    ]


def test_single_frames_are_fine_where_the_tower_takes_them():
    config = default.get_config()
    config.model.family, config.model.size = "llava_1_5", "7b"
    config.layout = ConfigDict({"row_tokens": 4096, "row_patches": 7 * 577})
    config.frames = ConfigDict({"kind": "fixed", "frames": 3})
    assert Run(config, "").layout.min_frames == 1


def test_a_checkpoint_s_policy_with_a_model_that_cannot_take_it(tmp_path):
    run = Run(changed({"tokenizer": str(tmp_path)}), "")
    with pytest.raises(ConfigError, match="^the frame policy fixed-3: 'frames' must be a multiple"):
        run.index_spec({"kind": "fixed", "frames": 3})


def test_a_config_without_training_sets_is_for_other_jobs():
    config = demo.get_config()
    config.data.train = ConfigDict()
    assert not Run(config, "").config.data.train


CONFIGS = [m.name for m in pkgutil.walk_packages(configs.__path__, "configs.") if not m.ispkg]


@pytest.mark.parametrize("name", CONFIGS)
def test_every_config_passes(name):
    module = importlib.import_module(name)
    if name.startswith("configs.common."):
        return
    try:
        config = module.get_config()
    except ModuleNotFoundError as error:
        pytest.skip(str(error))
    run = Run(config, "")
    if config.study.frames:
        check_study(run.config)


def test_lists_are_as_good_as_tuples():
    config = changed({"model.text.mrope_section": [2, 3, 3]})
    assert hash(Run(config, "").architecture) == hash(Run(tiny.get_config(), "").architecture)
