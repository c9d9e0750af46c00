"""Copy this file, change what is marked, and fine-tune on your own clips.

    python main.py --config=configs/mine.py --workdir=runs/mine --job=prepare
    python main.py --config=configs/mine.py:frames=hybrid --workdir=runs/mine --job=train
    python main.py --config=configs/mine.py:frames=hybrid --workdir=runs/mine --job=evaluate

As it stands it uses the demo's model, so that it runs anywhere once the paths are set.
"""

from ml_collections import ConfigDict

from configs import common, demo

CANDIDATES = (8, 16, 32, 64)  # CHANGE: the frame counts that policies choose among


def get_config(arg: str | None = None) -> ConfigDict:
    """A config for your own data."""
    args = common.parse_arg(arg, frames="hybrid", init_from="")
    config = demo.get_config()

    # CHANGE: where your files are. Relative paths below start at this folder.
    config.data.root = "/data"
    config.data.demo_world = ConfigDict()  # the built-in data is not needed

    # CHANGE: one entry a data set. Annotations are LLaVA-format JSON or JSONL, docs/data.md.
    config.data.train = ConfigDict(
        {
            "my_clips": {
                "annotations": "my_clips/train.json",
                "media_root": "my_clips/videos",
                "weight": 1.0,
            },
            # Image replay keeps image skill: a quarter of these each epoch.
            "my_pictures": {
                "annotations": "my_pictures/train.json",
                "media_root": "my_pictures/images",
                "weight": 0.25,
            },
        }
    )
    # CHANGE: questions with "task", "format", "answer" and "chance", docs/data.md.
    config.data.benchmarks = ConfigDict(
        {
            "my_test": {
                "annotations": "my_clips/test.jsonl",
                "media_root": "my_clips/videos",
                "modality": "video",
            }
        }
    )
    config.tokenizer = "tokenizer"  # CHANGE: tokenizer.json and a chat template

    config.study.base = ConfigDict()  # the demo's is about the demo's data
    config.frames = ConfigDict(common.frame_spec(args.frames, CANDIDATES))
    config.layout.row_tokens = 2048  # CHANGE: at least your longest example
    config.layout.row_patches = 4096
    config.train.steps = 1000
    config.train.init_from = args.init_from
    return config
