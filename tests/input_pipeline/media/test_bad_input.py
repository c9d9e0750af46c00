"""Every way a media file can be bad has its reason; garbage raises nothing but MediaError."""

import os
import struct
import time
import zlib

import av
import cv2
import numpy as np
import psutil
import pytest

from input_pipeline.examples import MediaRef
from input_pipeline.media import MediaError, bounds, probe, read_frames
from input_pipeline.media.frames import decode_frames
from input_pipeline.media.images import read_image
from tests.input_pipeline.media_fixtures import (
    painted_frame,
    truncate,
    write_audio,
    write_clip,
    write_empty_clip,
    write_raw_h264,
)


def reason_of(kind, path):
    """The reason that both probing and decoding give."""
    reasons = set()
    ref = MediaRef(kind, str(path))
    for read in (probe, lambda ref: read_frames(ref, [0])):
        with pytest.raises(MediaError) as caught:
            read(ref)
        assert caught.value.path == str(path)
        assert caught.value.detail
        reasons.add(caught.value.reason)
    assert len(reasons) == 1
    return reasons.pop()


@pytest.mark.parametrize("kind", ["image", "video"])
def test_what_is_not_a_file(tmp_path, kind):
    (tmp_path / "empty").touch()
    os.mkfifo(tmp_path / "pipe")
    assert reason_of(kind, str(tmp_path / "nothing.mp4")) == "missing"
    assert reason_of(kind, str(tmp_path / "empty" / "below_a_file.mp4")) == "missing"
    assert reason_of(kind, str(tmp_path)) == {"image": "directory", "video": "no_frames"}[kind]
    assert reason_of(kind, str(tmp_path / "pipe")) == "not_a_file"
    assert reason_of(kind, str(tmp_path / "empty")) == "empty"
    assert reason_of(kind, str(tmp_path / "nul\0byte")) == "unreadable"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
@pytest.mark.parametrize("kind", ["image", "video"])
def test_without_permission(tmp_path, kind):
    path = write_clip(tmp_path / "secret.mp4", 2)
    path.chmod(0)
    assert reason_of(kind, str(path)) == "unreadable"


def test_bad_videos(tmp_path):
    garbage = tmp_path / "garbage.mp4"
    garbage.write_bytes(np.random.default_rng(0).bytes(5000))
    picture = tmp_path / "picture.mp4"
    picture.write_bytes(cv2.imencode(".png", painted_frame(1))[1].tobytes())
    playlist = tmp_path / "playlist.mp4"  # would make FFmpeg open the file it names
    other = write_clip(tmp_path / "other.mp4", 2)
    playlist.write_text(f"ffconcat version 1.0\nfile {other}\n")
    stream = tmp_path / "stream.mp4"
    stream.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\n{other}\n#EXT-X-ENDLIST\n")
    assert reason_of("video", str(garbage)) == "corrupt"
    assert reason_of("video", str(picture)) == "unsupported_format"
    assert reason_of("video", str(playlist)) == "unsupported_format"
    assert reason_of("video", str(stream)) in {"unsupported_format", "corrupt"}
    assert reason_of("video", str(write_audio(tmp_path / "audio.mp4"))) == "not_video"
    assert reason_of("video", str(write_empty_clip(tmp_path / "none.mp4"))) == "no_frames"
    without_index = truncate(write_clip(tmp_path / "no_index.mp4", 64), 0.6)
    assert reason_of("video", str(without_index)) == "corrupt"


def test_truncated_video_says_how_much_is_there(tmp_path):
    path = write_clip(tmp_path / "cut.mp4", 64, container_options={"movflags": "faststart"})
    truncate(path, 0.6)
    assert reason_of("video", str(path)) == "truncated"
    with pytest.raises(MediaError, match=r"\d+ of 64 announced"):
        probe(MediaRef("video", str(path)))


def test_truncated_exactly_between_two_frames(tmp_path):
    path = write_clip(tmp_path / "cut.mp4", 64, container_options={"movflags": "faststart"})
    with av.open(str(path)) as container:
        packets = [(p.pos, p.size) for p in container.demux(video=0) if p.size]
    position, size = sorted(packets)[39]
    path.write_bytes(path.read_bytes()[: position + size])
    with pytest.raises(MediaError, match="40 of 64 announced frames") as caught:
        probe(MediaRef("video", str(path)))
    assert caught.value.reason == "truncated"


def test_a_header_that_promises_more_pictures_than_there_are(tmp_path):
    """431 announced, the bytes of 300 there, the rest of the file zeros."""
    path = write_clip(tmp_path / "lies.mp4", 431, container_options={"movflags": "faststart"})
    with av.open(str(path)) as container:
        ends = sorted(p.pos + p.size for p in container.demux(video=0) if p.size)
    data = path.read_bytes()
    path.write_bytes(data[: ends[299]] + bytes(len(data) - ends[299]))
    ref = MediaRef("video", str(path))
    assert probe(ref).frames == 431  # nothing but decoding tells
    assert len(decode_frames(ref, [0, 100, 250])) == 3
    for indices in ([0, 430], [350], range(431)):
        with pytest.raises(MediaError) as caught:
            decode_frames(ref, indices)
        assert caught.value.reason in {"corrupt", "truncated"}


