"""Sizes of pictures and frames against qwen-vl-utils, transformers and hand computation."""

import random

import pytest

from input_pipeline.layout import LayoutError
from input_pipeline.layout.dynamic_resolution import smart_resize
from input_pipeline.media import MediaInfo
from vsft_jax.models.qwen2_5_vl.layout import Layout

SPEC = Layout()

# (h, w) → image defaults → video limits; printed by qwen-vl-utils 0.0.14 itself.
GOLDEN_SIZES = """
720x1280 728x1288 560x1008
1080x1920 1092x1932 560x1008
480x854 476x840 476x840
360x640 364x644 364x644
240x320 252x308 280x392
98x98 112x112 336x336
42x70 56x56 252x420
14x14 56x56 336x336
2160x3840 2156x3836 560x1008
100x5000 112x5012 112x5012
1x150 28x140 28x3892
"""


def pair(size):
    return tuple(int(side) for side in size.split("x"))


@pytest.mark.parametrize("line", GOLDEN_SIZES.split("\n")[1:-1])
def test_smart_resize_golden(line):
    size, as_image, as_frame = (pair(part) for part in line.split())
    assert smart_resize(*size, 28, 3136, 12_845_056) == as_image
    assert smart_resize(*size, 28, 100_352, 602_112) == as_frame
    assert (SPEC.image_min_pixels, SPEC.image_max_pixels) == (3136, 12_845_056)
    assert (SPEC.video_min_pixels, SPEC.video_max_pixels) == (100_352, 602_112)


def test_smart_resize_equals_transformers_on_random_sizes():
    oracle = pytest.importorskip("transformers.models.qwen2_vl.image_processing_pil_qwen2_vl")
    rng = random.Random(0)
    for _ in range(3000):
        height, width = rng.randint(28, 4000), rng.randint(28, 4000)
        factor = rng.choice([28, 32])
        low = rng.randint(1, 400) * factor**2
        high = low + rng.randint(0, 3000) * factor**2
        if max(height, width) / min(height, width) > 200:
            continue
        expected = oracle.smart_resize(height, width, factor, low, high)
        assert smart_resize(height, width, factor, low, high) == expected


@pytest.mark.parametrize("size", [(10, 2001), (2001, 10), (0, 5)])
def test_too_elongated_is_refused(size):
    with pytest.raises(LayoutError, match="aspect ratio must be at most 200") as caught:
        smart_resize(*size, 28, 3136, 12_845_056)
    assert caught.value.reason == "aspect_ratio"


def test_frame_limits():
    assert SPEC.frame_limits(16)[1] == 602_112
    # 128000·784·0.9 / 768 · 2 = 235 200
    assert SPEC.frame_limits(768)[1] == pytest.approx(235_200)
    # so many frames that the share falls under 1.05 × the minimum
    assert SPEC.frame_limits(100_000)[1] == 105_369


@pytest.mark.parametrize(
    "own",
    [
        {"max_pixels": 50_176},
        {"min_pixels": 200_704},
        {"min_pixels": 784, "max_pixels": 1568},
        {"min_pixels": 2_000_000, "max_pixels": 4_000_000},
    ],
)
@pytest.mark.parametrize("size", [(720, 1280), (98, 98), (200, 300)])
def test_sizes_that_the_data_sets_are_those_of_qwen_vl_utils(own, size):
    oracle = pytest.importorskip("qwen_vl_utils.vision_process")
    image = pytest.importorskip("PIL.Image").new("RGB", size[::-1])
    found = SPEC.lay_out(MediaInfo("image", *size[::-1], (0.0,), 0.0, **own), (0,), 1.0)
    assert (found.width, found.height) == oracle.fetch_image({"image": image, **own}, 14).size
    clip = MediaInfo("video", *size[::-1], tuple(i / 4 for i in range(16)), 4.0, **own)
    found = SPEC.lay_out(clip, tuple(range(16)), 1.0)
    # fetch_video: 128 and 768 tokens of 28 × 28 pixels a frame
    low = own.get("min_pixels", 128 * 784)
    high = max(768 * 784, int(low * 1.05))
    high = min(own.get("max_pixels", high), high)
    low = min(low, high)  # where qwen-vl-utils would go below the one and above the other
    assert (found.height, found.width) == oracle.smart_resize(*size, 28, low, high)
    smallest = SPEC.lay_out(clip, tuple(range(16)), 0.0)
    assert smallest.height * smallest.width <= found.height * found.width
