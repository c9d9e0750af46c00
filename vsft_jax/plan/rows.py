"""What packed rows of a corpus are like: how full, and how much of attention is of use."""

import dataclasses

import numpy as np

from input_pipeline.batches import RowShape, balanced_patches, pack
from input_pipeline.layout import ExampleLayout, VisionLayout
from vsft_jax.config import Run
from vsft_jax.errors import ConfigError
from vsft_jax.models.shared.attention.splash import row_block
from vsft_jax.plan.corpus import Corpus
from vsft_jax.plan.program import Visits

_LOOKED_AT = 48  # rows whose segments are written out


@dataclasses.dataclass(frozen=True)
class PackedRows:
    """Means over the rows of a corpus.

    source: of the corpus, in words. examples: a row. token_fill, patch_fill: share in use, 0..1.
    balanced_patches: the row_patches with which rows run out of tokens and patches alike.
    visits: of blocks by the attention kernels. text_tokens: a row, of which answers are a part.
    loss_chunks: that hold them. text_pairs: pairs of a position and one that it
    attends to, a row; frame_pairs, window_pairs: of patches, in whole grids and in windows.
    near_pairs: as text_pairs, in layers with a window; what a picture sees ahead is not counted.
    """

    source: str
    examples: float
    token_fill: float
    patch_fill: float
    balanced_patches: int
    visits: Visits
    text_tokens: float
    loss_chunks: float
    text_pairs: float
    frame_pairs: float
    window_pairs: float
    near_pairs: float = 0.0


def packed_rows(run: Run, corpus: Corpus) -> PackedRows | None:
    """The rows that a run would pack a corpus into; None for a corpus without examples.

    Raises ConfigError where an example does not fit into the run's rows.
    """
    if not len(corpus.tokens):
        return None
    shape = run.row_shape
    try:
        plan = pack(
            corpus.tokens,
            corpus.patches,
            max_tokens=shape.tokens,
            max_patches=shape.patches,
            window=run.config.train.pack_window,
        )
    except ValueError as error:
        raise ConfigError(f"the index ({corpus.source}) is of other rows: {error}") from error
    chosen = range(0, plan.rows, -(-plan.rows // _LOOKED_AT))
    rows = [[corpus.layout(int(i)) for i in plan.row(r)] for r in chosen]
    window = run.architecture.text.window
    counted = np.array([_attention(row, run.layout, shape, window) for row in rows]).mean(axis=0)
    texts, chunk = [_text(row) for row in rows], run.config.train.loss_chunk
    return PackedRows(
        source=corpus.source,
        examples=plan.examples_per_row,
        token_fill=plan.token_fill,
        patch_fill=plan.patch_fill,
        balanced_patches=balanced_patches(
            corpus.tokens, corpus.patches, shape.tokens, run.layout.patches_per_unit
        ),
        visits=Visits(*counted[:3].tolist()),
        text_tokens=float(np.mean(texts)),
        loss_chunks=float(np.mean([-(-count // chunk) for count in texts])),
        text_pairs=float(counted[3]),
        frame_pairs=float(counted[4]),
        window_pairs=float(counted[5]),
        near_pairs=float(counted[6]),
    )


def _text(row: list[ExampleLayout]) -> int:
    """Positions of a row that are no visual tokens."""
    return sum(each.tokens - sum(medium.tokens for medium in each.media) for each in row)


def _attention(
    row: list[ExampleLayout], rules: VisionLayout, shape: RowShape, window: int | None
) -> tuple[float, ...]:
    """Visits of text and frames, and of text in a window; pairs of text, frames and windows, and of
    text in a window."""
    texts = np.array([each.tokens for each in row])
    frames, windows = [np.zeros(0, int)], [np.zeros(0, int)]
    for medium in (medium for each in row for medium in each.media):
        indices = rules.patch_indices(medium)
        frames.append(np.bincount(indices.frames))
        windows.append(np.bincount(indices.windows))
    grids, squares = np.concatenate(frames), np.concatenate(windows)
    seen = np.minimum(texts, window or texts)
    return (
        _visited(texts, shape.tokens, row_block(shape.tokens), causal=True),
        _visited(grids, shape.patches, row_block(shape.patches)),
        _visited(texts, shape.tokens, row_block(shape.tokens), causal=True, window=window),
        float((texts * (texts + 1) / 2).sum()),
        float((grids**2).sum()),
        float((squares**2).sum()),
        float((seen * texts - seen * (seen - 1) / 2).sum()),
    )


def _visited(
    lengths: np.ndarray,
    length: int,
    block: int,
    *,
    causal: bool = False,
    window: int | None = None,
) -> float:
    """Share of the blocks of scores that the kernel computes for segments of these lengths, one
    after the other in a row, of those that it computes where all is one segment without a window.
    """
    if not length:
        return 0.0
    ids = np.zeros(-(-length // block) * block, np.int64)
    ids[: lengths.sum()] = np.repeat(np.arange(1, len(lengths) + 1), lengths)
    ids[length:] = -1
    cut = ids.reshape(-1, block)
    lowest, highest = cut.min(axis=1), cut.max(axis=1)
    needed = (lowest[:, None] <= highest) & (highest[:, None] >= lowest)
    count = len(cut)
    possible = count**2
    if causal:
        needed, possible = np.tril(needed), count * (count + 1) // 2
        if window is not None:
            place = np.arange(count)
            needed &= (place[:, None] - place - 1) * block + 1 < window
    return float(needed.sum() / possible)
