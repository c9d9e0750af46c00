"""Our LLaVA-OneVision against transformers', with the same random weights, in float32 on the
CPU."""

import numpy as np
import pytest
from transformers import LlavaOnevisionConfig, LlavaOnevisionForConditionalGeneration

from tests.parity import llava_checks as checks
from tests.parity.llava_reference import (
    IMAGE,
    TEXT_CONFIG,
    TOWER_CONFIG,
    VIDEO,
    image,
    video,
    words,
)
from vsft_jax.models.llava_onevision import FAMILY as llava_onevision

# 72 pixels are 5 patches a side and an edge of 2 that no patch covers, as 384 are 27 and 6.
SIDES = (72, 144, 216)
HF_CONFIG = {
    "model_type": "llava_onevision",
    "image_token_index": IMAGE,
    "video_token_index": VIDEO,
    "image_grid_pinpoints": [[height, width] for height in SIDES for width in SIDES],
    "vision_aspect_ratio": "anyres_max_2",
    "text_config": {"model_type": "qwen2", **TEXT_CONFIG},
    "vision_config": {
        "model_type": "siglip_vision_model",
        "image_size": 72,
        "vision_use_head": False,
        **TOWER_CONFIG,
    },
}


def _examples():
    """Canvases of one, two, three and six tiles; the last is shrunk."""
    rng = np.random.default_rng(0)
    return {
        "text": [words(rng, 20)],
        "image": [words(rng, 4), image(rng, 120, 61), words(rng, 6)],
        "small image": [words(rng, 4), image(rng, 70, 50), words(rng, 6)],
        "large image": [words(rng, 2), image(rng, 140, 200), words(rng, 3)],
        "two images": [image(rng, 50, 160), words(rng, 3), image(rng, 130, 100), words(rng, 5)],
        "video": [words(rng, 5), video(rng, 4, 70, 100), words(rng, 8)],
        "image and video": [
            video(rng, 2, 80, 60),
            words(rng, 2),
            image(rng, 190, 60),
            words(rng, 3),
        ],
        "two videos": [video(rng, 1, 56, 56), video(rng, 3, 60, 90), words(rng, 7)],
    }


EXAMPLES = _examples()


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    folder = tmp_path_factory.mktemp("llava_onevision")
    kinds = (LlavaOnevisionForConditionalGeneration, LlavaOnevisionConfig)
    with checks.Case(llava_onevision, kinds, HF_CONFIG, folder, length=200, patches=250) as case:
        yield case


@pytest.mark.parametrize("name", EXAMPLES)
def test_logits(case, name):
    checks.logits(case, EXAMPLES[name])


def test_packed_rows_equal_each_example_alone(case):
    rows = [["video", "text", "two images", "small image"], ["image and video", "two videos"]]
    checks.packed(case, [[EXAMPLES[name] for name in row] for row in rows])


def test_generation(case):
    checks.generation(case, [EXAMPLES["image and video"], EXAMPLES["two videos"]])


def test_half_precision(case):
    checks.half_precision(case, EXAMPLES["large image"], bound=0.03)


def test_weights(case, tmp_path):
    checks.weights(case, EXAMPLES["large image"], tmp_path)


def test_unused_tensors_are_optional(case):
    checks.unused_is_optional(case)


def test_gradients(case):
    checks.gradients(case, EXAMPLES["image and video"])
