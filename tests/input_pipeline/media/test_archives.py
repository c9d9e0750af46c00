"""Media inside zip and tar archives, read in place."""

import io
import os
import tarfile
import zipfile

import cv2
import numpy as np
import pytest

from input_pipeline.annotations import read_annotations
from input_pipeline.examples import MediaRef
from input_pipeline.index.probe_cache import stamp_of
from input_pipeline.media import MediaError, archives, is_frame_folder, probe, read_frames
from input_pipeline.media.sources import fingerprint, open_source, read_source
from tests.input_pipeline.media_fixtures import painted_frame, read_number, write_clip


def _bytes(count: int, seed: int = 0) -> bytes:
    """Half noise, half zeros: deflating makes something of it."""
    noise = np.random.default_rng(seed).integers(0, 256, count // 2, np.uint8).tobytes()
    return noise + bytes(count - count // 2)


def _zip(path, files, method=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", method) as file:
        for name, data in files.items():
            file.writestr(name, data)
    return str(path)


def _tar(path, files, **options):
    with tarfile.open(path, "w", **options) as file:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    return str(path)


def _split_up(tar, parts):
    """The tar as "x.tar.part.aa", …, and its first part."""
    with open(tar, "rb") as file:
        data = file.read()
    size = -(-len(data) // parts)
    names = [f"{tar}.part.a{chr(97 + i)}" for i in range(parts)]
    for i, name in enumerate(names):
        with open(name, "wb") as file:
            file.write(data[i * size : (i + 1) * size])
    os.remove(tar)
    return names


def _reason(path):
    with pytest.raises(MediaError) as caught:
        read_source(path, 2**30)
    assert caught.value.path == path and caught.value.detail
    return caught.value.reason


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_any_byte_of_a_zip_member_is_read_in_place(tmp_path, method, monkeypatch):
    monkeypatch.setattr(archives, "_BLOCK_BYTES", 1000)  # many blocks
    data = _bytes(20_500)
    archive = _zip(tmp_path / "a.zip", {"x/1.bin": b"one", "x/2.bin": data}, method)
    path = f"{archive}::x/2.bin"
    assert read_source(path, 2**30) == data
    rng = np.random.default_rng(1)
    with open_source(path, 2**30) as file:
        for place, size in rng.integers(0, 21_000, (200, 2)).tolist():
            file.seek(place)
            assert file.read(size) == data[place : place + size]
        assert file.seek(-3, os.SEEK_END) == len(data) - 3 and file.read() == data[-3:]
        with pytest.raises(OSError):
            file.seek(-1)


def test_members_of_tars_and_of_tars_in_parts(tmp_path):
    files = {f"videos/{i}.bin": _bytes(5000 + i, i) for i in range(5)}
    tar = _tar(tmp_path / "v.tar", files)
    assert archives.archive_members(tar) == {name: len(data) for name, data in files.items()}
    assert all(read_source(f"{tar}::{name}", 2**30) == data for name, data in files.items())
    parts = _split_up(tar, 4)
    assert all(read_source(f"{parts[0]}::{name}", 2**30) == data for name, data in files.items())
    assert [archives.is_archive(os.path.basename(part)) for part in parts] == [True, *3 * [False]]

    os.rename(parts[1], tmp_path / "elsewhere")
    with pytest.raises(MediaError, match="truncated: the part behind .*part.aa is missing"):
        archives.archive_members(parts[0])
    os.rename(tmp_path / "elsewhere", parts[1])
    os.remove(parts[3])
    with pytest.raises(MediaError, match="ends inside videos/"):
        archives.archive_members(parts[0])


def test_what_is_wrong_with_an_archive_is_named(tmp_path):
    archive = _zip(tmp_path / "a.zip", {"1.bin": _bytes(5000), "empty": b""}, zipfile.ZIP_DEFLATED)
    assert _reason(f"{archive}::2.bin") == "missing"
    assert _reason(f"{archive}::empty") == "empty"
    assert _reason(f"{tmp_path}/b.zip::1.bin") == "missing"
    with pytest.raises(MediaError, match="too_large"):
        read_source(f"{archive}::1.bin", 100)

    data = (tmp_path / "a.zip").read_bytes()
    (tmp_path / "half.zip").write_bytes(data[: len(data) // 2])
    assert _reason(f"{tmp_path}/half.zip::1.bin") == "corrupt"
    first = 30 + len("1.bin")  # behind its header
    (tmp_path / "spoilt.zip").write_bytes(data[:first] + b"\x07" + data[first + 1 :])
    assert _reason(f"{tmp_path}/spoilt.zip::1.bin") == "unreadable"
    _zip(tmp_path / "odd.zip", {"1.bin": b"data"}, zipfile.ZIP_BZIP2)
    assert _reason(f"{tmp_path}/odd.zip::1.bin") == "unsupported_format"
    # A tar that is compressed as a whole has no members that could be read in place.
    assert not archives.is_archive("a.tar.gz") and archives.is_archive("a.tar")


def test_clips_and_frame_folders_are_media_wherever_they_lie(tmp_path):
    clip = write_clip(tmp_path / "a.mp4", 30, fps=10)
    pictures = {}
    for i in range(6):
        pictures[f"frames/c1/{i + 1:05}.jpg"] = cv2.imencode(".jpg", painted_frame(i))[1].tobytes()
    archive = _zip(tmp_path / "v.zip", {"v/a.mp4": clip.read_bytes(), **pictures})
    inside = MediaRef("video", f"{archive}::v/a.mp4")
    assert probe(inside) == probe(MediaRef("video", str(clip)))
    assert [read_number(frame) for frame in read_frames(inside, [0, 7, 29])] == [0, 7, 29]

    folder = f"{archive}::frames/c1?fps=3"
    assert is_frame_folder(folder) and is_frame_folder(f"{archive}::frames/c1")
    assert not is_frame_folder(f"{archive}::v/a.mp4")
    info = probe(MediaRef("video", folder, 0.5, 1.4))
    assert info.frame_times == pytest.approx((0, 1 / 3, 2 / 3))
    assert len(read_frames(MediaRef("video", folder, 0.5, 1.4), [0, 2])) == 2


def test_what_is_known_of_a_member_ends_with_its_archive(tmp_path):
    archive = _zip(tmp_path / "a.zip", {"1.bin": b"one"})
    path = f"{archive}::1.bin"
    before = stamp_of(path), fingerprint(path, 2**30)
    assert before[0] is not None
    _zip(tmp_path / "a.zip", {"1.bin": b"two and more"})
    assert read_source(path, 2**30) == b"two and more"
    after = stamp_of(path), fingerprint(path, 2**30)
    assert before[0] != after[0] and before[1] != after[1]


def test_annotations_name_members_and_records_below_the_media_root(tmp_path):
    def read(medium):
        path = tmp_path / "a.jsonl"
        path.write_text(f'{{"question": "Q?", "answer": "A", "image": "{medium}"}}\n')
        (found,) = read_annotations(path, tmp_path / "media", "mine")
        return found.media[0].path if hasattr(found, "media") else found.reason

    root = tmp_path / "media"
    assert read("a.zip::x/1.png") == f"{root}/a.zip::x/1.png"
    assert read("../a.zip::x/1.png") == "path_outside_root"
    assert read("record:b.parquet#3/image/bytes") == f"record:{root}/b.parquet#3/image/bytes"
    assert read("record:/etc/b.parquet#3/image") == "path_outside_root"
    assert read("record:b.parquet") == "bad_media"
