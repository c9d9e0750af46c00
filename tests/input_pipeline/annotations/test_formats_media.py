"""Where media are: under folders and addresses, as clips of videos, as folders of frames."""

import pytest

from input_pipeline.examples import MediaRef
from input_pipeline.paths import in_frame_list
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
        {"start_time": 1.5, "end_time": 4},
        {"start_time": "1.5", "end_time": "4.0"},
        {"start": "00:00:01.5", "end": "00:04"},
        {"clip": ["0:01.500", "00:00:04"]},
        {"video_start": "00:00:01,500", "video_end": 4},
        {"timestamps": [1.5, 4]},
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
        {"start": "soon"},
        {"start": "00:61:70:80"},
        {"start": "-00:10"},
        {"start": 1e8},
        {"start_time": "00:00:04", "end_time": "00:00:03"},
        {"timestamps": [4, 1.5]},
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


def test_hours_and_minutes(tmp_path):
    for text, seconds in (("00:01:20", 80.0), ("1:02:03.25", 3723.25), ("75:00", 4500.0)):
        assert read_one(tmp_path, qa(video="a.mp4", start=text)).media[0].start_s == seconds


def test_timestamps_that_are_no_clip_are_metadata(tmp_path):
    for stamps in ([[0, 5], [5, 9]], [1, 2, 3], "noon"):
        example = read_one(tmp_path, qa(video="a.mp4", timestamps=stamps))
        assert example.media == (MediaRef("video", PATH),)
        assert example.meta["timestamps"] == stamps


# ── A list of pictures as one video. ────────────────────────────────────────────────────────────


def frames_of(example):
    (ref,) = example.media
    assert ref.kind == "video"
    return in_frame_list(ref.path)


@pytest.mark.parametrize("key", ["video", "videos"])
def test_a_list_of_pictures_is_one_video(tmp_path, key):
    names = ["k7/1.jpg", "k7/2.JPG", "k7/9.png"]
    value = names if key == "video" else [names]
    files = [f"{ROOT}/{name}" for name in names]
    for keys, times in (
        ({}, [0.0, 1.0, 2.0]),
        ({"fps": 4}, [0.0, 0.25, 0.5]),
        ({"sample_fps": 2.0}, [0.0, 0.5, 1.0]),
        ({"timestamps": [10, 11.5, "00:00:20"]}, [10.0, 11.5, 20.0]),
    ):
        assert frames_of(read_one(tmp_path, qa(**{key: value}, **keys))) == (files, times)
    part = {"type": "video", "video": [f"file://{files[0]}", files[1]], "timestamps": [3, 5]}
    messages = [
        {"role": "user", "content": [part, {"type": "text", "text": "What?"}]},
        {"role": "assistant", "content": "That."},
    ]
    example = read_one(tmp_path, {"messages": messages})
    assert frames_of(example) == (files[:2], [3.0, 5.0])
    assert (example.media[0].start_s, example.media[0].end_s) == (None, None)


def test_a_list_of_pictures_may_be_cut_and_lie_anywhere_below_the_root(tmp_path):
    example = read_one(tmp_path, qa(video=["a.jpg", "b.jpg"], timestamps=[1, 2], start=0, end=0.5))
    assert example.media[0].end_s == 0.5
    example = read_one(tmp_path, qa(video=["a.jpg", "b.jpg"]), root="gs://bucket/data")
    assert frames_of(example)[0] == ["gs://bucket/data/a.jpg", "gs://bucket/data/b.jpg"]
    assert reason_of(tmp_path, qa(video=["a.jpg", "../b.jpg"])) == "path_outside_root"


@pytest.mark.parametrize("stamps", [[1], [1, 1], [2, 1], [1, "soon"], 5, [1, None], [1, 2, 3]])
def test_timestamps_that_do_not_fit_the_pictures(tmp_path, stamps):
    reason = reason_of(tmp_path, qa(video=["a.jpg", "b.jpg"], timestamps=stamps))
    assert reason in ("bad_media", "bad_clip")


def test_a_list_of_clips_is_as_many_videos(tmp_path):
    example = read_one(tmp_path, qa(video=["a.mp4", "b.mp4"]))
    assert [ref.path for ref in example.media] == [PATH, f"{ROOT}/b.mp4"]


# ── Numbers that beat the policy and the layout. ────────────────────────────────────────────────


def test_frames_and_sizes_of_a_medium(tmp_path):
    own = {"fps": 2, "nframes": 8, "min_pixels": 784, "max_pixels": 50176}
    expected = MediaRef("video", PATH, None, None, 2.0, 8, 784, 50176)
    assert read_one(tmp_path, qa(video="a.mp4", **own)).media == (expected,)
    messages = [
        {"role": "user", "content": [{"type": "video", "video": "a.mp4", **own}, "What?"]},
        {"role": "assistant", "content": "That."},
    ]
    assert read_one(tmp_path, {"messages": messages}).media == (expected,)
    (image,) = read_one(tmp_path, qa(image="a.png", **own)).media
    assert image == MediaRef("image", f"{ROOT}/a.png", min_pixels=784, max_pixels=50176)
    (folder,) = read_one(tmp_path, qa(video="frames/k7", **own)).media
    assert folder.path.endswith("?fps=2") and (folder.fps, folder.nframes) == (None, 8)


@pytest.mark.parametrize(
    "own",
    [
        {"nframes": 0},
        {"nframes": 2.5},
        {"nframes": "many"},
        {"nframes": 10**400},
        {"max_pixels": -1},
        {"max_pixels": 10**400},
        {"min_pixels": 1e30},
        {"min_pixels": 2000, "max_pixels": 1000},
    ],
)
def test_frames_and_sizes_that_are_none(tmp_path, own):
    assert reason_of(tmp_path, qa(video="a.mp4", **own)) == "bad_media"


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
