"""What the tests of the demo world build, and how they read it."""

import json

import av
import numpy as np

from demo_world import generate

SMALL = {"train_images": 60, "train_clips": 40, "val_images": 9, "val_clips": 7}
SMALL |= {"test_images": 60, "test_clips": 70}
TEXTS = {"train_texts": 20, "val_texts": 5, "test_texts": 20}
SMALL |= TEXTS
TINY = dict.fromkeys(SMALL, 1)


def records(world, split, kind):
    """The annotations of a split; for evaluation those of all tasks."""
    if split == "train":
        return json.loads(world.annotations(split, kind).read_text())
    texts = [world.annotations(split, kind, part).read_text() for part in ("", "other")]
    return [json.loads(line) for text in texts for line in text.splitlines()]


def read_clip(path):
    """uint8[F, H, W, 3]."""
    with av.open(str(path)) as container:
        return np.stack([f.to_ndarray(format="rgb24") for f in container.decode(video=0)])


def scenes(kind, split, count):
    """The first scenes of a split of world 0, with their questions."""
    return list(generate.iter_scenes(kind, split, 0, count))
