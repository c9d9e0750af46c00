"""Where media are: under folders and addresses, as clips of videos, as folders of frames."""

import pytest

from input_pipeline.examples import MediaRef
from tests.input_pipeline.annotations.format_helpers import ROOT, read_one, reason_of

PATH = f"{ROOT}/a.mp4"


def qa(**record):
    return {"question": "What?", "answer": "That.", **record}


@pytest.mark.parametrize(
    "keys",
    [
        {"start": 1.5, "end": 4},
        {"video_start": 1.5, "video_end": 4.0},
        {"clip": [1.5, 4]},
        {"clip": [[1.5, 4]]},
    ],
)
def test_a_clip_by_any_name(tmp_path, keys):
    example = read_one(tmp_path, qa(video="a.mp4", **keys))
    assert example.media == (MediaRef("video", PATH, 1.5, 4.0),)
    assert example.meta == {"answer": "That."}


def test_a_clip_may_be_open_and_each_video_may_have_one(tmp_path):
    assert read_one(tmp_path, qa(video="a.mp4", end=3)).media[0] == MediaRef(
        "video", PATH, None, 3.0
    )
    assert read_one(tmp_path, qa(video="a.mp4", clip=[2, None])).media[0].start_s == 2.0
    two = read_one(tmp_path, qa(video=["a.mp4", "b.mp4"], clip=[[0, 1], [2.5, 3]]))
    assert [(m.start_s, m.end_s) for m in two.media] == [(0.0, 1.0), (2.5, 3.0)]


def test_without_a_video_the_keys_are_metadata(tmp_path):
    example = read_one(tmp_path, qa(image="a.png", start="at noon", clip=7))
    assert example.meta == {"answer": "That.", "start": "at noon", "clip": 7}


@pytest.mark.parametrize(
    "keys",
    [
        {"start": "00:10"},
        {"start": -1},
        {"end": float("1e999")},
        {"start": 3, "end": 3},
        {"clip": [1]},
        {"clip": 5},
        {"start": True},
    ],
)
def test_bad_clips(tmp_path, keys):
    expected = "bad_record" if keys.get("end") == float("inf") else "bad_clip"
    assert reason_of(tmp_path, qa(video="a.mp4", **keys)) == expected
    assert reason_of(tmp_path, qa(video=["a.mp4", "b.mp4"], start=1)) == "bad_clip"
    assert reason_of(tmp_path, qa(video="a.mp4", clip=[[0, 1], [1, 2]])) == "bad_clip"


def test_numbers_beyond_all_floats(tmp_path):
    assert reason_of(tmp_path, qa(video="a.mp4", start=10**400)) == "bad_clip"
    assert reason_of(tmp_path, qa(video="a.mp4", end=10**400)) == "bad_clip"
    # As any other rate that is none: the folder's frames are taken as one a second.
    assert read_one(tmp_path, qa(video="frames/k7", fps=10**400)).media[0].path.endswith("k7")


def test_a_folder_of_frames_carries_its_rate(tmp_path):
    assert (
        read_one(tmp_path, qa(video="frames/k7", fps=2)).media[0].path == f"{ROOT}/frames/k7?fps=2"
    )
    assert read_one(tmp_path, qa(video="frames/k7")).media[0].path == f"{ROOT}/frames/k7"
    # The rate of a file is the file's own.
    assert read_one(tmp_path, qa(video="a.mp4", fps=2)).media[0].path == PATH


def test_what_is_there_tells_a_folder_of_frames_from_a_file(tmp_path):
    (tmp_path / "k7.mp4").mkdir()
    (tmp_path / "clip").touch()
    for name, path in (("k7.mp4", "k7.mp4?fps=4"), ("clip", "clip")):
        example = read_one(tmp_path, qa(video=name, fps=4), root=str(tmp_path))
        assert example.media[0].path == f"{tmp_path}/{path}"


@pytest.mark.parametrize("root", ["gs://bucket/data", "gs://bucket/data/"])
def test_a_media_root_that_is_an_address(tmp_path, root):
    for path in ("x/a.mp4", "gs://bucket/data/x/a.mp4", "y/../x/./a.mp4"):
        example = read_one(tmp_path, qa(video=path), root=root)
        assert example.media[0].path == "gs://bucket/data/x/a.mp4"
    for path in ("../a.mp4", "gs://bucket/a.mp4", "gs://other/data/a.mp4", "s3://bucket/data/a.mp4",
                 "x/../../a.mp4", "gs://bucket/data2/a.mp4"):  # fmt: skip
        assert reason_of(tmp_path, qa(video=path), root=root) == "path_outside_root"
