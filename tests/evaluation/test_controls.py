"""Controls take away what they say, the same for everybody, and nothing else."""

import dataclasses

import numpy as np
import pytest

from evaluation.asked import asked_of, subset
from evaluation.controls import controlled
from evaluation.results import CONTROLS
from evaluation.scoring import score
from input_pipeline.batches import RowShape, build_row
from input_pipeline.index import ExampleStore
from vsft_jax.config import Run
from vsft_jax.prepare import prepare_benchmarks

FRAMES = {"kind": "fixed", "frames": 4}


@pytest.fixture(scope="module")
def run(shared_config, tmp_path_factory):
    config = shared_config.copy_and_resolve_references()
    with config.unlocked():  # questions with options are among these
        config.data.benchmarks.others = {
            "annotations": "world/test/images_other.jsonl",
            "media_root": "world",
            "modality": "image",
        }
    return Run(config, tmp_path_factory.mktemp("controls"))


@pytest.fixture(scope="module")
def stores(run):
    return prepare_benchmarks(run, FRAMES).stores()


def _asked(run, store, **settings):
    return asked_of(run.with_settings(eval=settings), store).items


def _row(run, item):
    return build_row([item], run.tokenizer, run.layout, RowShape(1024, 2048), "prompt")


def test_without_pictures_only_the_text_is_left(run, stores):
    for store in stores.values():
        found = _asked(run, store, control="no_visual")
        assert len(found) == len(store)
        for i, (example, layout) in enumerate(found):
            assert not example.media and layout.media == () and layout.patches == 0
            assert example.instruction == store[i][0].instruction
            row = _row(run, (example, layout))  # whose tokens are as many as the layout says
            assert not row["patches"].any() and (row["visual_index"] == -1).all()
    # Of text there is nothing to take away.
    assert controlled(found[0], "no_visual", run.tokenizer, run.layout) is None


def test_one_frame_is_the_middle_one(run, stores):
    found = _asked(run, stores["world_video"], control="one_frame")
    assert len(found) == len(stores["world_video"])
    for i, (_, layout) in enumerate(found):
        before = stores["world_video"][i][1].media[0].frame_indices
        assert set(layout.media[0].frame_indices) == {(before[1] + before[2]) // 2}
    assert _asked(run, stores["world_image"], control="one_frame") == []


def test_frames_in_another_order_are_the_same_frames(run, stores):
    store = stores["world_video"]
    found = _asked(run, store, control="shuffled_frames")
    by_clip, moved = {}, 0
    for example, layout in found:
        (medium,) = layout.media
        order = by_clip.setdefault(example.media, medium.frame_indices)
        assert medium.frame_indices == order  # so that its questions still share it
        moved += list(order) != sorted(order)
    assert moved == len(found) > len(store) / 2
    (example, layout) = found[0]
    medium = layout.media[0]
    plain = dataclasses.replace(medium, frame_indices=tuple(sorted(medium.frame_indices)))
    now, before = (
        _row(run, (example, dataclasses.replace(layout, media=(m,))))["patches"]
        for m in (medium, plain)
    )
    used = layout.patches
    assert not np.array_equal(now, before)
    # The same pixels of a place in the picture, in another order in time.
    assert np.array_equal(np.sort(now[:used].ravel()), np.sort(before[:used].ravel()))
    assert _asked(run, stores["world_image"], control="shuffled_frames") == []


def test_options_move_and_the_right_one_with_them(run, stores):
    everything = ExampleStore.concatenate(list(stores.values()))
    choices = [i for i in range(len(everything)) if everything[i][0].meta["format"] == "choice"]
    example, layout = everything[choices[0]]
    text = "Which?\nA. a red ball\n(B) a ball\nC. a.b (c)\nAnswer with the letter."
    meta = {
        "format": "choice",
        "choices": {"A": "a red ball", "B": "a ball", "C": "a.b (c)"},
        "answer": "B",
    }
    turn = dataclasses.replace(example.turns[0], parts=(*example.media, text))
    asked = dataclasses.replace(example, turns=(turn, *example.turns[1:]), meta=meta)
    letters = set()
    for name in "abcdefgh":
        item = dataclasses.replace(asked, id=name), layout
        now, _ = controlled(item, "shuffled_options", run.tokenizer, run.layout)
        letters.add(now.meta["answer"])
        assert now.meta["choices"][now.meta["answer"]] == "a ball"
        lines = now.instruction.split("\n")
        assert lines[0] == "Which?" and lines[-1] == "Answer with the letter."
        for line, form, letter in zip(lines[1:4], ("A. {}", "(B) {}", "C. {}"), "ABC", strict=True):
            assert line == form.format(now.meta["choices"][letter])
        assert score("choice", now.meta["answer"], now.meta).score == 1
        assert score("choice", "B", now.meta).score == 0
    assert letters == {"A", "C"}
    for parts in (("Which?\nA. a red ball",), ("A. a red ball\nB. a ball\nB. a ball\nC. a.b (c)",)):
        turns = (dataclasses.replace(turn, parts=parts), *example.turns[1:])
        other = dataclasses.replace(asked, turns=turns)
        assert controlled((other, layout), "shuffled_options", run.tokenizer, run.layout) is None


@pytest.mark.parametrize("control", CONTROLS)
def test_controls_are_the_same_each_time(run, stores, control):
    store = stores["world_video"]
    assert _asked(run, store, control=control) == _asked(run, store, control=control)


def test_a_subset_is_of_whole_clips_whatever_their_order():
    clips = [f"clip{i // 3}" for i in range(60)]
    found = subset(clips, 10)
    assert len(found) == 12 and found == sorted(found)
    assert {clips[i] for i in found} == {
        clips[i] for i in subset(clips[::-1], 10) for i in (59 - i,)
    }
    assert set(found) < set(subset(clips, 30)) and subset(clips, 100) == list(range(60))
