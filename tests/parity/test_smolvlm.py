"""Our SmolVLM2 against transformers', with the same random weights, in float32 on the CPU."""

import numpy as np
import pytest
from transformers import SmolVLMConfig, SmolVLMForConditionalGeneration

from tests.parity import llava_checks as checks
from tests.parity.llava_reference import IMAGE, TEXT_CONFIG, TOWER_CONFIG, image, video, words
from vsft_jax.models.smolvlm import FAMILY as smolvlm
from vsft_jax.models.smolvlm import layout as smolvlm_layout

HF_CONFIG = {
    "model_type": "smolvlm",
    "image_token_id": IMAGE,
    "scale_factor": 2,
    "text_config": {"model_type": "llama", **TEXT_CONFIG},
    "vision_config": {"model_type": "smolvlm_vision", "image_size": 56, **TOWER_CONFIG},
}


def _examples():
    rng = np.random.default_rng(0)
    return {
        "text": [words(rng, 20)],
        "image": [words(rng, 4), image(rng, 90, 61), words(rng, 6)],
        "two images": [image(rng, 56, 56), words(rng, 3), image(rng, 40, 130), words(rng, 5)],
        "video": [words(rng, 5), video(rng, 3, 70, 100), words(rng, 8)],
        "image and video": [
            image(rng, 80, 300),
            words(rng, 2),
            video(rng, 2, 64, 60),
            words(rng, 3),
        ],
        "two videos": [video(rng, 1, 56, 56), video(rng, 3, 60, 90), words(rng, 7)],
    }


EXAMPLES = _examples()


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    folder = tmp_path_factory.mktemp("smolvlm")
    kinds = (SmolVLMForConditionalGeneration, SmolVLMConfig)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(smolvlm_layout, "resize", checks.pillow_resize)
        with checks.Case(smolvlm, kinds, HF_CONFIG, folder, length=300, patches=560) as case:
            yield case


@pytest.mark.parametrize("name", EXAMPLES)
def test_logits(case, name):
    checks.logits(case, EXAMPLES[name])


def test_packed_rows_equal_each_example_alone(case):
    rows = [["video", "text", "two videos"], ["image and video", "image"]]
    checks.packed(case, [[EXAMPLES[name] for name in row] for row in rows])


def test_generation(case):
    checks.generation(case, [EXAMPLES["image and video"], EXAMPLES["two videos"]])


def test_weights(case, tmp_path):
    checks.weights(case, EXAMPLES["image and video"], tmp_path)


def test_gradients(case):
    checks.gradients(case, EXAMPLES["image and video"])


def test_half_precision(case):
    checks.half_precision(case, EXAMPLES["image and video"], 0.03)
