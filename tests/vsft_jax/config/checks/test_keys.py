"""Every key of configs/default.py has its check, and every check refuses what it should."""

import inspect
import math
import time
from typing import Any

import pytest
from ml_collections import ConfigDict

from configs import default, tiny
from configs.studies import emoji
from demo_world import generate_world
from emoji_world import generate_emoji_world
from vsft_jax.config import Run
from vsft_jax.config.checks import KEYS
from vsft_jax.errors import ConfigError

DTYPE = ('one of "float32", "bfloat16"', "fp16", "", 16)
SECTION = ("a mapping", "", 3)
TEXT = ("a string", 3, None, ("a",))
NAME = ("a string that is not empty", "", 3, None)
LOCAL = ("", "gs://bucket/folder", 3)
AT_LEAST_0 = ("an integer >= 0", -1, 1.0, True, "3", None, math.nan)
AT_LEAST_1 = ("an integer >= 1", 0, -4, 2.0, True, "3", None, math.nan)
AT_LEAST_1_OR_NONE = ("an integer >= 1, or None", 0, -4, 2.0, True, "3", math.nan)
NOT_NEGATIVE = ("a number at least 0", -1e-5, math.nan, math.inf, "1", True, None)
POSITIVE = ("a number above 0", 0, 0.0, -1.0, math.nan, math.inf, "1", True)
FRACTION = ("a number at least 0 and at most 1", -0.1, 1.1, math.nan, "1", True)
BELOW_1 = ("a number at least 0 and below 1", -0.1, 1.0, 2, math.nan, "0.9", False)
SEED = ("an integer from 0 to 4294967295", -1, 2**32, 0.5, True, None)
FORMAT = ('one of "", ', "llava", 3)
PRESET = ('one of "", "llava_video_178k", ', "llava", 3)
COLUMNS = ("", "video", 3, {"video": "video_id"}, {"question": "{q"}, {"questions": "{qa}"})
PATTERN = ("one of attention, gate_up, linear, or a regular expression", "llm/(q", 3)
FRAMES = ("", {"kind": "fixd"}, {"frames": 8}, {"kind": "fixed", "frames": 0}, "hybrid")
AXIS = ("an integer >= 1, or -1", 0, -2, 1.0, True, "1", None)
YES = ("True or False", 1, 0, "true", None)

