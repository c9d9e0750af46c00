"""The frame table of an MP4's header against the one read from its packets."""

import dataclasses
from fractions import Fraction

import av
import numpy as np
import pytest

from input_pipeline.examples import MediaRef
from input_pipeline.media import probe
from input_pipeline.media.resizing import Resizing
from input_pipeline.media.video import container, frame_table, frames
from input_pipeline.media.video.mp4_tables import Mp4Track
from tests.input_pipeline.media_fixtures import shifted_copy, write_clip

B_FRAMES = {"bf": "3", "g": "12"}
RAGGED = [Fraction(n, 1000) for n in (0, 40, 80, 580, 600, 620, 640, 1640, 1673, 1707, 1740, 1780)]


def tables(path):
    """(from the header, from the packets)."""
    with container.open_video(str(path)) as opened:
        header = frame_table._table_from_header(opened)
    with container.open_video(str(path)) as opened:
        return header, frame_table._table_from_packets(opened)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"options": B_FRAMES},
        {"options": {"bf": "0"}},
        {"options": {"x264-params": "open-gop=1:keyint=12:bframes=3"}},
        {"options": B_FRAMES, "container_options": {"movflags": "negative_cts_offsets"}},
        {"options": B_FRAMES, "container_options": {"movflags": "faststart"}},
        {"options": B_FRAMES, "times": RAGGED},
        {"options": {"bf": "0"}, "times": RAGGED},
        {"options": B_FRAMES, "times": [t + 3 for t in RAGGED]},
        {"codec": "libx265", "options": {"x265-params": "keyint=8:bframes=3:log-level=none"}},
        {"codec": "libvpx-vp9", "options": {"g": "8"}},
        {"codec": "libsvtav1", "options": {"g": "8", "svtav1-params": "tune=0"}},
        {"codec": "mpeg4", "options": {"bf": "2", "g": "8"}},
    ],
)
def test_header_and_packets_agree(tmp_path, options):
    path = write_clip(tmp_path / "a.mp4", len(options.get("times", range(40))), **options)
    header, packets = tables(path)
    assert header is not None
    assert (header.pts, header.keys) == (packets.pts, packets.keys)
    assert header.first.pts == packets.first.pts == header.pts[0]


@pytest.mark.parametrize("bframes", ["0", "3"])
@pytest.mark.parametrize("shift", [1, 5, 13])
def test_edit_lists(tmp_path, shift, bframes):
    whole = write_clip(tmp_path / "whole.mp4", 30, options={"bf": bframes, "g": "12"})
    header, packets = tables(shifted_copy(whole, tmp_path / "cut.mp4", shift))
    assert len(packets.pts) == 30 - shift
    assert header is None or (header.pts, header.keys) == (packets.pts, packets.keys)


@pytest.mark.parametrize("flags", ["frag_keyframe+empty_moov", "frag_keyframe"])
def test_fragments_are_read_from_the_packets(tmp_path, flags):
    path = write_clip(
        tmp_path / "a.mp4", 40, options=B_FRAMES, container_options={"movflags": flags}
    )
    header, packets = tables(path)
    assert header is None and len(packets.pts) == 40


def test_offsets_that_the_packets_contradict_are_not_believed(tmp_path, monkeypatch):
    path = write_clip(tmp_path / "a.mp4", 40, options=B_FRAMES)
    believed = probe(MediaRef("video", str(path)))
    track = Mp4Track(encrypted=False, offsets=np.zeros(40, np.int64))
    monkeypatch.setattr(container, "read_tracks", lambda file: {1: track})
    assert tables(path)[0] is None
    assert probe(MediaRef("video", str(path))) == believed


def test_probing_reads_the_header_and_the_first_frames_only(tmp_path, monkeypatch):
    path = write_clip(tmp_path / "a.mp4", 400, options={"g": "50", "qp": "0"}, size=(320, 240))
    read = []

    class Counting:
        def __init__(self, file):
            self._file = file

        def read(self, size=-1):
            data = self._file.read(size)
            read.append(len(data))
            return data

        def __getattr__(self, name):
            return getattr(self._file, name)

    opened = container.open_source

    def counting(path, max_bytes):
        import contextlib

        @contextlib.contextmanager
        def wrapped():
            with opened(path, max_bytes) as file:
                yield Counting(file)

        return wrapped()

    monkeypatch.setattr(container, "open_source", counting)
    assert probe(MediaRef("video", str(path))).frames == 400
    assert sum(read) < path.stat().st_size / 2


@pytest.mark.parametrize("fast_start", [False, True])
def test_the_headers_tables_are_those_of_the_decoders_index(tmp_path, fast_start):
    """Sample by sample, with audio between the pictures' chunks and frames out of order."""
    options = {"movflags": "faststart"} if fast_start else None
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w", options=options) as out:
        stream = out.add_stream("libx264", rate=25, options={"g": "12", "bf": "3"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        sound = out.add_stream("aac", rate=8000, layout="mono")
        for i in range(200):
            picture = np.full((48, 64, 3), i, np.uint8)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            samples = np.zeros((1, 320), np.float32)
            frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
            frame.sample_rate = 8000
            out.mux(sound.encode(frame))
        out.mux(stream.encode(None))
        out.mux(sound.encode(None))
    with container.open_video(str(path)) as opened:
        fast, slow = frame_table._from_samples(opened), frame_table._from_entries(opened)
        for ours, theirs in zip(fast[:3], slow[:3], strict=True):
            np.testing.assert_array_equal(ours, theirs)
        assert fast.whole == slow.whole == 200
        tables = opened.track.samples
        wrong = dataclasses.replace(tables, times=tables.times + (np.arange(200) > 190))
        lying = dataclasses.replace(opened, track=dataclasses.replace(opened.track, samples=wrong))
        assert frame_table._from_samples(lying) is None


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("b_frames.mp4", {"options": B_FRAMES}),
        ("vp9.webm", {"codec": "libvpx-vp9", "options": {"g": "12"}}),
        ("av1.mp4", {"codec": "libsvtav1", "options": {"g": "12"}}),
    ],
)
@pytest.mark.parametrize("wanted", [[0], [0, 1, 5], [3, 7, 10], [3, 20]])
def test_decoding_goes_on_from_the_first_frame(tmp_path, monkeypatch, name, options, wanted):
    """The frames are those of a decoder that seeks."""
    path = str(write_clip(tmp_path / name, 30, **options))
    table = frame_table.frame_table

    def seeking(video):
        return dataclasses.replace(table(video), begun=None)

    monkeypatch.setattr(frames, "_decode_in_order", None)  # the plan yields them all
    going_on = frames.read_video(path, lambda _: wanted, Resizing())
    monkeypatch.setattr(frames, "frame_table", seeking)
    np.testing.assert_array_equal(frames.read_video(path, lambda _: wanted, Resizing()), going_on)


@pytest.mark.parametrize(("length", "kept"), [(40, True), (90, False)])
def test_what_was_read_of_a_stream_is_kept_up_to_a_bound(tmp_path, length, kept):
    path = write_clip(tmp_path / "a.webm", length, codec="libvpx-vp9", options={"g": "12"})
    with container.open_video(str(path)) as opened:
        begun = frame_table.frame_table(opened).begun
    assert (begun is not None) == kept
    if begun:
        assert len(begun.frames) == 1 and len(begun.packets) == length  # and the end
