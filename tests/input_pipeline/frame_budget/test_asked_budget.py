"""Frames that the data itself asks for."""

import dataclasses

import pytest

from input_pipeline.frame_budget import asked_budget
from input_pipeline.media import MediaInfo
from tests.input_pipeline.frame_budget.budget_queries import query


@pytest.mark.parametrize(
    ("fps", "nframes", "frames", "reason"),
    [
        (None, 8, 8, "fixed{}"),
        (None, 7, 8, "fixed{}"),
        (None, 1, 2, "fixed{}"),
        (2.0, None, 36, "18.0 s at 2 frames/s{}"),
        (0.01, None, 4, "18.0 s at 0.01 frames/s{}"),
        (
            30.0,
            None,
            400,
            "18.0 s at 30 frames/s, capped: the clip has 400 frames{}",
        ),
        (30.0, 6, 6, "fixed{}"),
    ],
)
def test_what_the_data_asks_for_a_clip(fps, nframes, frames, reason):
    found = asked_budget(query(), fps, nframes, 2)
    assert (found.frames, found.reason) == (frames, reason.format(", as the data asks"))


@pytest.mark.parametrize(
    ("frames", "rate", "fps", "expected"),
    [  # what qwen-vl-utils' smart_nframes gives
        (61, 24, 2.0, 4),
        (300, 29.97, 1.0, 10),
        (61, 24, 4.0, 10),
        (900, 30, 2.0, 60),
        (27000, 30, 2.0, 768),
        (7, 29.97, 2.0, 4),
        (5, 30, 2.0, 4),
        (3, 30, 2.0, 2),
    ],
)
def test_frames_a_second_as_qwen_counts_them(frames, rate, fps, expected):
    times = tuple(i / rate for i in range(frames))
    clip = MediaInfo("video", 64, 48, times, times[-1] + times[1])
    assert asked_budget(dataclasses.replace(query(), media=clip), fps, None, 2).frames == expected


def test_what_asks_for_nothing():
    assert asked_budget(query(), None, None, 2) is None
    # 400 frames in 18 s: a rate of 22.2 says what the file is
    assert asked_budget(query(), 22.22, None, 2) is None
    image = dataclasses.replace(query(), media=MediaInfo("image", 64, 48, (0.0,), 0.0))
    assert asked_budget(image, 2.0, 8, 2) is None