# By key what is expected, and values that are not.
BAD: dict[str, tuple[Any, ...]] = {
    "seed": SEED,
    "model.family": ('one of "qwen2_5_vl", ', "qwen2_5", "", None),
    "model.path": LOCAL,
    "model.size": TEXT,
    "model.vision": SECTION,
    "model.text": SECTION,
    "model.dtype": DTYPE,
    "model.param_dtype": DTYPE,
    "model.remat": ('one of "none", "full", ', "all", True, None),
    "model.tower_remat": ('one of "", "none", ', "all", True, None),
    "model.attention": ('one of "auto", ', "flash", True),
    "lora.rank": AT_LEAST_0,
    "lora.alpha": POSITIVE,
    "lora.targets": PATTERN,
    "lora.eval_scale": NOT_NEGATIVE,
    "tokenizer": TEXT,
    "data.root": TEXT,
    "data.train.*.annotations": NAME,
    "data.train.*.media_root": TEXT,
    "data.train.*.format": FORMAT,
    "data.train.*.preset": PRESET,
    "data.train.*.columns": COLUMNS,
    "data.train.*.weight": NOT_NEGATIVE,
    "data.mixture": TEXT,
    "data.epoch": ('one of "amounts", "smallest", "largest"', "longest", "", 1),
    "data.replay": TEXT,
    "data.replay_unit": ('one of "tokens", "examples"', "words", ""),
    "data.benchmark_root": LOCAL,
    "data.benchmarks.*.annotations": NAME,
    "data.benchmarks.*.media_root": TEXT,
    "data.benchmarks.*.format": FORMAT,
    "data.benchmarks.*.preset": PRESET,
    "data.benchmarks.*.columns": COLUMNS,
    "data.benchmarks.*.modality": (
        'one of "image", "video", "text", "held_text"',
        "vidoe",
        "",
        None,
    ),
    "data.benchmarks.*.window": ("an integer >= 2", 1, 2.5, "8", None),
    "data.benchmarks.*.official": NAME,
    "data.benchmarks.*.options": ("a mapping from names", 3, "subtitles", {"a": None}),
    "data.benchmarks.*.partial": YES,
    "data.demo_world.seed": AT_LEAST_0,
    "data.demo_world.train_images": AT_LEAST_0,
    "data.demo_world.train_clips": AT_LEAST_0,
    "data.demo_world.val_images": AT_LEAST_0,
    "data.demo_world.val_clips": AT_LEAST_0,
    "data.demo_world.test_images": AT_LEAST_0,
    "data.demo_world.test_clips": AT_LEAST_0,
    "data.demo_world.train_texts": AT_LEAST_0,
    "data.demo_world.val_texts": AT_LEAST_0,
    "data.demo_world.test_texts": AT_LEAST_0,
    "data.emoji_world.seed": AT_LEAST_0,
    "data.emoji_world.pixels": ("an integer >= 16", 8, 1.5, "a"),
    "data.emoji_world.train_images": AT_LEAST_0,
    "data.emoji_world.train_clips": AT_LEAST_0,
    "data.emoji_world.train_easy": AT_LEAST_0,
    "data.emoji_world.test_images": AT_LEAST_0,
    "data.emoji_world.test_clips": AT_LEAST_0,
    "data.emoji_world.test_easy": AT_LEAST_0,
    "data.emoji_world.packages": LOCAL,
    "data.emoji_world.npm": TEXT,
    "data.emoji_world.pypi": TEXT,
    "data.reasoning": ('one of "keep", "drop"', "field", ""),
    "data.workers": AT_LEAST_1,
    "data.decoder": ('one of "processes", "threads"', "fork", ""),
    "data.decode_threads": AT_LEAST_1,
    "data.decode_timeout_s": POSITIVE,
    "data.redirect_hosts": ("a list of hosts", "cdn.example.org", ("",), 3),
    "data.cache_dir": LOCAL,
    "data.cache_gb": POSITIVE,
    "data.max_bad_fraction": FRACTION,
    "data.prepare_processes": AT_LEAST_0,
    "data.index_dir": TEXT,
    "frames": FRAMES,
    "layout.image_min_pixels": AT_LEAST_1_OR_NONE,
    "layout.image_max_pixels": AT_LEAST_1_OR_NONE,
    "layout.video_min_pixels": AT_LEAST_1_OR_NONE,
    "layout.video_max_pixels": AT_LEAST_1_OR_NONE,
    "layout.video_total_pixels": POSITIVE,
    "layout.clip_min_pixels": AT_LEAST_1_OR_NONE,
    "layout.time_mode": ('one of "float", "hf_int", or None', "int", 3),
    "layout.fit": ('one of "crop", "pad", "stretch", or None', "cut", 3),
    "layout.image_max_tiles": AT_LEAST_1_OR_NONE,
    "layout.image_longest_edge": AT_LEAST_1_OR_NONE,
    "layout.image_split": ("True or False, or None", "often", 3),
    "layout.image_tokens": AT_LEAST_1_OR_NONE,
    "layout.frame_tokens": AT_LEAST_1_OR_NONE,
    "layout.clip_longest_edge": AT_LEAST_1_OR_NONE,
    "layout.row_tokens": AT_LEAST_1,
    "layout.row_patches": AT_LEAST_1,
    "train.steps": AT_LEAST_0,
    "train.epochs": NOT_NEGATIVE,
    "train.batch_rows": AT_LEAST_0,
    "train.batch_examples": AT_LEAST_0,
    "train.accumulate": AT_LEAST_1,
    "train.init_from": TEXT,
    "train.only": PATTERN,
    "train.log_every": AT_LEAST_1,
    "train.checkpoint_every": AT_LEAST_1,
    "train.keep_checkpoints": AT_LEAST_1,
    "train.verify_checkpoints": YES,
    "train.evaluate_every": AT_LEAST_0,
    "train.evaluate_limit": AT_LEAST_0,
    "train.loss_chunk": AT_LEAST_1,
    "train.pack_window": AT_LEAST_1,
    "train.trackers": ('ones of "tensorboard", ', ("tensorbord",), ("wandb", "wandb"), "wandb", 3),
    "train.profile_at": AT_LEAST_0,
    "train.profile_steps": AT_LEAST_1,
    "train.project": NAME,
    "train.max_bad_steps": AT_LEAST_1,
    "train.skip_loss_above": NOT_NEGATIVE,
    "train.router_coef": ("a number at least 0, or None", -1e-5, math.nan, math.inf, "1", True),
    "train.watchdog_seconds": NOT_NEGATIVE,
    "train.tpu_options": ("a mapping", "", 3, {"xla_flag": None}),
    "optimizer.learning_rate.tower": NOT_NEGATIVE,
    "optimizer.learning_rate.projector": NOT_NEGATIVE,
    "optimizer.learning_rate.llm": NOT_NEGATIVE,
    "optimizer.warmup_steps": AT_LEAST_0,
    "optimizer.final_fraction": FRACTION,
    "optimizer.b1": BELOW_1,
    "optimizer.b2": BELOW_1,
    "optimizer.eps": POSITIVE,
    "optimizer.weight_decay": NOT_NEGATIVE,
    "optimizer.clip_norm": POSITIVE,
    "optimizer.mu_dtype": DTYPE,
    "remedy.project": YES,
    "remedy.l2": NOT_NEGATIVE,
    "remedy.ewc": NOT_NEGATIVE,
    "remedy.fisher_data": TEXT,
    "remedy.fisher_steps": AT_LEAST_1,
    "remedy.distill": NOT_NEGATIVE,
    "remedy.interpolate": NOT_NEGATIVE,
    "mesh.data": AXIS,
    "mesh.fsdp": AXIS,
    "mesh.tensor": AXIS,
    "mesh.context": AT_LEAST_1,
    "plan.topology": NAME,
    "plan.rows": AT_LEAST_1,
    "plan.search": YES,
    "plan.compile": YES,
    "plan.slices": AT_LEAST_1,
    "eval.batch_rows": AT_LEAST_1,
    "eval.max_new_tokens": AT_LEAST_1,
    "eval.temperature": NOT_NEGATIVE,
    "eval.top_p": ("a number above 0 and at most 1", 0.0, 1.5, math.nan, "1", True),
    "eval.top_k": AT_LEAST_0,
    "eval.frames": ('"checkpoint", "config" or numbers', "both", "", "4+", "0", "4,8", 8),
    "eval.limit": AT_LEAST_0,
    "eval.choices": ('one of "written", "likeliest"', "first", None),
    "eval.control": ('one of "", "no_visual"', "blind", None),
    "budget.benchmarks": ("a list of different names", "clips", ("",), ("a", "a"), 3),
    "serve.host": NAME,
    "serve.port": ("an integer from 0 to 65535", -1, 65536, "8000", None),
    "serve.name": TEXT,
    "serve.media_root": LOCAL,
    "serve.media_hosts": ("a list of hosts", "cdn.example.org", ("",), 3),
    "serve.max_tokens": AT_LEAST_1,
    "serve.waiting": AT_LEAST_1,
    "serve.timeout_s": POSITIVE,
    "serve.max_request_mb": POSITIVE,
    "export.dtype": DTYPE,
    "study.base": SECTION,
    "study.frames.*": FRAMES,
    "study.infer_frames": ("a list of different numbers of frames", 8, (0,), (8, 8), ("8",)),
    "study.remedies": SECTION,
    "study.remedies_of": ("a list of different labels", "hybrid", ("",), (3,), ("a", "a")),
    "study.diagnose": TEXT,
    "study.seeds": ("a list of different integers >= 0", 0, "0", (-1,), (1.0,), (0, 0), (True,)),
}


