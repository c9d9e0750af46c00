"""Which frame comes back, compared with decoding everything and with the painted numbers."""

import struct
from fractions import Fraction

import av
import cv2
import numpy as np
import psutil
import pytest

from input_pipeline.examples import MediaRef
from input_pipeline.media import MediaError, probe, resize
from input_pipeline.media.frames import decode_frames, preview_frames
from tests.input_pipeline.media_fixtures import (
    painted_frame,
    read_number,
    shifted_copy,
    write_clip,
)

FRAMES = 90
CLIPS = {
    "one_group.mp4": ("libx264", {"bf": "3", "g": "250"}),
    "groups.mp4": ("libx264", {"bf": "3", "g": "12"}),
    "groups.mkv": ("libx264", {"bf": "3", "g": "12"}),
    "open_groups.mp4": ("libx264", {"x264-params": "open-gop=1:keyint=12:bframes=3"}),
    "hevc.mp4": ("libx265", {"x265-params": "keyint=12:bframes=3:log-level=none"}),
    "vp9.webm": ("libvpx-vp9", {"g": "12"}),
    "vp8.webm": ("libvpx", {"g": "12", "auto-alt-ref": "1", "lag-in-frames": "16"}),
    "b_frames.avi": ("mpeg4", {"bf": "2", "g": "12"}),
    "h264.avi": ("libx264", {"bf": "3", "g": "12"}),
    "clip.mxf": ("mpeg2video", {"bf": "2", "g": "12"}),
    "h264.mxf": ("libx264", {"bf": "2", "g": "12"}),
    "program_stream.mpg": ("mpeg2video", {"bf": "2"}),
    "transport_stream.ts": ("libx264", {"g": "12"}),
    "av1.mp4": ("libsvtav1", {"g": "12"}),
    "vp9.mkv": ("libvpx-vp9", {"g": "12", "auto-alt-ref": "1", "lag-in-frames": "16"}),
    "negative_offsets.mp4": ("libx264", {"bf": "3", "g": "12"}),
    "clip.gif": ("gif", {}),
}
CONTAINER_OPTIONS = {"negative_offsets.mp4": {"movflags": "negative_cts_offsets"}}


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    return {
        name: write_clip(
            folder / name,
            FRAMES,
            codec=codec,
            options=options,
            pixel_format="rgb8" if codec == "gif" else "yuv420p",
            container_options=CONTAINER_OPTIONS.get(name),
        )
        for name, (codec, options) in CLIPS.items()
    }


def decode_everything(path):
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


@pytest.mark.parametrize("name", CLIPS)
def test_frames_equal_those_of_decoding_everything(clips, name):
    everything = decode_everything(clips[name])
    assert [read_number(frame) for frame in everything] == list(range(FRAMES))
    rng = np.random.default_rng(7)
    for count in (1, 2, 4, 8, 16):
        indices = np.sort(rng.choice(FRAMES, count, replace=False))
        frames = decode_frames(MediaRef("video", str(clips[name])), indices)
        assert frames.dtype == np.uint8 and frames.shape == (count, 96, 128, 3)
        assert [read_number(frame) for frame in frames] == indices.tolist()
        for frame, index in zip(frames, indices, strict=True):
            np.testing.assert_array_equal(frame, everything[index])


@pytest.mark.parametrize("name", CLIPS)
def test_threads_that_share_a_clip_change_nothing(clips, name):
    ref = MediaRef("video", str(clips[name]))
    indices = [0, 3, 17, 30, 30, 47, 61, 88]
    for threads in (2, 3, 50):
        frames = decode_frames(ref, indices, threads=threads)
        np.testing.assert_array_equal(frames, decode_frames(ref, indices))


def test_what_is_wrong_in_another_threads_share_is_told(tmp_path):
    whole = write_clip(tmp_path / "whole.mp4", FRAMES, options={"bf": "0", "g": "10"})
    with av.open(str(whole)) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    data = bytearray(whole.read_bytes())
    start, size = places[45]
    data[start + 8 : start + size] = bytes(255 for _ in range(size - 8))
    (tmp_path / "damaged.mp4").write_bytes(data)
    damaged = MediaRef("video", str(tmp_path / "damaged.mp4"))
    for threads in (1, 2, 9):
        with pytest.raises(MediaError):
            decode_frames(damaged, range(0, FRAMES, 5), threads=threads)


@pytest.mark.parametrize("name", ["groups.mp4", "b_frames.avi"])
def test_repeats_first_and_last(clips, name):
    frames = decode_frames(MediaRef("video", str(clips[name])), [0, 0, FRAMES - 1, FRAMES - 1])
    assert [read_number(frame) for frame in frames] == [0, 0, FRAMES - 1, FRAMES - 1]


