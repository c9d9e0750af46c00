"""Copy this file, change the lines marked CHANGE, and fine-tune a released model on your own clips.

    cp configs/forkme.py configs/mine.py
    vsft --config=configs/mine.py --workdir=runs/mine --job=prepare   # what it makes of your files
    vsft --config=configs/mine.py --workdir=runs/mine --job=train
    vsft --workdir=runs/mine --job=evaluate
    vsft --config=configs/mine.py --workdir=runs/study --job=study    # policies side by side

Everything that is not here is as the model was published, or as configs/default.py says. Arguments:
path= another model directory; frames= a number or hybrid, instruction, similarity, duration,
random; init_from= another run's workdir.
"""

from ml_collections import ConfigDict

from configs import common
from configs import qwen2_5_vl as family  # CHANGE: the family of your model, a file of configs/

MODEL = "/models/Qwen2.5-VL-3B-Instruct"  # CHANGE: a Hugging Face directory, or a hub id
DATA = "/data"  # CHANGE: where your files are; relative paths below start here
CANDIDATES = (8, 16, 32, 64)  # the frame counts that the study's policies choose among


def get_config(arg: str | None = None) -> ConfigDict:
    """A config for your own data."""
    args = common.parse_arg(arg, path=MODEL, frames="hybrid", init_from="")
    config = family.get_config(f"path={args.path},frames={args.frames},init_from={args.init_from}")

    # CHANGE: one entry a data set. docs/data.md shows the formats, which are told from the files.
    config.data.root = DATA
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
    # CHANGE: questions with "task", "format", "answer" and "chance", docs/data.md. With pictures
    # and clips among them, the report shows what the one gains and the other loses.
    config.data.benchmarks = ConfigDict(
        {
            "my_clip_test": {
                "annotations": "my_clips/test.jsonl",
                "media_root": "my_clips/videos",
                "modality": "video",
            },
            "my_picture_test": {
                "annotations": "my_pictures/test.jsonl",
                "media_root": "my_pictures/images",
                "modality": "image",
            },
        }
    )

    config.train.epochs = 1.0
    # About as many examples in a step whatever the frame policy: so policies can be compared.
    config.train.batch_rows = 0
    config.train.batch_examples = 64
    config.train.checkpoint_every = 200

    # What --job=study compares with the released model: two fixed counts, the rule, its control.
    words = ("8", "32", "hybrid", "random")
    config.study.frames = ConfigDict(
        {f"frames_{word:0>2}": common.frame_spec(word, CANDIDATES) for word in words}
    )
    return config
