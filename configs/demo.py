"""The built-in demo: a 2-million-parameter model and a small rendered world, on two CPU cores.

    vsft --config=configs/demo.py --workdir=runs/demo --job=study

trains a base on images and a few clips, then fine-tunes it on clips with two and with sixteen
frames, with the hybrid rule and with its random-matched control, evaluates all of them on images
and on clips and writes runs/demo/report.html. With `:full` it is the study of docs/study.md:
more policies, a longer base, remedies and five seeds.

Arguments: frames=8 (or hybrid, random, instruction, similarity, duration) trains one model with
that frame policy; stage=base trains on images instead of clips; init_from=DIR starts from another
run's model; learned=FILE adds the predictor that --job=budget wrote to the study's policies;
remedies=false leaves the remedies out of the full study.

    vsft --config=configs/demo.py:stage=base --workdir=runs/base --job=train
    vsft --config=configs/demo.py:frames=4,init_from=runs/base --workdir=runs/f4
"""

from typing import Any

from ml_collections import ConfigDict

from configs import common, default

CANDIDATES = (2, 4, 8, 16)
# The hybrid rule's gaps, a quarter of its defaults: clips last seconds here, events parts of one.
GAP_SECONDS = {"low": 4.0, "low-medium": 1.0, "medium": 0.5, "high": 0.25}

# What is tried against the loss of image skill, each with the hybrid rule. Strengths were set
# beforehand and not tuned.
_LORA: dict[str, dict[str, Any]] = {
    "lora": {"rank": 8, "alpha": 16.0},
    "optimizer": {"learning_rate": {"tower": 0.0, "projector": 0.0}},
}
_REPLAY = {"data": {"replay": "images%10"}}
REMEDIES: dict[str, dict[str, Any]] = {
    "low-rate": {"optimizer": {"learning_rate": {"tower": 1e-4, "projector": 1e-4, "llm": 1e-4}}},
    "replay-1": {"data": {"replay": "images%1"}},
    "replay-5": {"data": {"replay": "images%5"}},
    "replay-10": _REPLAY,
    "attention": {"train": {"only": "attention"}},
    "gate-up": {"train": {"only": "gate_up"}},
    "frozen-tower": {"optimizer": {"learning_rate": {"tower": 0.0}}},
    "lora": _LORA,
    "lora-quarter": {**_LORA, "lora": {**_LORA["lora"], "eval_scale": 0.25}},
    "quarter-way": {"remedy": {"interpolate": 0.25}},
    "half-way": {"remedy": {"interpolate": 0.5}},
    "three-quarters": {"remedy": {"interpolate": 0.75}},
    "project": {**_REPLAY, "remedy": {"project": True}},
    "l2": {"remedy": {"l2": 0.01}},
    "ewc": {"remedy": {"ewc": 0.01, "fisher_data": "images"}},
    "distill": {**_REPLAY, "remedy": {"distill": 1.0}},
}


