"""The study with pictures and clips that nobody made for it: animated emoji and easy-vqa.

    vsft --config=configs/studies/emoji.py --workdir=runs/emoji --job=study

fetches six packages (750 MB, once) into the user's cache, makes the data set of them and runs the
study on it: the demo's tiny model, two and eight frames, the hybrid rule, its random-matched
control, and replay; the characters asked about are none of those trained on. docs/emoji_world.md.
Arguments: size= small (two CPU cores) or large (a GPU or a TPU: four times the data, a model of 63
million parameters, more policies, the demo's remedies, five seeds); path= a released Qwen2.5-VL
instead, whose base is not trained; names also asks which of four characters it is, which only a
model that knows the world can say of new ones. The packages' folder and registries:
--config.data.emoji_world.packages=DIR, .npm=URL, .pypi=URL.
"""

from ml_collections import ConfigDict

from configs import common, demo, qwen2_5_vl

SIZES = ("small", "large")
# Pictures and clips by size. pixels: side of a picture, height of a clip.
_DATA = {
    "small": {"pixels": 112, "train_images": 4000, "train_clips": 2500, "train_easy": 2000},
    "large": {"pixels": 224, "train_images": 16000, "train_clips": 10000, "train_easy": 8000},
}
_ASKED = {"test_images": 400, "test_clips": 560, "test_easy": 300}
_FROM = {"packages": "", "npm": "", "pypi": ""}  # the user's cache, the public registries
_ALL = ("2", "4", "8", "16", "hybrid", "random", "typed")
_REPLAY = {"replay-10": {"data": {"replay": "images%10"}}}


def get_config(arg: str | None = None) -> ConfigDict:
    """The study's config; see the module's docstring for the arguments."""
    args = common.parse_arg(arg, size="small", path="", names=False)
    if args.size not in SIZES:
        raise ValueError(f"config argument size={args.size!r}: expected one of {', '.join(SIZES)}")
    large = args.size == "large" or bool(args.path)
    config = _released(args.path) if args.path else _tiny(large)
    config.data.demo_world = ConfigDict()
    made = _DATA["large" if large else "small"]
    config.data.emoji_world = ConfigDict({"seed": 0, **made, **_ASKED, **_FROM})
    config.data.train = ConfigDict(
        {
            "images": _dataset("train/images.json", weight=0.0),
            "easy_vqa": _dataset("train/easy_vqa.json", weight=0.0),
            "videos": _dataset("train/videos.json", weight=1.0),
            "seen_clips": _dataset("train/videos_base.json", weight=0.0),  # for the base model
        }
    )
    asked = {
        "emoji_image": _dataset("test/images.jsonl", modality="image"),
        "easy_vqa": _dataset("test/easy_vqa.jsonl", modality="image"),
        "emoji_video": _dataset("test/videos.jsonl", modality="video"),
    }
    if args.names or args.path:
        config.data.train.names = _dataset("train/images_names.json", weight=0.0)
        config.data.train.named_clips = _dataset("train/videos_names.json", weight=1.0)
        if not args.path:
            config.study.base.data.train.update(names={"weight": 1.0}, named_clips={"weight": 0.0})
        asked["names_image"] = _dataset("test/images_names.jsonl", modality="image")
        asked["names_video"] = _dataset("test/videos_names.jsonl", modality="video")
    config.data.benchmarks = ConfigDict(asked)
    return config


def _tiny(large: bool) -> ConfigDict:
    """The demo's model and study, on other data; the large one with more of everything."""
    config = demo.get_config("full" if large else None)
    config.tokenizer = "emoji_world/tokenizer"
    config.model.text.vocab_size = 704  # names of characters: all of the tokenizer's entries
    words = (
        ("2", "4", "8", "16", "hybrid", "random", "typed")
        if large
        else ("2", "8", "hybrid", "random")
    )
    config.study.frames = ConfigDict({f"frames_{word:0>2}": demo.frames(word) for word in words})
    config.study.remedies = ConfigDict(demo.REMEDIES if large else _REPLAY)
    config.study.remedies_of = ("hybrid",)
    config.study.base.data.train = ConfigDict(
        {
            "images": {"weight": 1.0},
            "easy_vqa": {"weight": 1.0},
            "seen_clips": {"weight": 1.0},
            "videos": {"weight": 0.0},
        }
    )
    config.study.base.train.epochs = 12.0
    if not large:
        return config
    config.model.vision.update(depth=12, width=384, mlp_width=1024, heads=6)
    config.model.vision.fullatt_block_indexes = (3, 7, 11)
    config.model.text.update(depth=12, width=512, mlp_width=1536, heads=8, kv_heads=4, head_dim=64)
    config.model.text.mrope_section = (8, 12, 12)
    config.model.dtype = "bfloat16"
    config.layout.image_max_pixels = 224 * 224
    config.layout.video_max_pixels = 112 * 168
    config.layout.row_tokens = 1024
    config.layout.row_patches = 4096
    config.study.base.layout.row_patches = 4096
    config.optimizer.learning_rate = ConfigDict({"tower": 3e-4, "projector": 3e-4, "llm": 3e-4})
    return config


def _released(path: str) -> ConfigDict:
    """Qwen2.5-VL from its files, with the study of configs/studies/paper.py at fewer frames: clips
    last two to six seconds."""
    config = qwen2_5_vl.get_config(f"path={path}")
    config.train.epochs = 1.0
    config.train.batch_rows = 0
    config.train.batch_examples = 64
    config.optimizer.learning_rate = ConfigDict({"tower": 2e-6, "projector": 1e-5, "llm": 1e-5})
    config.frames = ConfigDict(demo.frames("hybrid"))
    config.study.frames = _policies(_ALL)
    config.study.infer_frames = demo.CANDIDATES
    config.study.remedies = ConfigDict(_REPLAY)
    config.study.remedies_of = ("hybrid",)
    config.study.seeds = (0, 1, 2)
    return config


def _policies(words: tuple[str, ...]) -> ConfigDict:
    return ConfigDict({f"frames_{word:0>2}": demo.frames(word) for word in words})


def _dataset(annotations: str, **more: str | float) -> dict[str, str | float]:
    return {"annotations": f"emoji_world/{annotations}", "media_root": "emoji_world", **more}