def test_a_frame_count_in_the_header_is_not_believed(tmp_path):
    path = write_clip(tmp_path / "lies.avi", 30, codec="mpeg4")
    data = bytearray(path.read_bytes())
    place = data.index(b"avih") + 8 + 16  # dwTotalFrames
    assert struct.unpack_from("<I", data, place) == (30,)
    struct.pack_into("<I", data, place, 431)
    path.write_bytes(data)
    assert probe(MediaRef("video", str(path))).frames == 30


def test_an_encrypted_video_is_named(tmp_path):
    key = {"encryption_key": "00112233445566778899aabbccddeeff", "encryption_kid": "01" * 16}
    for flags in ("faststart", "frag_keyframe+empty_moov"):
        options = {"movflags": flags, "encryption_scheme": "cenc-aes-ctr", **key}
        path = write_clip(tmp_path / "locked.mp4", 20, container_options=options)
        assert reason_of("video", str(path)) == "encrypted"


def test_a_video_of_a_hundred_megapixels_is_refused(tmp_path):
    path = tmp_path / "huge.avi"
    black = av.VideoFrame(10_000, 10_000, "gray")
    black.planes[0].update(bytes(black.planes[0].buffer_size))
    with av.open(str(path), "w") as out:
        stream = out.add_stream("png", rate=1)
        stream.width, stream.height, stream.pix_fmt = 10_000, 10_000, "gray"
        out.mux(stream.encode(black))
        out.mux(stream.encode(None))
    assert path.stat().st_size < 10**6
    assert reason_of("video", str(path)) in {"too_many_pixels", "corrupt"}


def test_pictures_without_times(tmp_path):
    path = write_raw_h264(tmp_path / "raw.h264")
    with pytest.raises(MediaError) as caught:
        probe(MediaRef("video", str(path)))
    assert caught.value.reason == "no_times"


def test_damage_inside_the_pictures(tmp_path):
    """The container is whole, the pictures are not: an error, or the frames, never a hang."""
    path = write_clip(tmp_path / "damaged.mp4", 48, options={"g": "12"})
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        packets = [(p.pos, p.size) for p in container.demux(video=0) if p.size]
    position, size = packets[30]
    data[position : position + size] = b"\xff" * size
    path.write_bytes(data)
    assert probe(MediaRef("video", str(path))).frames == 48
    with pytest.raises(MediaError) as caught:
        decode_frames(MediaRef("video", str(path)), range(48))
    assert caught.value.reason in {"corrupt", "truncated"}


def test_video_bounds(tmp_path, monkeypatch):
    path = str(write_clip(tmp_path / "a.mp4", 10, fps=10))
    for name, value, reason in [
        ("MAX_VIDEO_BYTES", 100, "too_large"),
        ("MAX_FRAME_PIXELS", 128 * 96 - 1, "too_many_pixels"),
        ("MAX_FRAMES", 9, "too_long"),
    ]:
        with monkeypatch.context() as patch:
            patch.setattr(bounds, name, value)
            assert reason_of("video", path) == reason
    monkeypatch.setattr(bounds, "MAX_DURATION_S", 0.85)
    with pytest.raises(MediaError, match="too_long"):
        probe(MediaRef("video", path))


def test_a_picture_bomb_in_a_gif_is_refused(tmp_path):
    path = tmp_path / "bomb.gif"
    write_clip(path, 2, codec="gif", pixel_format="rgb8")
    data = bytearray(path.read_bytes())
    data[6:10] = struct.pack("<HH", 40_000, 40_000)
    path.write_bytes(data)
    with pytest.raises(MediaError, match=f"beyond {bounds.MAX_FRAME_PIXELS} pixels") as caught:
        probe(MediaRef("video", str(path)))
    assert caught.value.reason == "corrupt"
    assert reason_of("image", str(path)) == "too_many_pixels"


# --- images -------------------------------------------------------------------------------------


def png_claiming(width, height):
    """A PNG whose header claims this size and whose data is a few bytes."""

    def chunk(kind, body):
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 100))
        + chunk(b"IEND", b"")
    )


