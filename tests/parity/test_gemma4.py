"""Our Gemma 4 against transformers', with the same random weights, in float32 on the CPU."""

import numpy as np
import pytest
from transformers import Gemma4Config, Gemma4ForConditionalGeneration

from tests.parity import gemma4_reference as reference
from tests.parity import llava_checks as checks
from tests.parity.llava_reference import image, video, words
from vsft_jax.models.gemma4 import FAMILY as gemma4
from vsft_jax.models.gemma4 import layout as gemma4_layout


def _examples():
    rng = np.random.default_rng(0)
    return {
        "text": [words(rng, 60)],
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


@pytest.fixture(scope="module", params=["small", "large"])
def case(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("gemma4")
    kinds = (Gemma4ForConditionalGeneration, Gemma4Config)
    numbers = {"small": reference.SMALL, "large": reference.LARGE}[request.param]
    budget = reference.BUDGET
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gemma4_layout, "resize", checks.pillow_resize)
        with checks.Case(
            *(gemma4, kinds, numbers, folder),
            length=640,
            patches=5040,
            oracle=reference.Oracle,
            host=reference.Host,
            image_tokens=budget,
            frame_tokens=budget,
        ) as case:
            yield case


@pytest.mark.parametrize("name", EXAMPLES)
def test_logits(case, name):
    checks.logits(case, EXAMPLES[name])


def test_packed_rows_equal_each_example_alone(case):
    rows = [["video", "text", "two images"], ["image and video", "two videos"]]
    checks.packed(case, [[EXAMPLES[name] for name in row] for row in rows])


def test_generation(case):
    checks.generation(case, [EXAMPLES["image and video"], EXAMPLES["two videos"]])


def test_weights(case, tmp_path):
    def without_a_head(name):
        return name.removeprefix("model.")

    checks.weights(case, EXAMPLES["image and video"], tmp_path, without_a_head)


def test_gradients(case):
    checks.gradients(case, EXAMPLES["image and video"])


def test_half_precision(case):
    # transformers' own error is 0.044 for the nine layers of the small one.
    checks.half_precision(case, EXAMPLES["image and video"], 0.06)