def test_variable_rate(tmp_path):
    times = [Fraction(i * i * 3, 1000) for i in range(40)]
    path = write_clip(tmp_path / "vfr.mp4", 40, times=times, options={"g": "10", "bf": "3"})
    frames = decode_frames(MediaRef("video", str(path)), [1, 7, 8, 30, 39])
    assert [read_number(frame) for frame in frames] == [1, 7, 8, 30, 39]


@pytest.mark.parametrize(
    ("codec", "pixel_format", "size"),
    [
        ("libx264", "yuv444p", (128, 96)),
        ("libx264", "yuv444p", (127, 95)),
        ("libx264", "yuv420p10le", (128, 96)),
        ("libx265", "yuv420p10le", (128, 96)),
        ("libsvtav1", "yuv420p10le", (128, 96)),
        ("libvpx-vp9", "yuv420p", (131, 97)),
    ],
)
def test_pixel_formats_and_odd_sizes(tmp_path, codec, pixel_format, size):
    options = {"x265-params": "keyint=12:log-level=none"} if codec == "libx265" else {"g": "12"}
    path = write_clip(
        tmp_path / "a.mp4", 40, codec=codec, pixel_format=pixel_format, size=size, options=options
    )
    everything = decode_everything(path)
    frames = decode_frames(MediaRef("video", str(path)), [0, 5, 23, 24, 39])
    assert frames.shape == (5, *size[::-1], 3)
    assert [read_number(frame) for frame in frames] == [0, 5, 23, 24, 39]
    for frame, index in zip(frames, (0, 5, 23, 24, 39), strict=True):
        np.testing.assert_array_equal(frame, everything[index])


@pytest.mark.parametrize("bframes", ["0", "3"])
@pytest.mark.parametrize("cut", [1, 5, 13, 24])
def test_frames_that_an_edit_list_hides_are_not_counted(tmp_path, cut, bframes):
    whole = write_clip(tmp_path / "whole.mp4", 60, options={"bf": bframes, "g": "12"})
    ref = MediaRef("video", str(shifted_copy(whole, tmp_path / "cut.mp4", cut)))
    assert probe(ref).frames == 60 - cut
    chosen = [0, 1, 7, 20, 59 - cut]
    assert [read_number(f) for f in decode_frames(ref, chosen)] == [cut + i for i in chosen]


@pytest.mark.parametrize("name", ["groups.mp4", "b_frames.avi", "av1.mp4"])
def test_frames_are_resized_as_they_come(clips, name):
    ref = MediaRef("video", str(clips[name]))
    full = decode_frames(ref, [2, 40, 40])
    small = decode_frames(ref, [2, 40, 40], size=(56, 84))
    np.testing.assert_array_equal(small, [resize(frame, 56, 84) for frame in full])


def test_previews_are_small_and_near_their_places(tmp_path):
    path = write_clip(tmp_path / "a.mp4", 240, size=(256, 128), options={"g": "24", "bf": "3"})
    ref = MediaRef("video", str(path))
    # Blocks of 8 pixels along the top of 256 become 2 of 64.
    numbers = [
        sum(1 << bit for bit in range(8) if frame[0, 2 * bit].mean() > 128)
        for frame in preview_frames(ref, 8, 64)
    ]
    places = np.round(np.linspace(0, 239, 8))
    nearest_keys = [24 * min(round(place / 24), 9) for place in places]
    slack = 239 / 7 / 4
    for number, place, key in zip(numbers, places, nearest_keys, strict=True):
        assert number == (key if abs(key - place) <= slack else place)
    assert {24, 48, 72} & set(numbers) and set(numbers) - set(range(0, 240, 24))
    assert preview_frames(ref, 8, 64).shape == (8, 32, 64, 3)
    tiny = preview_frames(MediaRef("video", str(write_clip(tmp_path / "b.mp4", 3))), 8, 64)
    assert tiny.shape[0] == 2 and max(tiny.shape[1:3]) == 64


def resident_bytes():
    return psutil.Process().memory_info().rss


