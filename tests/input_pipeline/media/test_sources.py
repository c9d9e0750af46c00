"""Bytes from files, folders, records and remote storage."""

import dataclasses
import os
from fractions import Fraction

import cv2
import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from input_pipeline.examples import MediaRef
from input_pipeline.index.probe_cache import stamp_of
from input_pipeline.media import (
    MediaError,
    cut_clip,
    kind_of_file,
    probe,
    read_frames,
    read_source,
    sources,
)
from input_pipeline.media import remote as remote_files
from input_pipeline.media.frames import preview_frames
from input_pipeline.media.sources import open_source
from input_pipeline.media.video.folder import frame_folder, natural_order
from input_pipeline.paths import frame_list
from tests.input_pipeline.media_fixtures import painted_frame, read_number, write_clip


def reason(call, *args):
    with pytest.raises(MediaError) as caught:
        call(*args)
    assert caught.value.detail
    return caught.value.reason


# ── Clips. ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.mp4", {}),
        ("a.mkv", {}),
        ("a.avi", {"codec": "mpeg4", "options": {"bf": "2"}}),
    ],
)
def test_a_clip_counts_from_its_first_frame(tmp_path, name, options):
    path = str(write_clip(tmp_path / name, 50, fps=10, **options))
    clip = MediaRef("video", path, 1.0, 3.45)
    info = probe(clip)
    # ceil(1.0 · 10) = 10 to floor(3.45 · 10) = 34
    assert info.frames == 25
    np.testing.assert_allclose(info.frame_times, np.arange(25) / 10, atol=1e-6)
    assert info.duration_s == pytest.approx(2.5)
    assert [read_number(f) for f in read_frames(clip, [0, 3, 24])] == [10, 13, 34]
    assert reason(read_frames, clip, [25]) == "truncated"
    assert info == cut_clip(probe(MediaRef("video", path)), clip)
    to_the_end = MediaRef("video", path, start_s=4.0)
    assert probe(to_the_end).frames == 10
    assert [read_number(f) for f in read_frames(to_the_end, [0, 9])] == [40, 49]
    from_the_start = MediaRef("video", path, end_s=0.5)
    assert [read_number(f) for f in read_frames(from_the_start, [0, 5])] == [0, 5]
    for start, end, shown in ((0.31, 0.39, 3), (4.93, 4.99, 49)):  # between two frames
        still = MediaRef("video", path, start, end)
        assert (probe(still).frames, probe(still).frame_times) == (1, (0.0,))
        assert [read_number(f) for f in read_frames(still, [0])] == [shown]
    for start, end in ((7.0, 9.0), (5.01, None)):
        empty = MediaRef("video", path, start, end)
        assert reason(probe, empty) == "empty_clip"
        assert reason(read_frames, empty, [0]) == "empty_clip"


def test_a_cut_of_a_sparse_recording_shows_what_is_on_the_screen(tmp_path):
    """A slide every ten to thirty seconds."""
    times = [Fraction(second) for second in (0, 10, 40, 60)]
    path = str(write_clip(tmp_path / "slides.mkv", 4, times=times))
    cuts = {
        (0, 5): [0],
        (5, 8): [0],
        (12, 39): [1],
        (41, 59.9): [2],
        (5, 45): [1, 2],
        (70, 71): [3],
    }
    for (start, end), shown in cuts.items():
        clip = MediaRef("video", path, start, end)
        info = probe(clip)
        assert [read_number(f) for f in read_frames(clip, range(info.frames))] == shown
        assert len(preview_frames(clip, 4, 64)) == max(2, len(shown))


# ── Folders of frames. ──────────────────────────────────────────────────────────────────────────


@pytest.fixture
def folder(tmp_path):
    """Twelve pictures, named 1.png to 12.png, the last one larger than the others."""
    path = tmp_path / "frames"
    path.mkdir()
    for number in range(1, 13):
        size = (256, 192) if number == 12 else (128, 96)
        cv2.imwrite(str(path / f"{number}.png"), painted_frame(number, *size))
    (path / ".hidden.png").touch()
    (path / "notes.txt").write_text("no picture")
    return str(path)


