import dataclasses
import json

import pytest

from input_pipeline.examples import Example, MediaRef, Turn


def _example(*parts):
    return Example("k", "mine", (Turn("user", parts), Turn("assistant", ("Yes.",))), {"task": "x"})


@pytest.mark.parametrize(
    ("medium", "written"),
    [
        (MediaRef("image", "/a.png"), ["image", "/a.png"]),
        (MediaRef("video", "/a.mp4", 1.5, 2.25), ["video", "/a.mp4", 1.5, 2.25]),
        (MediaRef("video", "/a.mp4", 1.5), ["video", "/a.mp4", 1.5, None]),
        (MediaRef("video", "/a.mp4", None, 2.0), ["video", "/a.mp4", None, 2.0]),
        (
            MediaRef("video", "/a.mp4", nframes=8, max_pixels=50176),
            ["video", "/a.mp4", None, None, None, 8, None, 50176],
        ),
        (
            MediaRef("video", "/a.mp4", 1.0, fps=2.0),
            ["video", "/a.mp4", 1.0, None, 2.0, *[None] * 3],
        ),
        (MediaRef("video", "/é?fps=2.5"), ["video", "/é?fps=2.5"]),
        (MediaRef("image", "record:/a.parquet#7/image"), ["image", "record:/a.parquet#7/image"]),
    ],
)
def test_json_round_trip_carries_every_field_and_no_default(medium, written):
    example = _example("before", medium, "after")
    text = example.to_json()
    assert json.loads(text)["turns"][0]["parts"] == ["before", written, "after"]
    assert Example.from_json(text) == example
    assert example.media == (medium,)


def test_reasoning_is_kept_and_can_be_left_out():
    inline = "<think>\nOne and\none.\n</think>\n\nTwo."
    turns = (
        Turn("user", ("<think>mine</think> 1 + 1?",)),
        Turn("assistant", ("Two.",), "One and\none."),
        Turn("assistant", (inline,)),
        Turn("assistant", ("<think>nothing else</think>",)),
    )
    example = Example("e", "s", turns)
    assert Example.from_json(example.to_json()) == example
    assert example.without_reasoning().turns == (
        turns[0],
        Turn("assistant", ("Two.",)),
        Turn("assistant", ("Two.",)),
        turns[3],
    )


def test_a_record_may_say_which_part_of_its_words_is_the_question():
    turns = (Turn("user", ("In chronological order: what colour is it? A. red",)),)
    plain = Example("x", "set", turns)
    asked = dataclasses.replace(plain, meta={"frame_question": "What colour is it?"})
    assert plain.instruction == plain.words == asked.words == turns[0].text
    assert asked.instruction == "What colour is it?"
    assert Example.from_json(asked.to_json()).instruction == asked.instruction
    empty = dataclasses.replace(plain, meta={"frame_question": ""})
    assert empty.instruction == plain.words
