"""Frames resized while they are decoded give the patches that whole frames would give."""

import itertools

import numpy as np
import pytest

from input_pipeline.media import MediaInfo, resize
from vsft_jax.models import llava_1_5, llava_next_video, llava_onevision, qwen2_5_vl, qwen3_vl

RULES = {
    "qwen2_5_vl": qwen2_5_vl.layout.Layout(video_min_pixels=784, video_max_pixels=100 * 784),
    "qwen3_vl": qwen3_vl.layout.Layout(),
    "llava_1_5 crop": llava_1_5.layout.Layout(fit="crop"),
    "llava_1_5 pad": llava_1_5.layout.Layout(fit="pad"),
    "llava_1_5 stretch": llava_1_5.layout.Layout(fit="stretch"),
    "llava_next_video": llava_next_video.layout.Layout(),
    "llava_onevision": llava_onevision.layout.Layout(),
}
SIZES = [(96, 130), (360, 200), (336, 336), (337, 336), (700, 401)]


@pytest.mark.parametrize(("name", "kind"), list(itertools.product(RULES, ("video", "image"))))
def test_patches_are_the_same(name, kind):
    rules = RULES[name]
    sized_any = False
    for height, width in SIZES:
        count = 2 if kind == "video" else 1
        times = tuple(i / 2 for i in range(count))
        info = MediaInfo(kind, width, height, times, count / 2 if kind == "video" else 0.0)
        medium = rules.lay_out(info, tuple(range(count)), 1.0)
        size = rules.decode_size(medium)
        if size is None:
            continue
        sized_any = True
        rng = np.random.default_rng(height)
        frames = rng.integers(0, 256, (count, height, width, 3), dtype=np.uint8)
        expected = np.zeros((medium.patches, rules.patch_dim), np.uint8)
        found = expected.copy()
        rules.write_patches(frames, medium, expected)
        rules.write_patches(np.stack([resize(f, *size) for f in frames]), medium, found)
        np.testing.assert_array_equal(found, expected)
    # Only what is cut from the whole picture needs it: tiles of an image, a border around it.
    assert sized_any or name == "llava_1_5 pad" or (kind == "image" and "llava_" in name)
