"""What packed rows of the corpus are like, counted by hand."""

import json

import numpy as np
import pytest

from configs import qwen2_5_vl
from input_pipeline.index.store import write_rows
from vsft_jax.config import Run
from vsft_jax.errors import ConfigError
from vsft_jax.plan.corpus import Corpus, built_in_corpus, corpus_of
from vsft_jax.plan.rows import _visited, packed_rows


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    config = qwen2_5_vl.get_config("size=7b").unlock()
    config.layout.update(row_tokens=4096, row_patches=16384)
    return Run(config.lock(), tmp_path_factory.mktemp("plan"))


def test_blocks_that_kernels_visit():
    # Segments of 4 and 8 in blocks of 4: the second covers two blocks.
    assert _visited(np.array([4, 8]), 12, 4) == 5 / 9
    assert _visited(np.array([4, 8]), 12, 4, causal=True) == 4 / 6
    # One that lies on the edge of blocks joins them.
    assert _visited(np.array([3, 5, 4]), 12, 4) == (4 + 1) / 9
    # A window of 5 reaches from the first place of a block over the one before, of 6 one further.
    assert _visited(np.array([16]), 16, 4, causal=True, window=5) == (4 + 3) / 10
    assert _visited(np.array([16]), 16, 4, causal=True, window=6) == (4 + 3 + 2) / 10
    assert _visited(np.array([20]), 20, 4) == 1
    # Padding is a segment of its own; what a row grows by is one that nobody looks at.
    assert _visited(np.array([4]), 10, 4) == 5 / 9


def test_rows_of_one_clip_each(run):
    """Examples that are alike: every number follows from one of them."""
    corpus = built_in_corpus(run.layout, 4096, 16384, count=400)
    like = max(range(len(corpus.tokens)), key=lambda i: corpus.tokens[i])
    layout = corpus.layout(like)
    tokens, patches = layout.tokens, layout.patches
    assert tokens > 2048  # so that no two share a row
    rows = packed_rows(
        run, Corpus("one", np.full(9, tokens), np.full(9, patches), lambda _: layout)
    )
    assert rows.examples == 1
    assert rows.token_fill == pytest.approx(tokens / 4096)
    assert rows.patch_fill == pytest.approx(patches / 16384)
    assert rows.text_pairs == tokens * (tokens + 1) / 2
    grids, height, width = layout.media[0].grid
    assert rows.frame_pairs == grids * (height * width) ** 2
    windows = np.outer(
        *([8] * (side // 8) + [side % 8] * (side % 8 > 0) for side in (height, width))
    )
    assert rows.window_pairs == grids * (windows**2).sum()
    text = tokens - layout.media[0].tokens
    assert rows.text_tokens == text and rows.loss_chunks == -(-text // 1024)
    assert 0 < rows.visits.frames < rows.visits.text <= 1
    balance = 1.03 * 4096 * patches / tokens
    assert balance <= rows.balanced_patches < balance + 1024


def test_the_built_in_corpus_is_planned_where_there_is_no_index(run):
    rows = packed_rows(run, corpus_of(run))
    assert "2603.17541" in rows.source
    assert rows.token_fill > 0.9 and rows.patch_fill > 0.9
    # Grids are far shorter than rows of patches, texts are not.
    assert rows.visits.frames < 0.5 < rows.visits.text


def test_rows_that_an_index_does_not_fit_into_are_told(run):
    corpus = Corpus("train-abc.arrow", np.array([5000]), np.array([4]), lambda _: None)
    with pytest.raises(ConfigError, match=r"train-abc.*5000 tokens"):
        packed_rows(run, corpus)


def test_the_newest_index_of_a_training_set_is_planned(run):
    config = run.config.copy_and_resolve_references()
    with config.unlocked():
        config.data.train = {"mine": {"annotations": "mine.json", "media_root": "media"}}
    mine = Run(config, run.workdir)
    assert "2603.17541" in corpus_of(mine).source
    layout = built_in_corpus(run.layout, 4096, 16384, count=1).layout(0)
    row = {
        "example": json.dumps({"id": "a", "source": "", "turns": [], "meta": {}}),
        "layout": layout.to_json(),
        "tokens": layout.tokens,
        "patches": layout.patches,
        "largest_grid": layout.largest_grid,
    }
    mine.index_dir.mkdir()
    write_rows(mine.index_dir / "mine-train-0123.arrow", [row] * 5)
    found = corpus_of(mine)
    assert found.source == "mine-train-0123.arrow"
    assert found.tokens.tolist() == [layout.tokens] * 5
    assert found.layout(3) == layout
