"""A corpus of video questions with the frame budgets of arXiv 2603.17541, sizes only.

Its 74,500 examples have the paper's budgets: 57,604 clips of 8 frames, 11,394 of 16, 5,365 of 32
and 137 of 64. The paper does not tell picture sizes and lengths of texts, so these are ours:
pictures as web videos have them, and LLaVA-Video-178K's three kinds of text. Tokens and patches
follow from this repository's layout rules for Qwen2.5-VL.
"""

import functools
from typing import NamedTuple

import numpy as np

from input_pipeline.layout import layout_example
from input_pipeline.media import MediaInfo
from input_pipeline.text import EncodedText
from vsft_jax.models.qwen2_5_vl.layout import Layout

BUDGETS = {8: 57_604, 16: 11_394, 32: 5_365, 64: 137}  # frames: examples
# (height, width) of the pictures: share of the clips.
PICTURES = {
    (720, 1280): 0.27,
    (360, 640): 0.20,
    (480, 640): 0.12,
    (240, 320): 0.12,
    (640, 360): 0.10,
    (480, 854): 0.09,
    (1080, 1920): 0.05,
    (1280, 720): 0.05,
}
# Median tokens of question and answer together: share of the examples.
TEXTS = {340: 0.24, 100: 0.56, 130: 0.20}  # captions, open questions, multiple choice
TEXT_SPREAD = 0.45  # standard deviation of the logarithm of a text's tokens


class Sizes(NamedTuple):
    """tokens, patches: int64[n], what each example takes of a row, in shuffled order."""

    tokens: np.ndarray
    patches: np.ndarray


def paper_corpus(row_tokens: int, row_patches: int, seed: int = 0) -> Sizes:
    """The examples' sizes, laid out for rows of that size."""
    rng = np.random.default_rng(seed)
    frames = rng.permutation(np.repeat(list(BUDGETS), list(BUDGETS.values())))
    pictures = rng.choice(len(PICTURES), len(frames), p=list(PICTURES.values()))
    median = rng.choice(list(TEXTS), len(frames), p=list(TEXTS.values()))
    texts = (median * np.exp(TEXT_SPREAD * rng.standard_normal(len(frames)))).astype(int)
    # A clip may fill a row but for some text.
    rules = Layout(video_total_pixels=0.875 * row_tokens * 28 * 28)
    sizes = list(PICTURES)

    @functools.cache
    def lay_out(picture: int, frames: int, text: int) -> tuple[int, int]:
        height, width = sizes[picture]
        times = tuple(i / 2 for i in range(2 * frames))  # more frames than are taken
        info = MediaInfo("video", width, height, times, float(frames))
        ids = np.zeros(text + 1, np.int32)
        encoded = EncodedText(ids, np.zeros(len(ids), bool))
        layout = layout_example(rules, lambda _: encoded, [info], [frames], row_tokens, row_patches)
        return layout.tokens, layout.patches

    laid_out = [
        lay_out(*map(int, example)) for example in zip(pictures, frames, texts, strict=True)
    ]
    return Sizes(*np.array(laid_out, np.int64).T)
