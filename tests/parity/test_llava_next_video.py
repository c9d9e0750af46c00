"""Our LLaVA-NeXT-Video against transformers', with the same random weights, in float32 on the
CPU."""

import numpy as np
import pytest
from transformers import LlavaNextVideoConfig, LlavaNextVideoForConditionalGeneration

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
from vsft_jax.models.llava_next_video import FAMILY as llava_next_video

HF_CONFIG = {
    "model_type": "llava_next_video",
    "image_token_index": IMAGE,
    "video_token_index": VIDEO,
    "image_grid_pinpoints": [[56, 112], [112, 56], [112, 112], [168, 56], [56, 168]],
    "text_config": {
        "model_type": "llama",
        **TEXT_CONFIG,
        "rope_parameters": {"rope_type": "linear", "factor": 2.5, "rope_theta": 10000.0},
    },
    "vision_config": {"model_type": "clip_vision_model", "image_size": 56, **TOWER_CONFIG},
}


def _examples():
    """Images that take different canvases and lose rows or columns of them."""
    rng = np.random.default_rng(0)
    return {
        "text": [words(rng, 20)],
        "image": [words(rng, 4), image(rng, 90, 61), words(rng, 6)],
        "two images": [image(rng, 50, 160), words(rng, 3), image(rng, 130, 100), words(rng, 5)],
        "video": [words(rng, 5), video(rng, 5, 70, 100), words(rng, 8)],
        "image and video": [
            video(rng, 2, 80, 60),
            words(rng, 2),
            image(rng, 150, 40),
            words(rng, 3),
        ],
        "two videos": [video(rng, 1, 56, 56), video(rng, 4, 60, 90), words(rng, 7)],
    }


EXAMPLES = _examples()


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    folder = tmp_path_factory.mktemp("llava_next_video")
    kinds = (LlavaNextVideoForConditionalGeneration, LlavaNextVideoConfig)
    with checks.Case(llava_next_video, kinds, HF_CONFIG, folder, length=256, patches=280) as case:
        yield case


@pytest.mark.parametrize("name", EXAMPLES)
def test_logits(case, name):
    checks.logits(case, EXAMPLES[name])


def test_packed_rows_equal_each_example_alone(case):
    rows = [["video", "text", "two images"], ["image and video", "two videos", "image"]]
    checks.packed(case, [[EXAMPLES[name] for name in row] for row in rows])


def test_generation(case):
    checks.generation(case, [EXAMPLES["image and video"], EXAMPLES["two videos"]])


def test_weights(case, tmp_path):
    checks.weights(case, EXAMPLES["image and video"], tmp_path)


def test_unused_tensors_are_optional(case):
    checks.unused_is_optional(case)
