"""The examples that are packed: all of the plan's built-in corpus, for Qwen2.5-VL, sizes only."""

from typing import NamedTuple

import numpy as np

from vsft_jax.models.qwen2_5_vl.layout import Layout
from vsft_jax.plan.corpus import built_in_corpus


class Sizes(NamedTuple):
    """tokens, patches: int64[n], what each example takes of a row, in shuffled order."""

    tokens: np.ndarray
    patches: np.ndarray


def paper_corpus(row_tokens: int, row_patches: int) -> Sizes:
    """The examples' sizes, laid out for rows of that size."""
    # A clip may fill a row but for some text.
    rules = Layout(video_total_pixels=0.875 * row_tokens * 28 * 28)
    corpus = built_in_corpus(rules, row_tokens, row_patches)
    return Sizes(corpus.tokens, corpus.patches)