def changed(key: str, value: Any) -> ConfigDict:
    """configs/tiny.py with another value, of any type; "*" is the first entry."""
    values = tiny.get_config().to_dict()
    *path, last = key.split(".")
    section = values
    for name in path:
        section = section[next(iter(section)) if name == "*" else name]
    section[next(iter(section)) if last == "*" else last] = value
    return ConfigDict(values)


def keys_of(values: dict[str, Any], prefix: str = "") -> set[str]:
    """The keys of a config that have values; a section that KEYS names is one."""
    found = set()
    for name, value in values.items():
        key = f"{prefix}{name}"
        if isinstance(value, dict) and key not in KEYS:
            below = keys_of(value, f"{key}.")
            found |= below or {f"{key}.*"}
        else:
            found.add(key)
    return found


def test_every_key_has_a_check_and_every_check_a_key():
    entries = {"data.train.*", "data.benchmarks.*", "data.demo_world.*", "data.emoji_world.*"}
    keys = keys_of(default.get_config().to_dict())
    assert entries < keys
    covered = {key for key in KEYS if not any(key.startswith(e[:-1]) for e in entries)}
    # Not of default.py's family.
    families = {"fit", "image_max_tiles", "clip_min_pixels"}
    families |= {"image_longest_edge", "image_split", "clip_longest_edge"}
    families |= {"image_tokens", "frame_tokens"}
    families = {f"layout.{key}" for key in families}
    assert covered - families == keys - entries
    assert set(BAD) == set(KEYS)