def test_a_folder_is_a_clip(folder):
    ref = MediaRef("video", f"{folder}?fps=4")
    info = probe(ref)
    assert (info.frames, info.width, info.height) == (12, 128, 96)
    np.testing.assert_allclose(info.frame_times, np.arange(12) / 4)
    assert info.duration_s == pytest.approx(3.0)
    assert probe(MediaRef("video", folder)).duration_s == pytest.approx(12.0)
    assert [read_number(f) for f in read_frames(ref, [0, 1, 8, 9, 10])] == [1, 2, 9, 10, 11]
    assert read_frames(ref, [0, 11]).shape == (2, 96, 128, 3)
    assert read_frames(ref, [0, 11], (28, 56)).shape == (2, 28, 56, 3)
    assert preview_frames(ref, 4, 64).shape == (4, 48, 64, 3)
    clip = MediaRef("video", f"{folder}?fps=4", 1.0, 2.0)
    assert [read_number(f) for f in read_frames(clip, range(5))] == [5, 6, 7, 8, 9]
    assert kind_of_file(folder) == "video"


def test_a_list_of_pictures_is_a_clip(folder, tmp_path):
    files = [f"{folder}/{number}.png" for number in (3, 1, 12, 7)]
    ref = MediaRef("video", frame_list(files, [10.0, 10.5, 12.0, 40.0]))
    info = probe(ref)
    assert (info.width, info.height, info.frame_times) == (128, 96, (0.0, 0.5, 2.0, 30.0))
    assert info.duration_s == pytest.approx(40.0)
    assert [read_number(f) for f in read_frames(ref, [0, 1, 3])] == [3, 1, 7]
    assert read_frames(ref, [2, 3], (28, 56)).shape == (2, 28, 56, 3)
    cut = dataclasses.replace(ref, start_s=0.4, end_s=3.0)
    assert [read_number(f) for f in read_frames(cut, [0])] == [1]
    assert probe(MediaRef("video", frame_list(files[:1], [7.0]))).frame_times == (0.0,)
    assert kind_of_file(ref.path) == "video"
    stamp = stamp_of(ref.path)
    os.utime(files[2], (1, 1))
    assert stamp_of(ref.path) != stamp
    gone = f"{folder}/gone.png"
    with pytest.raises(MediaError) as caught:
        read_frames(MediaRef("video", frame_list([files[0], gone], [0.0, 1.0])), [0, 1])
    assert (caught.value.path, caught.value.reason) == (gone, "missing")
    assert stamp_of(frame_list([gone], [0.0])) is None


@pytest.mark.parametrize("rate", ["1e-310", "1e-5"])
def test_a_rate_of_hours_a_picture_is_refused(tmp_path, rate):
    """One picture, that would last longer than any video may."""
    cv2.imwrite(str(tmp_path / "1.png"), painted_frame(1))
    assert reason(probe, MediaRef("video", f"{tmp_path}?fps={rate}")) == "bad_source"
    long = frame_list([str(tmp_path / "1.png")] * 2, [0.0, 13 * 3600.0])
    assert reason(probe, MediaRef("video", long)) == "too_long"


def test_bad_folders(folder, tmp_path):
    (tmp_path / "nothing").mkdir()
    assert reason(probe, MediaRef("video", str(tmp_path / "nothing"))) == "no_frames"
    for rate in ("0", "-1", "nan", "fast", "1e9"):
        assert reason(probe, MediaRef("video", f"{folder}?fps={rate}")) == "bad_source"
    with open(os.path.join(folder, "3.png"), "wb") as file:
        file.write(b"no picture")
    with pytest.raises(MediaError, match="3.png") as caught:
        read_frames(MediaRef("video", folder), [0, 2])
    assert (caught.value.path, caught.value.reason) == (folder, "unsupported_format")
    os.mkfifo(os.path.join(folder, "0.png"))  # would be the first
    assert reason(probe, MediaRef("video", folder)) == "not_a_file"


