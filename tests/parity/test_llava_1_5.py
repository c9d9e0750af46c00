"""Our LLaVA-1.5 against transformers', with the same random weights, in float32 on the CPU."""

import numpy as np
import pytest
from transformers import LlavaConfig, LlavaForConditionalGeneration

from tests.parity import llava_checks as checks
from tests.parity.llava_reference import (
    IMAGE,
    TEXT_CONFIG,
    TOWER_CONFIG,
    Picture,
    image,
    video,
    words,
)
from vsft_jax.models.llava_1_5 import FAMILY as llava_1_5

HF_CONFIG = {
    "model_type": "llava",
    "image_token_index": IMAGE,
    "text_config": {"model_type": "llama", **TEXT_CONFIG},
    "vision_config": {"model_type": "clip_vision_model", "image_size": 56, **TOWER_CONFIG},
}


def _examples():
    rng = np.random.default_rng(0)
    return {
        "text": [words(rng, 20)],
        "image": [words(rng, 4), image(rng, 90, 61), words(rng, 6)],
        "two images": [image(rng, 56, 56), words(rng, 3), image(rng, 40, 130), words(rng, 5)],
        "video": [words(rng, 5), video(rng, 3, 70, 100), words(rng, 8)],
        "image and video": [
            image(rng, 80, 80),
            words(rng, 2),
            video(rng, 2, 64, 60),
            words(rng, 3),
        ],
        "two videos": [video(rng, 1, 56, 56), video(rng, 3, 60, 90), words(rng, 7)],
    }


EXAMPLES = _examples()


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    folder = tmp_path_factory.mktemp("llava_1_5")
    kinds = (LlavaForConditionalGeneration, LlavaConfig)
    with checks.Case(llava_1_5, kinds, HF_CONFIG, folder, length=160, patches=180) as case:
        yield case


@pytest.mark.parametrize("name", EXAMPLES)
def test_logits(case, name):
    checks.logits(case, EXAMPLES[name])


def test_packed_rows_equal_each_example_alone(case):
    rows = [["video", "text", "two images"], ["image and video", "image"]]
    checks.packed(case, [[EXAMPLES[name] for name in row] for row in rows])


def test_generation(case):
    checks.generation(case, [EXAMPLES["image and video"], EXAMPLES["two images"]])


def test_weights(case, tmp_path):
    checks.weights(case, EXAMPLES["image and video"], tmp_path)


def test_unused_tensors_are_optional(case):
    checks.unused_is_optional(case)


def test_a_clip_is_its_frames_as_images(case):
    """The same pictures as a clip and as images: the same positions and features."""
    clip = EXAMPLES["video"][1]
    apart = [Picture("image", frame) for frame in clip.pixels]
    found = [case.run([["w1", *media, "w2"]])[0, : 2 + 3 * 16] for media in ([clip], apart)]
    np.testing.assert_array_equal(*found)
