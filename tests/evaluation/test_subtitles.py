"""Questions with what is said while their frames are shown."""

import dataclasses
from pathlib import Path

import pytest

from evaluation.benchmarks.srt import MOMENTS, NOTHING, read_srt, said_evenly
from evaluation.subtitles import with_lines_of_frames
from input_pipeline.examples import Example, MediaRef, Turn
from input_pipeline.index import lay_out
from vsft_jax.config import Run

SRT = "".join(f"{i}\n00:00:0{i},000 --> 00:00:0{i},900\nword {i}\n\n" for i in range(10))


@pytest.fixture(scope="module")
def asked(shared_config, tmp_path_factory):
    """(run, (question about a clip with subtitles of ten seconds, its layout))."""
    folder = tmp_path_factory.mktemp("subtitles")
    path = folder / "clip.srt"
    path.write_text(SRT)
    run = Run(shared_config, folder)
    clip = next(Path(run.data_root, "world").rglob("*.mp4"))
    said = said_evenly(read_srt(SRT), MOMENTS)
    text = f"This video's subtitles are listed below:\n{said}\nWhat is said?"
    turns = (Turn("user", (MediaRef("video", str(clip)), text)),)
    example = Example("q", "mine", turns, {"subtitles": str(path)})
    store = lay_out([example], run.index_spec({"kind": "fixed", "frames": 4}), mode="prompt")
    return run, store[0]


def _shown(asked, times, most=10_000, **meta):
    run, (example, layout) = asked
    (medium,) = layout.media
    medium = dataclasses.replace(medium, frame_times=times)
    example = dataclasses.replace(example, meta={**example.meta, **meta})
    item = example, dataclasses.replace(layout, media=(medium,))
    found, laid_out = with_lines_of_frames(item, run.tokenizer, run.layout, most)
    return found.turns[0].text.split("\n")[1:-1], laid_out.tokens - layout.tokens


def test_lines_are_those_of_the_frames(asked):
    lines, tokens = _shown(asked, (0.5, 3.0, 3.5, 9.95))
    assert lines == ["word 0", "word 3"] and tokens < 0
    assert _shown(asked, (0.95,))[0] == [NOTHING]
    assert len(_shown(asked, (0.5,), subtitles=None)[0]) == 10


def test_what_does_not_fit_is_thinned(asked):
    times = tuple(i + 0.5 for i in range(8))
    run, (_, layout) = asked
    whole, tokens = _shown(asked, times)
    thinned, fewer = _shown(asked, times, most=layout.tokens + tokens - 1)
    assert whole == [f"word {i}" for i in range(8)]
    assert thinned == ["word 1", "word 3", "word 5", "word 7"] and fewer < tokens