def test_natural_order():
    names = ["f10.jpg", "f9.jpg", "f09.jpg", "f1_2.jpg", "f1_10.jpg", "a.jpg", "10.jpg", "9.jpg"]
    names.sort(key=natural_order)
    assert names == [
        "9.jpg", "10.jpg", "a.jpg", "f1_2.jpg", "f1_10.jpg", "f09.jpg", "f9.jpg", "f10.jpg"
    ]  # fmt: skip


# ── Records. ────────────────────────────────────────────────────────────────────────────────────


def test_media_inside_parquet(tmp_path):
    clip = write_clip(tmp_path / "a.mp4", 30, options={"g": "10", "bf": "3"})
    png = cv2.imencode(".png", painted_frame(9))[1].tobytes()
    rows = [
        {"video": clip.read_bytes(), "images": [{"bytes": png}, {"bytes": b""}]},
        {"video": b"no video", "images": []},
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    at = f"record:{tmp_path / 'a.parquet'}#"
    video = MediaRef("video", f"{at}0/video")
    assert probe(video) == probe(MediaRef("video", str(clip)))
    np.testing.assert_array_equal(
        read_frames(video, [3, 29]), read_frames(MediaRef("video", str(clip)), [3, 29])
    )
    image = MediaRef("image", f"{at}0/images/0/bytes")
    assert read_number(read_frames(image, [0])[0]) == 9
    assert probe(image).width == 128
    assert reason(probe, MediaRef("image", f"{at}0/images/1/bytes")) == "empty"
    assert reason(probe, MediaRef("image", f"{at}0/images/2/bytes")) == "bad_record"
    assert reason(probe, MediaRef("video", f"{at}2/video")) == "bad_record"
    assert reason(probe, MediaRef("video", f"{at}0/audio")) == "bad_record"
    assert reason(probe, MediaRef("video", f"{at}1/video")) in ("unsupported_format", "corrupt")
    assert reason(probe, MediaRef("video", f"record:{tmp_path}/no.parquet#0/video")) == "unreadable"
    assert reason(probe, MediaRef("video", "record:nonsense")) == "bad_source"


# ── Remote files. ───────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def bucket(tmp_path, monkeypatch):
    """A clip in fsspec's storage in memory; counts the bytes that are read of it."""
    from fsspec.implementations.memory import MemoryFile

    monkeypatch.setattr(remote_files, "REMOTE_SCHEMES", remote_files.REMOTE_SCHEMES | {"memory"})
    monkeypatch.setattr(remote_files, "_small_files", remote_files._KeptFiles(2**20))
    monkeypatch.setattr(remote_files, "_WAITS_S", (0.0, 0.0))
    clip = write_clip(tmp_path / "a.mp4", 400, options={"g": "50", "qp": "0"}, size=(320, 240))
    with fsspec.open("memory://bucket/a.mp4", "wb") as file:
        file.write(clip.read_bytes())
    counted = []
    read = MemoryFile.read

    def counting(self, *args):
        counted.append(len(data := read(self, *args)))
        return data

    # What the base class of remote files offers and the one in memory lacks.
    monkeypatch.setattr(MemoryFile, "size", property(lambda self: len(self.getbuffer())), False)
    monkeypatch.setattr(MemoryFile, "read", counting)
    yield clip, counted
    fsspec.filesystem("memory").rm("/bucket", recursive=True)


def test_a_small_remote_file_is_fetched_once(bucket):
    clip, counted = bucket
    local, remote = (MediaRef("video", p) for p in (str(clip), "memory://bucket/a.mp4"))
    assert probe(remote) == probe(local)
    np.testing.assert_array_equal(
        read_frames(remote, [7, 310], (56, 56)), read_frames(local, [7, 310], (56, 56))
    )
    assert sum(counted) == clip.stat().st_size
    assert kind_of_file("memory://bucket/a.mp4") == "video"


def test_of_a_large_remote_file_only_what_is_needed(bucket, monkeypatch):
    clip, counted = bucket
    monkeypatch.setattr(remote_files, "WHOLE_BYTES", 1000)
    local, remote = (MediaRef("video", p) for p in (str(clip), "memory://bucket/a.mp4"))
    assert probe(remote) == probe(local)
    np.testing.assert_array_equal(read_frames(remote, [203]), read_frames(local, [203]))
    assert sum(counted) < clip.stat().st_size


def test_bad_remote_files(bucket, monkeypatch):
    assert reason(read_source, "memory://bucket/no.mp4", 10**9) == "missing"
    assert reason(read_source, "memory://bucket/a.mp4", 1000) == "too_large"
    assert reason(read_source, "nothing://bucket/a.mp4", 10**9) == "bad_source"
    for path in ("file:///etc/passwd", "local:///etc/passwd", "https::file:///etc/passwd"):
        assert reason(read_source, path, 10**9) == "bad_source"

    def missing(*_, **__):
        raise ImportError("Install gcsfs to access Google Storage")

    monkeypatch.setattr(fsspec.core, "url_to_fs", missing)
    assert reason(read_source, "gs://bucket/b.mp4", 10**9) == "missing_package"

    def refused(*_, **__):
        raise RuntimeError("403 Forbidden")

    monkeypatch.setattr(fsspec.core, "url_to_fs", refused)
    assert reason(read_source, "gs://bucket/b.mp4", 10**9) == "unreadable"


def test_a_connection_that_breaks_while_decoding_is_an_error_of_the_file(bucket, monkeypatch):
    monkeypatch.setattr(remote_files, "WHOLE_BYTES", 1000)

    class Breaking:
        size = 10**6

        def __init__(self, file):
            self._file, self._left = file, 3

        def read(self, size=-1):
            self._left -= 1
            if self._left < 0:
                raise RuntimeError("connection reset")
            return self._file.read(size)

        def __getattr__(self, name):
            return getattr(self._file, name)

    connect = remote_files._connect

    monkeypatch.setattr(remote_files, "_connect", lambda path: Breaking(connect(path)))
    assert reason(probe, MediaRef("video", "memory://bucket/a.mp4")) == "unreadable"


def test_small_remote_files_are_kept_up_to_a_size():
    kept = remote_files._KeptFiles(10)
    for name, size in (("a", 4), ("b", 4), ("a", 4), ("c", 4)):
        kept.put(name, bytes(size))
    assert [kept.get(name) is not None for name in "abc"] == [True, False, True]
    kept.put("large", bytes(11))
    assert kept.get("large") is None and kept.get("a") is None


def test_a_fingerprint_tells_what_a_record_holds(tmp_path):
    """Also where only the middle differs: bytes in records have no time of change."""
    middle = bytearray(10**6)
    middle[500_000] = 1
    rows = [{"a": bytes(10**6)}, {"a": bytes(middle)}, {"a": bytes(10**6)}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    prints = [
        sources.fingerprint(f"record:{tmp_path / 'a.parquet'}#{row}/a", 10**9) for row in range(3)
    ]
    assert prints[0] == prints[2] != prints[1]


def test_local_files(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"content")
    assert read_source(str(path), 7) == b"content"
    assert reason(read_source, str(path), 6) == "too_large"
    with open_source(str(path), 7) as file:
        assert file.seek(2) == 2 and file.read() == b"ntent"
    loop = tmp_path / "loop"
    loop.symlink_to(tmp_path / "other")
    (tmp_path / "other").symlink_to(loop)
    assert reason(read_source, str(loop), 10) == "unreadable"
    assert reason(probe, MediaRef("video", str(loop))) == "unreadable"
    assert reason(frame_folder, str(loop)) == "unreadable"
