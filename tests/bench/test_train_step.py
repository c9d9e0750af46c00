"""The work that bench.train_step times, and what it reports, with all sides stood in for."""

from bench.train_step import __main__ as train_step
from bench.train_step.mixed_row import PATCHES, SHAPES, TOKENS, answer_tokens, examples, tokens
from tests.parity.reference import Media
from vsft_jax.models.qwen2_5_vl.config import from_hf


def test_a_row_is_mixed_and_nearly_full():
    given = examples(2)
    config = from_hf(SHAPES["small"].hf)
    used = sum(tokens(config, example) for example in given) / 2
    assert 0.97 * TOKENS < used <= TOKENS
    media = [part for example in given for part in example if isinstance(part, Media)]
    assert 0.97 * PATCHES < sum(len(medium.patches) for medium in media) / 2 <= PATCHES
    assert {medium.grid[0] for medium in media} == {1, 2, 4, 8}
    assert {medium.kind for medium in media} == {"image", "video"}
    assert len(media) < len(given), "some are text alone"
    assert 0 < sum(map(answer_tokens, given)) / 2 < 0.3 * TOKENS


def test_ratios_are_taken_pair_by_pair(monkeypatch, capsys):
    clock = iter([(1, 2), (2, 3), (3, 8), (1, 1), (4, 3), (3, 2), (2, 1), (4, 4), (6, 5)])
    monkeypatch.setattr(train_step, "timed", lambda step: (step(), next(clock))[1])
    taken = []
    names = ("ours", "padded", "one by one")
    steps = {name: lambda name=name: taken.append(name) or 0.0 for name in names}
    train_step.compare(steps, pairs=3)
    assert taken == list(names) * 4, "one that is not timed, then by turns"
    out = capsys.readouterr().out
    assert "| 1 | 1000 / 2000 | 2000 / 3000 | 3000 / 8000 | 2.00 / 1.50, 3.00 / 4.00 |" in out
    assert "medians: 2.00 / 3.00, 3.00 / 4.00 times ours (padded, one by one)" in out