def get_config(arg: str | None = None) -> ConfigDict:
    """The demo's config; see the module's docstring for the arguments."""
    args = common.parse_arg(
        arg,
        frames="hybrid",
        stage="sft",
        init_from="",
        full=False,
        learned="",
        remedies=True,
    )
    if args.stage not in ("base", "sft"):
        raise ValueError(f"config argument stage={args.stage!r}: expected base or sft")
    config = default.get_config()

    # --- Data: rendered on first use into <data.root>/world. -----------------------------------
    config.data.demo_world = ConfigDict(
        {
            "seed": 0,
            "train_images": 4000,
            "train_clips": 2500,
            "val_images": 150,
            "val_clips": 150,
            "test_images": 400,
            "test_clips": 400,
            "train_texts": 800,
            "val_texts": 75,
            "test_texts": 200,
        }
    )
    config.tokenizer = "world/tokenizer"
    config.data.train = ConfigDict(
        {
            "images": _dataset("train/images.json", weight=0.0),
            "videos": _dataset("train/videos.json", weight=0.5),
            # For the base model.
            "seen_clips": _dataset("train/videos_base.json", weight=0.0),
            "texts": _dataset("train/texts.json", weight=0.0),
        }
    )
    config.data.benchmarks = ConfigDict(
        {
            "world_image": _dataset("test/images.jsonl", modality="image"),
            "world_video": _dataset("test/videos.jsonl", modality="video"),
            "world_text": _dataset("test/texts.jsonl", modality="text"),
            "world_held": {
                "annotations": "world/test/held_texts.jsonl",
                "modality": "held_text",
                "window": 256,
            },
        }
    )
    config.data.workers = 2
    config.frames = ConfigDict(frames(args.frames))

    # --- Model: the shape of Qwen2.5-VL, small enough for a laptop. ----------------------------
    config.model.vision = ConfigDict(
        {
            "depth": 3,
            "width": 96,
            "mlp_width": 256,
            "heads": 4,
            "fullatt_block_indexes": (0, 2),
            "window_size": 56,
        }
    )
    config.model.text = ConfigDict(
        {
            "depth": 4,
            "width": 128,
            "mlp_width": 384,
            "heads": 4,
            "kv_heads": 2,
            "head_dim": 32,
            "mrope_section": (4, 6, 6),
            "rope_theta": 100.0,  # sequences are short
            "vocab_size": 640,
            "tie_word_embeddings": True,
        }
    )
    config.model.dtype = "float32"
    config.model.remat = "none"
    config.layout.image_min_pixels = 28 * 28
    config.layout.image_max_pixels = 112 * 112
    config.layout.video_min_pixels = 56 * 56
    config.layout.video_max_pixels = 56 * 84
    config.layout.row_tokens = 256
    config.layout.row_patches = 384

    # --- Training. -----------------------------------------------------------------------------
    # Every policy sees the same examples in as many steps; a cheaper one takes fewer rows.
    config.train.epochs = 1.0
    config.train.batch_rows = 0
    config.train.batch_examples = 16
    config.train.checkpoint_every = 500
    config.train.keep_checkpoints = 1
    config.train.loss_chunk = 256
    config.train.log_every = 20
    config.train.init_from = args.init_from
    config.optimizer.learning_rate = ConfigDict({"tower": 1e-3, "projector": 1e-3, "llm": 1e-3})
    config.optimizer.warmup_steps = 20
    config.optimizer.weight_decay = 0.01
    config.eval.batch_rows = 32
    config.eval.max_new_tokens = 24

    # --- Study: what stands here was written before any of its models was trained. ------------
    config.study.base = ConfigDict(
        {
            "data": {
                "train": {
                    "images": {"weight": 1.0},
                    "seen_clips": {"weight": 1.0},  # 11 % of the base's examples
                    "texts": {"weight": 1.0},  # 15 %, without a picture
                    "videos": {"weight": 0.0},
                }
            },
            # Any number of frames to any question, so that neither is foreign, and none a hint.
            "frames": {
                "kind": "random_matched",
                "histogram": {str(count): 1 for count in CANDIDATES},
                "label": "any",
            },
            "train": {"epochs": 8.0 if args.full else 2.0, "batch_examples": 8},
            "layout": {"row_patches": 256},
        }
    )
    words: tuple[str, ...] = ("2", "16", "hybrid", "random")
    if args.full:
        words = ("2", "4", "8", "16", "hybrid", "random", "typed")
    config.study.frames = ConfigDict({f"frames_{word:0>2}": frames(word) for word in words})
    if args.learned:
        config.study.frames.frames_learned = ConfigDict(frames(f"learned:{args.learned}"))
    config.study.infer_frames = CANDIDATES if args.full else ()
    if args.full:
        config.study.remedies = ConfigDict(REMEDIES if args.remedies else {})
        config.study.remedies_of = ("hybrid",)
        config.study.diagnose = "images"
    config.study.seeds = (0, 1, 2, 3, 4) if args.full else (0,)
    if args.stage == "base":
        changes = config.study.base.to_dict()
        config.frames = ConfigDict(changes.pop("frames"))
        config.update(changes)
    return config


def _dataset(annotations: str, **more: str | float) -> dict[str, str | float]:
    return {"annotations": f"world/{annotations}", "media_root": "world", **more}


def frames(word: str) -> dict[str, Any]:
    """The frame policy that a short word stands for in this world, see `common.frame_spec`."""
    return common.frame_spec(word, CANDIDATES, gap_seconds=GAP_SECONDS)
