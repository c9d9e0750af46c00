"""Every key of a config with the check of its value.

Those of configs/default.py, and of the entries that it leaves empty; "*" stands for any name. A key
without a line here is refused, so a new one begins with its line.
"""

from typing import Any

from input_pipeline.annotations import PRESETS
from input_pipeline.annotations.formats import FORMATS
from input_pipeline.examples import MODALITIES
from vsft_jax.config.checks.kinds import (
    Check,
    column_map,
    frame_policy,
    frame_words,
    integer,
    listing,
    local_path,
    mesh_axis,
    name,
    number,
    one_of,
    optional,
    options,
    parameters,
    section,
    text,
    yes_or_no,
)
from vsft_jax.models import FAMILIES
from vsft_jax.models.shared import attention, stacks

_DTYPES = ("float32", "bfloat16")
_TRACKERS = 'different ones of "tensorboard", "wandb", "mlflow"'
_files = optional(integer(0))


def _or_none(check: Check) -> Check:
    """The same check, or None: as the model's own files say, or without a limit."""

    def find(value: Any) -> str | None:
        wrong = None if value is None else check.find(value)
        return wrong and f"{wrong}, or None"

    return Check(find, optional=True)


_pixels = _or_none(integer(1))

KEYS: dict[str, Check] = {
    "seed": integer(0, 2**32 - 1),
    #
    "model.family": one_of(*FAMILIES),
    "model.path": local_path(),
    "model.size": text(),  # of the family's: see `rules`
    "model.vision": section(),  # fields of the family's VisionConfig: see `rules`
    "model.text": section(),
    "model.dtype": one_of(*_DTYPES),
    "model.param_dtype": one_of(*_DTYPES),
    "model.remat": one_of(*stacks.REMAT),
    "model.tower_remat": one_of("", *stacks.REMAT),
    "model.attention": one_of(*attention.IMPLEMENTATIONS),
    "lora.rank": integer(0),
    "lora.alpha": number(above=0),
    "lora.targets": parameters(),
    "lora.eval_scale": number(least=0),
    "tokenizer": text(),
    #
    "data.root": text(),
    "data.train.*.annotations": name(),
    "data.train.*.media_root": optional(text()),
    "data.train.*.format": optional(one_of("", *FORMATS)),
    "data.train.*.preset": optional(one_of("", *PRESETS)),
    "data.train.*.columns": optional(column_map()),
    "data.train.*.weight": optional(number(least=0)),
    "data.mixture": text(),
    "data.epoch": one_of("amounts", "smallest", "largest"),
    "data.replay": text(),
    "data.replay_unit": one_of("tokens", "examples"),
    "data.benchmark_root": local_path(),
    "data.benchmarks.*.annotations": optional(name()),  # or official: see `rules`
    "data.benchmarks.*.media_root": optional(text()),
    "data.benchmarks.*.format": optional(one_of("", *FORMATS)),
    "data.benchmarks.*.preset": optional(one_of("", *PRESETS)),
    "data.benchmarks.*.columns": optional(column_map()),
    "data.benchmarks.*.modality": one_of(*MODALITIES),
    "data.benchmarks.*.window": optional(integer(2)),  # of held texts: see `rules`
    "data.benchmarks.*.official": optional(name()),
    "data.benchmarks.*.options": optional(options()),
    "data.benchmarks.*.partial": optional(yes_or_no()),
    "data.demo_world.seed": _files,
    "data.demo_world.train_images": _files,
    "data.demo_world.train_clips": _files,
    "data.demo_world.val_images": _files,
    "data.demo_world.val_clips": _files,
    "data.demo_world.test_images": _files,
    "data.demo_world.test_clips": _files,
    "data.demo_world.train_texts": _files,
    "data.demo_world.val_texts": _files,
    "data.demo_world.test_texts": _files,
    "data.emoji_world.seed": _files,
    "data.emoji_world.pixels": optional(integer(16)),
    "data.emoji_world.train_images": _files,
    "data.emoji_world.train_clips": _files,
    "data.emoji_world.train_easy": _files,
    "data.emoji_world.test_images": _files,
    "data.emoji_world.test_clips": _files,
    "data.emoji_world.test_easy": _files,
    "data.emoji_world.packages": optional(local_path()),
    "data.emoji_world.npm": optional(text()),
    "data.emoji_world.pypi": optional(text()),
    "data.reasoning": one_of("keep", "drop"),
    "data.workers": integer(1),
    "data.decoder": one_of("processes", "threads"),
    "data.decode_threads": integer(1),
    "data.decode_timeout_s": number(above=0),
    "data.redirect_hosts": listing(name(), "hosts, such as cdn.example.org or *.example.org"),
    "data.cache_dir": local_path(),
    "data.cache_gb": number(above=0),
    "data.max_bad_fraction": number(least=0, most=1),
    "data.prepare_processes": integer(0),
    "data.index_dir": text(),  # a path or an address
    #
    "frames": frame_policy(),
    #
    # Which of the optional ones there are, a family's layout rules say.
    "layout.image_min_pixels": _pixels,
    "layout.image_max_pixels": _pixels,
    "layout.video_min_pixels": _pixels,
    "layout.video_max_pixels": _pixels,
    "layout.video_total_pixels": _or_none(number(above=0)),
    "layout.clip_min_pixels": _pixels,
    "layout.time_mode": _or_none(one_of("float", "hf_int")),
    "layout.fit": _or_none(one_of("crop", "pad", "stretch")),
    "layout.image_max_tiles": _or_none(integer(1)),
    "layout.image_longest_edge": _pixels,
    "layout.image_split": _or_none(yes_or_no()),
    "layout.clip_longest_edge": _pixels,
    "layout.image_tokens": _or_none(integer(1)),
    "layout.frame_tokens": _or_none(integer(1)),
    "layout.row_tokens": integer(1),
    "layout.row_patches": integer(1),
    #
    "train.steps": integer(0),
    "train.epochs": number(least=0),
    "train.batch_rows": integer(0),
    "train.batch_examples": integer(0),
    "train.accumulate": integer(1),
    "train.init_from": text(),  # a path or an address
    "train.only": parameters(),
    "train.log_every": integer(1),
    "train.checkpoint_every": integer(1),
    "train.keep_checkpoints": integer(1),
    "train.verify_checkpoints": yes_or_no(),
    "train.evaluate_every": integer(0),
    "train.evaluate_limit": integer(0),
    "train.loss_chunk": integer(1),
    "train.pack_window": integer(1),
    "train.max_bad_steps": integer(1),
    "train.skip_loss_above": number(least=0),
    "train.router_coef": _or_none(number(least=0)),
    "train.watchdog_seconds": number(least=0),
    "train.trackers": listing(one_of("tensorboard", "wandb", "mlflow"), _TRACKERS, distinct=True),
    "train.profile_at": integer(0),
    "train.profile_steps": integer(1),
    "train.project": name(),
    "train.tpu_options": options(),
    "optimizer.learning_rate.tower": number(least=0),
    "optimizer.learning_rate.projector": number(least=0),
    "optimizer.learning_rate.llm": number(least=0),
    "optimizer.warmup_steps": integer(0),
    "optimizer.final_fraction": number(least=0, most=1),
    "optimizer.b1": number(least=0, below=1),
    "optimizer.b2": number(least=0, below=1),
    "optimizer.eps": number(above=0),
    "optimizer.weight_decay": number(least=0),
    "optimizer.clip_norm": number(above=0),
    "optimizer.mu_dtype": one_of(*_DTYPES),
    "remedy.project": yes_or_no(),
    "remedy.l2": number(least=0),
    "remedy.ewc": number(least=0),
    "remedy.fisher_data": text(),
    "remedy.fisher_steps": integer(1),
    "remedy.distill": number(least=0),
    "remedy.interpolate": number(least=0),
    #
    "mesh.data": mesh_axis(),
    "mesh.fsdp": mesh_axis(),
    "mesh.tensor": mesh_axis(),
    "mesh.context": integer(1),
    #
    "plan.topology": name(),
    "plan.rows": integer(1),
    "plan.search": yes_or_no(),
    "plan.slices": integer(1),
    "plan.compile": yes_or_no(),
    #
    "eval.batch_rows": integer(1),
    "eval.max_new_tokens": integer(1),
    "eval.temperature": number(least=0),
    "eval.top_p": number(above=0, most=1),
    "eval.top_k": integer(0),
    "eval.choices": one_of("written", "likeliest"),
    "eval.frames": frame_words(),
    "eval.limit": integer(0),
    "eval.control": one_of("", "no_visual", "one_frame", "shuffled_frames", "shuffled_options"),
    #
    "budget.benchmarks": listing(name(), "different names of benchmarks", distinct=True),
    #
    "serve.host": name(),
    "serve.port": integer(0, 65535),
    "serve.name": text(),
    "serve.media_root": local_path(),
    "serve.media_hosts": listing(name(), "hosts, such as media.example.org or *.example.org"),
    "serve.max_tokens": integer(1),
    "serve.waiting": integer(1),
    "serve.timeout_s": number(above=0),
    "serve.max_request_mb": number(above=0),
    #
    "export.dtype": one_of(*_DTYPES, "float16"),
    #
    "study.base": section(),  # what becomes of the config with them: see `rules`
    "study.frames.*": frame_policy(),
    "study.infer_frames": listing(integer(1), "different numbers of frames", distinct=True),
    "study.remedies": section(),  # changes by name, as of base
    "study.remedies_of": listing(name(), "different labels of frame policies", distinct=True),
    "study.diagnose": text(),  # a training set: see `rules`
    "study.seeds": listing(integer(0, 2**32 - 1), "different integers >= 0", distinct=True),
}
