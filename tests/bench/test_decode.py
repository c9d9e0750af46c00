"""The ways of decoding that are timed give the frames that they are asked for."""

import av
import numpy as np
import pytest

from bench.decode import clips, methods
from bench.decode.timing import Run, Timing, ratios

FRAMES = 36


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("bench") / "clip.mp4"
    clips.encode(path, FRAMES, 12, 640, 360)
    return path


@pytest.mark.parametrize(
    "method",
    [
        methods.ours,
        methods.opencv_in_order,
        methods.opencv_seek,
        methods.pyav_in_order,
        methods.pyav_seek,
    ],
)
@pytest.mark.parametrize("threads", [1, 2])
def test_frames_are_the_wanted_ones(clip, method, threads):
    wanted = [0, 5, 11, 12, 30, FRAMES - 1]
    frames = method(str(clip), wanted, threads)
    assert frames.shape == (len(wanted), *clips.SMALL, 3)
    assert [clips.read_number(frame) for frame in frames] == wanted


def test_long_clips_are_a_minute_again_and_again(clip, tmp_path, monkeypatch):
    monkeypatch.setattr(clips, "MINUTE", FRAMES)
    clips._repeat(clip, tmp_path / "long.mp4", 3)
    with av.open(str(tmp_path / "long.mp4")) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert [clips.read_number(frame) for frame in frames] == 3 * list(range(FRAMES))
    wanted = [3, FRAMES + 13, 3 * FRAMES - 1]
    found = methods.ours(str(tmp_path / "long.mp4"), wanted, 2)
    assert [clips.read_number(frame) for frame in found] == [i % FRAMES for i in wanted]


def test_ratios_are_to_ours_with_as_many_threads():
    ours = methods.OURS
    other = methods.Method("other", np.stack)
    timings = {
        Run(ours, 1): {8: [Timing(2.0, 4.0, 8, 8)]},
        Run(ours, 2): {8: [Timing(1.0, 5.0, 8, 8)]},
        Run(other, 1): {8: [Timing(3.0, 4.0, 8, 8), Timing(5.0, 4.0, 8, 8)]},
        Run(other, 2): {8: [Timing(3.0, 2.5, 8, 8)]},
    }
    assert ratios(timings, Run(other, 1), 8) == [2.0, 1.0]
    assert ratios(timings, Run(other, 2), 8) == [3.0, 0.5]