def test_what_the_demo_world_takes_can_be_said():
    sizes = [name for name in inspect.signature(generate_world).parameters if name != "directory"]
    known = [key.rpartition(".")[2] for key in KEYS if key.startswith("data.demo_world.")]
    assert known == [name for name in sizes if name != "progress"]


def test_what_the_emoji_world_takes_can_be_said():
    takes = list(inspect.signature(generate_emoji_world).parameters)
    known = [key.rpartition(".")[2] for key in KEYS if key.startswith("data.emoji_world.")]
    assert known == [name for name in takes if name not in ("directory", "pins")]
    assert set(emoji.get_config().data.emoji_world) == set(known)


CASES = [(key, expected, value) for key, (expected, *values) in BAD.items() for value in values]


@pytest.mark.parametrize(("key", "expected", "value"), CASES)
def test_a_wrong_value_is_named_with_what_is_expected(key, expected, value):
    with pytest.raises(ConfigError) as raised:
        Run(changed(key, value), "")
    (line,) = str(raised.value).splitlines()
    assert line.startswith("config." + key.split("*")[0].rstrip("."))
    assert line.split(": ")[0].split(" = ")[0].endswith(key.rpartition("*")[2])
    assert expected in line
    if not isinstance(value, dict):
        assert f" = {value!r}: " in line


@pytest.mark.parametrize("key", [key for key in BAD if not KEYS[key].optional and "*" not in key])
def test_a_missing_key_is_named(key):
    config = changed(key, None).to_dict()
    *path, last = key.split(".")
    section = config
    for name in path:
        section = section[name]
    del section[last]
    with pytest.raises(ConfigError, match=f"^config.{key} is missing$"):
        Run(ConfigDict(config), "")


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("train.stesp", "did you mean steps?"),
        ("steps", "did you mean config.train.steps?"),
        ("data.train.videos.mediaroot", "did you mean media_root?"),
        ("data.benchmarks.world_video.modalty", "did you mean modality?"),
        ("data.demo_world.train_videos", "did you mean train_images?"),
        ("model.vision.widht", "did you mean width?"),
        ("model.text.depht", "did you mean depth?"),
        ("optimizer.learning_rate.projektor", "did you mean projector?"),
        ("mesh.zzz", "config.mesh has data, fsdp, tensor, context"),
    ],
)
def test_an_unknown_key_is_named_with_the_nearest(key, meant):
    with pytest.raises(ConfigError) as raised:
        Run(changed(key, 1), "")
    assert str(raised.value) == f"config.{key}: there is no such key; {meant}"


def test_a_section_that_is_a_value():
    with pytest.raises(ConfigError, match="^config.train = 3: expected a mapping"):
        Run(changed("train", 3), "")
    with pytest.raises(ConfigError, match="^config.data.train.images = 'a.json': expected a map"):
        Run(changed("data.train.*", "a.json"), "")


def test_problems_come_together_in_five_lines_at_most():
    config = tiny.get_config()
    config.train.update(steps=-5, batch_rows=-4)
    config.optimizer.b2 = 2.0
    config.model.dtype = "fp16"
    with pytest.raises(ConfigError) as raised:
        Run(config, "")
    assert len(str(raised.value).splitlines()) == 4
    config.seed = -1
    with pytest.raises(ConfigError) as raised:
        Run(config, "")
    assert len(str(raised.value).splitlines()) == 5
    config.train.update(log_every=0, accumulate=0)
    with pytest.raises(ConfigError) as raised:
        Run(config, "")
    lines = str(raised.value).splitlines()
    assert len(lines) == 5 and lines[-1] == "… and 3 more"


def test_a_consensus_policy_can_be_run():
    specs = [{"kind": "fixed", "frames": frames} for frames in (2, 4)]
    config = changed("frames", {"kind": "consensus", "of": specs})
    assert Run(config, "").config.frames.to_dict()["of"] == specs


def test_checking_takes_no_time():
    config = tiny.get_config()
    Run(config, "")
    start = time.process_time()
    for _ in range(5):
        Run(config, "")
    assert time.process_time() - start < 5 * 0.05
