"""Animated pictures as videos, and pictures that are none of the formats read."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from input_pipeline.examples import MediaRef
from input_pipeline.media import MediaError, bounds, probe, read_frames
from input_pipeline.media.frames import preview_frames
from tests.input_pipeline.media_fixtures import painted_frame, read_number, truncate

MILLISECONDS = [100, 100, 200, 100, 50, 300]
FORMATS = {"webp": {"lossless": True}, "png": {}, "avif": {"quality": 95}}


@pytest.fixture(params=FORMATS)
def animation(tmp_path, request):
    if request.param == "avif" and not features.check("avif"):
        pytest.skip("Pillow was built without AVIF")
    first, *rest = (Image.fromarray(painted_frame(number)) for number in range(6))
    path = tmp_path / f"a.{request.param}"
    options = {"save_all": True, "append_images": rest, "duration": MILLISECONDS}
    first.save(path, **options, **FORMATS[request.param])
    return str(path)


def test_an_animation_is_a_video_where_it_is_named_as_one(animation):
    info = probe(MediaRef("video", animation))
    assert (info.width, info.height) == (128, 96)
    times = np.cumsum([0, *MILLISECONDS[:-1]]) / 1000
    np.testing.assert_allclose(info.frame_times, times, atol=1e-6)
    frames = read_frames(MediaRef("video", animation), [0, 2, 2, 5])
    assert [read_number(frame) for frame in frames] == [0, 2, 2, 5]
    clip = MediaRef("video", animation, 0.15, 0.45)
    assert [read_number(frame) for frame in read_frames(clip, [0, 1])] == [2, 3]
    assert read_frames(clip, [0], (28, 56)).shape == (1, 28, 56, 3)
    assert preview_frames(MediaRef("video", animation), 4, 64).shape == (4, 48, 64, 3)
    (first,) = read_frames(MediaRef("image", animation), [0])
    assert read_number(first) == 0


def test_bounds_and_damage(animation, monkeypatch):
    monkeypatch.setattr(bounds, "MAX_FRAMES", 5)
    with pytest.raises(MediaError) as caught:
        probe(MediaRef("video", animation))
    assert caught.value.reason == "too_long"
    monkeypatch.undo()
    with pytest.raises(MediaError):
        read_frames(MediaRef("video", animation), [6])
    truncate(Path(animation), 0.5)
    with pytest.raises(MediaError):
        read_frames(MediaRef("video", animation), [5])


@pytest.mark.parametrize("extension", ["webp", "png"])
def test_an_animation_is_shown_over_white(tmp_path, extension):
    clear = Image.new("RGBA", (8, 6), (200, 0, 0, 0))
    solid = Image.new("RGBA", (8, 6), (0, 0, 200, 255))
    path = tmp_path / f"a.{extension}"
    options = {"lossless": True} if extension == "webp" else {"disposal": 1, "blend": 0}
    clear.save(path, save_all=True, append_images=[solid], duration=0, **options)
    info = probe(MediaRef("video", str(path)))
    assert info.frame_times == (0.0, 0.1)  # what says 0 is shown for a tenth of a second
    frames = read_frames(MediaRef("video", str(path)), [0, 1])
    assert frames[:, 0, 0].tolist() == [[255, 255, 255], [0, 0, 200]]


def test_the_picture_of_a_png_for_viewers_without_animations_is_not_shown(tmp_path):
    still, *moving = (Image.fromarray(painted_frame(number)) for number in (9, 1, 2))
    path = tmp_path / "a.png"
    still.save(path, save_all=True, append_images=moving, default_image=True, duration=100)
    frames = read_frames(MediaRef("video", str(path)), [0, 1])
    assert [read_number(frame) for frame in frames] == [1, 2]
    assert probe(MediaRef("video", str(path))).frames == 2
    assert read_number(read_frames(MediaRef("image", str(path)), [0])[0]) == 9


@pytest.mark.parametrize("extension", ["webp", "png"])
def test_a_still_picture_is_no_video(tmp_path, extension):
    path = tmp_path / f"a.{extension}"
    Image.fromarray(painted_frame(1)).save(path)
    with pytest.raises(MediaError) as caught:
        probe(MediaRef("video", str(path)))
    assert caught.value.reason == "unsupported_format"


@pytest.mark.parametrize("kind", ["image", "video"])
@pytest.mark.parametrize("brand", [b"heic", b"mif1", b"hevc"])
def test_heic_is_named(tmp_path, kind, brand):
    path = tmp_path / "a.heic"
    path.write_bytes(b"\0\0\0\x18ftyp" + brand + bytes(400))
    with pytest.raises(MediaError, match="HEIC") as caught:
        probe(MediaRef(kind, str(path)))
    assert caught.value.reason == "unsupported_format"
