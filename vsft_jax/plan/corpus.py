"""The examples that a step is planned for: those of prepared indexes, or a built-in corpus.

The built-in one is of video questions with the frame budgets of arXiv 2603.17541, sizes only. Its
74,500 examples have the paper's budgets: 57,604 clips of 8 frames, 11,394 of 16, 5,365 of 32 and
137 of 64. The paper does not tell picture sizes and lengths of texts, so these are ours: pictures
as web videos have them, and LLaVA-Video-178K's three kinds of text. Tokens and patches follow from
a family's layout rules.
"""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from input_pipeline.index import ExampleStore
from input_pipeline.layout import ExampleLayout, LayoutError, VisionLayout, layout_example
from input_pipeline.media import MediaInfo
from input_pipeline.text import EncodedText
from vsft_jax.config import Run

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


_PLANNED = 16_384  # examples of the built-in corpus that a plan looks at


class Corpus(NamedTuple):
    """source: in words. tokens, patches: int64[n], what each example takes of a row, in shuffled
    order. layout: of example i."""

    source: str
    tokens: np.ndarray
    patches: np.ndarray
    layout: Callable[[int], ExampleLayout]


def corpus_of(run: Run) -> Corpus:
    """The newest indexes of the run's training sets, where each has one; else the built-in corpus.

    An index may have been prepared under another policy: which one a run would take cannot be told
    without its tokenizer and annotations.
    """
    found = [
        max(run.index_dir.glob(f"{each.name}-train-*.arrow"), key=_age, default=None)
        for each in (run.training_sets if run.config.data.train else ())
    ]
    paths = [path for path in found if path is not None]
    if not paths or len(paths) < len(found):
        return built_in_corpus(run.layout, run.row_shape.tokens, run.row_shape.patches, _PLANNED)
    store = ExampleStore.concatenate([ExampleStore.open(path) for path in paths])
    order = np.random.default_rng(run.config.seed).permutation(len(store))
    return Corpus(
        source=", ".join(path.name for path in paths),
        tokens=store.tokens[order],
        patches=store.patches[order],
        layout=lambda i: store[int(order[i])][1],
    )


def _age(path: Path) -> float:
    return path.stat().st_mtime


def built_in_corpus(
    rules: VisionLayout,
    row_tokens: int,
    row_patches: int,
    count: int | None = None,
    seed: int = 0,
) -> Corpus:
    """The examples, or the first `count` of them, laid out for rows of that size. What rows of that
    size cannot hold is left out."""
    rng = np.random.default_rng(seed)
    frames = rng.permutation(np.repeat(list(BUDGETS), list(BUDGETS.values())))
    pictures = rng.choice(len(PICTURES), len(frames), p=list(PICTURES.values()))
    median = rng.choice(list(TEXTS), len(frames), p=list(TEXTS.values()))
    texts = (median * np.exp(TEXT_SPREAD * rng.standard_normal(len(frames)))).astype(int)
    sizes = list(PICTURES)

    @functools.cache
    def lay_out(picture: int, frames: int, text: int) -> ExampleLayout | None:
        height, width = sizes[picture]
        times = tuple(i / 2 for i in range(2 * frames))  # more frames than are taken
        info = MediaInfo("video", width, height, times, float(frames))
        ids = np.zeros(text + 1, np.int32)
        encoded = EncodedText(ids, np.zeros(len(ids), bool))
        try:
            return layout_example(
                rules, lambda _: encoded, [info], [frames], row_tokens, row_patches
            )
        except LayoutError:
            return None

    examples = zip(pictures[:count], frames[:count], texts[:count], strict=True)
    laid_out = [each for each in (lay_out(*map(int, one)) for one in examples) if each]
    return Corpus(
        source="video questions with the frame budgets of arXiv 2603.17541",
        tokens=np.array([each.tokens for each in laid_out], np.int64),
        patches=np.array([each.patches for each in laid_out], np.int64),
        layout=laid_out.__getitem__,
    )