@pytest.mark.parametrize("count", [300, pytest.param(10_000, marks=pytest.mark.slow)])
def test_memory_stays_flat(clips, count):
    names = ["groups.mp4", "groups.mkv", "hevc.mp4", "b_frames.avi", "vp9.webm"]
    refs = [MediaRef("video", str(clips[name])) for name in names]
    sizes = []
    for i in range(count):
        decode_frames(refs[i % len(refs)], [i % 40, 40 + i % 40])
        if i % (count // 10) == 0:
            sizes.append(resident_bytes())
    # From the second tenth on, when the allocator's pools are filled.
    assert max(sizes[2:]) - sizes[1] < 24 * 2**20


def test_without_a_seek_index(tmp_path):
    live = write_clip(
        tmp_path / "live.webm",
        60,
        codec="libvpx-vp9",
        options={"g": "12"},
        container_options={"live": "1"},
    )
    fragments = write_clip(
        tmp_path / "fragments.mp4",
        60,
        options={"g": "12"},
        container_options={"movflags": "frag_keyframe+empty_moov"},
    )
    for path in (live, fragments):
        frames = decode_frames(MediaRef("video", str(path)), [3, 30, 59])
        assert [read_number(frame) for frame in frames] == [3, 30, 59]


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_rotation_is_applied(tmp_path, rotation):
    path = write_clip(tmp_path / "turned.mp4", 3, rotation=rotation)
    ours = decode_frames(MediaRef("video", str(path)), [1])[0]
    capture = cv2.VideoCapture(str(path))  # turns frames by itself
    capture.read()
    theirs = cv2.cvtColor(capture.read()[1], cv2.COLOR_BGR2RGB)
    assert ours.shape == theirs.shape
    assert np.abs(ours.astype(int) - theirs).max() <= 2
    info = probe(MediaRef("video", str(path)))
    assert ours.shape == (info.height, info.width, 3)


def test_more_frames_asked_for_than_there_are(clips):
    for name in ("groups.mp4", "b_frames.avi"):
        with pytest.raises(MediaError, match=f"{FRAMES} frames.*frame 120") as caught:
            decode_frames(MediaRef("video", str(clips[name])), [0, 120])
        assert caught.value.reason == "truncated"


@pytest.mark.parametrize("indices", [[], [-1, 2], [3, 2]])
def test_bad_indices_are_a_programming_error(clips, indices):
    with pytest.raises(ValueError, match="non-decreasing"):
        decode_frames(MediaRef("video", str(clips["groups.mp4"])), indices)


@pytest.mark.parametrize("across", [1, -1])
@pytest.mark.parametrize("down", [1, -1])
@pytest.mark.parametrize("swaps", [False, True])
def test_all_eight_display_matrices(tmp_path, across, down, swaps):
    path = write_clip(tmp_path / "a.mp4", 4, size=(96, 64), options={"qp": "0"})
    (stored,) = decode_frames(MediaRef("video", str(path)), [0])
    # ISO/IEC 14496-12, 8.3.2: the matrix follows 40 bytes behind the start of tkhd's content, and a
    # pixel at (x, y) is shown at (a x + c y, b x + d y).
    (a, b), (c, d) = ((0, across), (down, 0)) if swaps else ((across, 0), (0, down))
    data = bytearray(path.read_bytes())
    one = 1 << 16
    matrix = (a * one, b * one, 0, c * one, d * one, 0, 0, 0, 1 << 30)
    struct.pack_into(">9i", data, data.index(b"tkhd") + 4 + 40, *matrix)
    path.write_bytes(data)
    y, x = np.mgrid[: stored.shape[0], : stored.shape[1]]
    columns, rows = a * x + c * y, b * x + d * y
    columns, rows = columns - columns.min(), rows - rows.min()
    shown = np.empty((rows.max() + 1, columns.max() + 1, 3), np.uint8)
    shown[rows, columns] = stored
    ref = MediaRef("video", str(path))
    np.testing.assert_array_equal(decode_frames(ref, [0])[0], shown)
    assert decode_frames(ref, [0], (32, 48)).shape == (1, 32, 48, 3)
    assert (probe(ref).height, probe(ref).width) == shown.shape[:2]


@pytest.mark.parametrize("container", ["avi", "mp4", "mkv"])
@pytest.mark.parametrize("default", [False, True])
def test_of_several_streams_the_film(tmp_path, container, default):
    """A thumbnail comes first; with `default` the film is marked, else it is told by its length."""
    if (container, default) == ("mkv", False):
        pytest.skip("Matroska marks the first stream then, and does not tell how long they are")
    path = tmp_path / f"two.{container}"
    with av.open(str(path), "w") as out:
        thumbnail, film = (out.add_stream("mpeg4", rate=25) for _ in range(2))
        for stream, (width, height) in ((thumbnail, (64, 64)), (film, (128, 96))):
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        if default:
            film.disposition = av.stream.Disposition.default
        for number in range(10):
            frame = av.VideoFrame.from_ndarray(painted_frame(number), format="rgb24")
            out.mux(film.encode(frame))
        small = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
        out.mux(thumbnail.encode(small))
        out.mux(film.encode(None))
        out.mux(thumbnail.encode(None))
    info = probe(MediaRef("video", str(path)))
    assert (info.width, info.height, info.frames) == (128, 96, 10)
    (frame,) = decode_frames(MediaRef("video", str(path)), [7])
    assert read_number(frame) == 7
