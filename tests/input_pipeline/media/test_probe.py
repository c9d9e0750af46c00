"""Sizes and times of clips that were written with known ones."""

from fractions import Fraction

import cv2
import numpy as np
import pytest

from input_pipeline.examples import MediaRef
from input_pipeline.media import MediaInfo, probe, read_frames
from tests.input_pipeline.media_fixtures import (
    jpeg_with_orientation,
    painted_frame,
    read_number,
    shifted_copy,
    write_clip,
)


def probe_video(path):
    return probe(MediaRef("video", str(path)))


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("plain.mp4", "libx264", {"bf": "0"}),
        ("b_frames.mp4", "libx264", {"bf": "3", "g": "12"}),
        ("b_frames.mkv", "libx264", {"bf": "3", "g": "12"}),
        ("hevc.mp4", "libx265", {"x265-params": "log-level=none"}),
        ("b_frames.avi", "mpeg4", {"bf": "2"}),
        ("h264.avi", "libx264", {"bf": "3", "g": "12"}),
        ("clip.mxf", "mpeg2video", {"bf": "2"}),
        ("h264.mxf", "libx264", {"bf": "2"}),
        ("program_stream.mpg", "mpeg2video", {"bf": "2"}),
        ("transport_stream.ts", "libx264", {}),
        ("vp8.webm", "libvpx", {"auto-alt-ref": "1", "lag-in-frames": "16"}),
        ("vp9.webm", "libvpx-vp9", {}),
    ],
)
def test_constant_rate(tmp_path, name, codec, options):
    info = probe_video(write_clip(tmp_path / name, 40, fps=25, codec=codec, options=options))
    assert (info.kind, info.width, info.height, info.frames) == ("video", 128, 96, 40)
    np.testing.assert_allclose(info.frame_times, np.arange(40) / 25, atol=1e-6)
    assert info.duration_s == pytest.approx(1.6)
    assert info.fps == pytest.approx(25)


@pytest.mark.parametrize("name", ["vfr.mp4", "vfr.mkv"])
def test_variable_rate_has_the_times_that_were_written(tmp_path, name):
    milliseconds = np.cumsum([0, 40, 40, 500, 20, 20, 20, 1000, 33, 34, 33, 40])
    times = [Fraction(int(ms), 1000) for ms in milliseconds]
    info = probe_video(write_clip(tmp_path / name, len(times), times=times))
    np.testing.assert_allclose(info.frame_times, milliseconds / 1000, atol=1e-6)
    # mean interval 1.78 s / 11
    assert info.duration_s == pytest.approx(1.78 + 1.78 / 11)
    assert info.fps == pytest.approx(11 / 1.78)


def test_times_start_at_zero_when_the_container_starts_later(tmp_path):
    times = [Fraction(5) + Fraction(i, 10) for i in range(6)]
    info = probe_video(write_clip(tmp_path / "late.mkv", 6, times=times))
    np.testing.assert_allclose(info.frame_times, np.arange(6) / 10, atol=1e-6)


def test_frames_before_the_edit_list_are_not_counted(tmp_path):
    whole = write_clip(tmp_path / "whole.mp4", 20, fps=25)
    cut = shifted_copy(whole, tmp_path / "cut.mp4", 5)
    info = probe_video(cut)
    np.testing.assert_allclose(info.frame_times, np.arange(15) / 25, atol=1e-6)


def test_dv(tmp_path):
    options = {"codec": "dvvideo", "size": (720, 576), "fps": 25}
    info = probe_video(write_clip(tmp_path / "tape.dv", 3, **options))
    assert (info.width, info.height, info.frames) == (720, 576, 3)
    np.testing.assert_allclose(info.frame_times, np.arange(3) / 25, atol=1e-6)


@pytest.mark.parametrize(("name", "codec"), [("a.ts", "libx264"), ("a.mpg", "mpeg2video")])
def test_times_that_begin_anew_go_on(tmp_path, name, codec):
    """As where recordings were joined byte by byte."""
    once = write_clip(tmp_path / name, 20, codec=codec, options={"bf": "2"}).read_bytes()
    (tmp_path / f"twice_{name}").write_bytes(once + once)
    info = probe_video(tmp_path / f"twice_{name}")
    np.testing.assert_allclose(info.frame_times, np.arange(40) / 25, atol=1e-6)
    frames = read_frames(MediaRef("video", str(tmp_path / f"twice_{name}")), [0, 19, 20, 39])
    assert [read_number(frame) for frame in frames] == [0, 19, 0, 19]


def test_gif_is_a_video_when_referenced_as_one(tmp_path):
    path = write_clip(tmp_path / "a.gif", 12, fps=10, codec="gif", pixel_format="rgb8")
    info = probe_video(path)
    assert (info.kind, info.frames) == ("video", 12)
    np.testing.assert_allclose(info.frame_times, np.arange(12) / 10, atol=1e-6)
    still = probe(MediaRef("image", str(path)))
    assert (still.kind, still.width, still.height, still.frame_times) == ("image", 128, 96, (0.0,))


def test_one_frame(tmp_path):
    info = probe_video(write_clip(tmp_path / "one.mp4", 1, fps=25))
    assert info.frame_times == (0.0,)
    assert info.duration_s == pytest.approx(0.04)


@pytest.mark.parametrize(
    ("rotation", "size"), [(0, (128, 96)), (90, (96, 128)), (180, (128, 96)), (270, (96, 128))]
)
def test_rotated_clips_are_measured_as_displayed(tmp_path, rotation, size):
    info = probe_video(write_clip(tmp_path / "turned.mp4", 2, rotation=rotation))
    assert (info.width, info.height) == size


@pytest.mark.parametrize("extension", [".jpg", ".png", ".webp", ".bmp"])
def test_image_size_from_the_header(tmp_path, extension):
    path = tmp_path / f"image{extension}"
    assert cv2.imwrite(str(path), painted_frame(5, 150, 90))
    info = probe(MediaRef("image", str(path)))
    assert info == MediaInfo("image", 150, 90, (0.0,), 0.0)
    assert (info.frames, info.fps) == (1, 0.0)


def test_lossless_and_transparent_webp_sizes(tmp_path):
    lossless = tmp_path / "lossless.webp"
    cv2.imwrite(str(lossless), painted_frame(5, 150, 90), [cv2.IMWRITE_WEBP_QUALITY, 101])
    transparent = tmp_path / "transparent.webp"
    pixels = np.dstack([painted_frame(5, 150, 90), np.full((90, 150), 128, np.uint8)])
    cv2.imwrite(str(transparent), pixels, [cv2.IMWRITE_WEBP_QUALITY, 80])
    for path in (lossless, transparent):
        info = probe(MediaRef("image", str(path)))
        assert (info.width, info.height) == (150, 90)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_exchanges_the_sides(tmp_path, orientation):
    jpeg = cv2.imencode(".jpg", painted_frame(5, 150, 90))[1].tobytes()
    path = tmp_path / "turned.jpg"
    path.write_bytes(jpeg_with_orientation(jpeg, orientation))
    info = probe(MediaRef("image", str(path)))
    shown = cv2.imread(str(path))  # OpenCV applies the orientation by itself
    assert (info.height, info.width) == shown.shape[:2]