def test_bad_images(tmp_path):
    def file(name, data):
        (tmp_path / name).write_bytes(data)
        return str(tmp_path / name)

    jpeg = cv2.imencode(".jpg", painted_frame(1, 200, 150))[1].tobytes()
    png = cv2.imencode(".png", painted_frame(1, 200, 150))[1].tobytes()
    webp = cv2.imencode(".webp", painted_frame(1, 200, 150))[1].tobytes()
    assert reason_of("image", file("text.jpg", b"<html>404 Not Found</html>")) == (
        "unsupported_format"
    )
    assert reason_of("image", file("bomb.png", png_claiming(60_000, 60_000))) == "too_many_pixels"
    assert reason_of("image", file("zero.png", png_claiming(0, 5))) == "corrupt"
    assert reason_of("image", file("header.jpg", jpeg[:10])) == "corrupt"
    for name, data in (("cut.jpg", jpeg), ("cut.png", png), ("cut.webp", webp)):
        assert reason_of("image", file(name, data[: len(data) * 2 // 3])) == "truncated"
    clip = write_clip(tmp_path / "clip.mp4", 2)
    assert reason_of("image", str(clip)) == "unsupported_format"


def test_data_that_inflates_without_end_is_not_inflated(tmp_path):
    """A PNG of 64 x 64 pixels whose data inflates to 300 MB."""

    def chunk(kind, body):
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", 64, 64, 8, 2, 0, 0, 0)
    bomb = zlib.compress(bytes(300 * 2**20), 9)
    path = tmp_path / "bomb.png"
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"zTXt", b"Comment\0\0" + bomb)
        + chunk(b"IDAT", bomb)
        + chunk(b"IEND", b"")
    )
    before = psutil.Process().memory_info().rss
    start = time.monotonic()
    try:
        assert read_image(str(path)).shape == (64, 64, 3)
    except MediaError as error:
        assert error.reason == "corrupt"
    assert psutil.Process().memory_info().rss - before < 150 * 2**20
    assert time.monotonic() - start < 5


def test_image_bounds(tmp_path, monkeypatch):
    path = str(tmp_path / "a.png")
    cv2.imwrite(path, painted_frame(1))
    monkeypatch.setattr(bounds, "MAX_IMAGE_BYTES", 100)
    assert reason_of("image", path) == "too_large"


def test_pixel_damage_in_a_whole_png_is_an_error(tmp_path):
    data = bytearray(cv2.imencode(".png", painted_frame(1, 200, 150))[1].tobytes())
    middle = len(data) // 2
    data[middle : middle + 40] = bytes(40)
    path = tmp_path / "damaged.png"
    path.write_bytes(data)
    with pytest.raises(MediaError) as caught:
        read_image(str(path))
    assert caught.value.reason == "corrupt"


# --- garbage ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.mp4", {}),
        ("a.mkv", {}),
        ("a.avi", {"codec": "mpeg4"}),
        ("a.gif", {"codec": "gif", "pixel_format": "rgb8"}),
        ("a.webm", {"codec": "libvpx-vp9"}),
        ("a.ts", {}),
    ],
)
def test_damaged_videos_raise_nothing_else(tmp_path, name, options):
    path = write_clip(tmp_path / name, 12, **options)
    whole = path.read_bytes()
    rng = np.random.default_rng(3)
    refused = 0
    for _ in range(60):
        path.write_bytes(damaged(whole, rng))
        try:
            info = probe(MediaRef("video", str(path)))
            assert info.frames > 0 and info.width > 0
            decode_frames(MediaRef("video", str(path)), [0, info.frames - 1])
        except MediaError:
            refused += 1
    assert refused


@pytest.mark.parametrize("extension", [".jpg", ".png", ".webp", ".bmp", ".gif"])
def test_damaged_images_raise_nothing_else(tmp_path, extension):
    path = tmp_path / f"a{extension}"
    if extension == ".gif":
        write_clip(path, 2, codec="gif", pixel_format="rgb8")
    else:
        cv2.imwrite(str(path), painted_frame(1, 160, 120))
    whole = path.read_bytes()
    rng = np.random.default_rng(4)
    refused = 0
    for _ in range(150):
        path.write_bytes(damaged(whole, rng))
        try:
            info = probe(MediaRef("image", str(path)))
            assert read_image(str(path)).shape == (info.height, info.width, 3)
        except MediaError:
            refused += 1
    assert refused


@pytest.mark.parametrize("kind", ["image", "video"])
def test_random_bytes_raise_nothing_else(tmp_path, kind):
    starts = [
        b"",
        b"\xff\xd8\xff",
        b"\x89PNG\r\n\x1a\n",
        b"GIF89a",
        b"BM",
        b"RIFF\x00\x01\x00\x00WEBP",
    ]
    starts += [
        b"\0\0\0\x18ftypmp42",
        b"\x1aE\xdf\xa3",
        b"RIFF\x00\x01\x00\x00AVI LIST",
        b"\0\0\x01\xba",
    ]
    rng = np.random.default_rng(5)
    path = tmp_path / "noise"
    for start in starts * 6:
        path.write_bytes(start + rng.bytes(int(rng.integers(1, 4000))))
        with pytest.raises(MediaError):
            probe(MediaRef(kind, str(path)))
            read_frames(MediaRef(kind, str(path)), [0])


def damaged(whole, rng):
    """The file with a few bytes changed, and in one of three cases cut as well."""
    data = bytearray(whole)
    for _ in range(int(rng.integers(1, 20))):
        data[int(rng.integers(len(data)))] = int(rng.integers(256))
    if rng.integers(3) == 0:
        data = data[: int(rng.integers(1, len(data)))]
    return bytes(data)
