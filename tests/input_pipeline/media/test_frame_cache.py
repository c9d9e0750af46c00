"""Frames kept on disk: when they are found again, when not, and what a full disk costs."""

import builtins
import errno
import os
import shutil
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from input_pipeline.examples import MediaRef
from input_pipeline.media import CacheSettings, Decoder, frame_cache, read_frames
from input_pipeline.media.frame_cache import FrameCache, entry_key
from tests.input_pipeline.media_fixtures import write_clip

SIZE = (56, 84)


@pytest.fixture
def clip(tmp_path):
    return MediaRef("video", str(write_clip(tmp_path / "a.mp4", 24)))


@pytest.fixture
def settings(tmp_path):
    return CacheSettings(str(tmp_path / "cache"), 10**8)


@pytest.fixture(autouse=True)
def fresh_caches():
    frame_cache._open.cache_clear()


def files(settings):
    return [f for _, _, names in os.walk(settings.directory) for f in names if f != ".lock"]


@pytest.mark.parametrize("processes", [0, 1])
def test_the_second_time_nothing_is_decoded(clip, settings, processes):
    expected = read_frames(clip, [0, 5, 5, 20], SIZE)
    decoder = Decoder(processes, 30, settings)
    for _ in range(3):
        np.testing.assert_array_equal(decoder.frames(clip, [0, 5, 5, 20], SIZE), expected)
    assert decoder.counts == {"cache_miss": 1, "cache_hit": 2}
    np.testing.assert_array_equal(
        Decoder(0, 30, settings).frames(clip, np.array([0, 5, 5, 20]), SIZE), expected
    )
    decoder.frames(clip, [0, 5])  # at full size: too large to keep
    assert len(files(settings)) == 1
    decoder.close()


def test_what_the_pixels_depend_on_changes_the_name(clip, tmp_path):
    names = {
        entry_key(clip, [0, 5], SIZE),
        entry_key(clip, [0, 6], SIZE),
        entry_key(clip, [0, 5], SIZE[::-1]),
        entry_key(MediaRef("video", clip.path, 0.2, 0.8), [0, 5], SIZE),
        entry_key(MediaRef("video", clip.path, 0.2), [0, 5], SIZE),
    }
    moved = shutil.copy2(clip.path, tmp_path / "b.mp4")
    assert entry_key(MediaRef("video", str(moved)), [0, 5], SIZE) in names
    time.sleep(0.01)
    write_clip(tmp_path / "a.mp4", 24, options={"g": "5"})
    names.add(entry_key(clip, [0, 5], SIZE))
    assert len(names) == 6


def test_a_changed_picture_of_a_folder_changes_the_name(tmp_path):
    for i in range(4):
        cv2.imwrite(str(tmp_path / f"{i}.png"), np.full((8, 8, 3), i, np.uint8))
    ref = MediaRef("video", str(tmp_path))
    first = entry_key(ref, [1, 2], SIZE), entry_key(ref, [3], SIZE)
    time.sleep(0.01)
    cv2.imwrite(str(tmp_path / "2.png"), np.full((8, 8, 3), 77, np.uint8))
    assert entry_key(ref, [1, 2], SIZE) != first[0]
    assert entry_key(ref, [3], SIZE) == first[1]


def test_what_was_not_used_for_longest_goes_first(tmp_path):
    cache = FrameCache(CacheSettings(str(tmp_path), 10 * 1128))  # ten arrays with their headers
    names = [f"{i:02x}" * 4 for i in range(14)]
    for i, name in enumerate(names):
        cache.put(name, np.full(1000, i, np.uint8))
        cache.settle()
        os.utime(cache._path(name), (i, i))
        if i == 8:
            assert cache.get(names[0]).tolist() == [0] * 1000  # used again just now
    kept = [name for name in names if cache.get(name) is not None]
    assert names[0] in kept and names[13] in kept
    assert names[1] not in kept and names[2] not in kept
    assert 8 <= len(kept) <= 10


def test_damaged_and_half_written_entries_are_no_harm(clip, settings):
    decoder = Decoder(0, 30, settings)
    expected = decoder.frames(clip, [3], SIZE)
    (path,) = Path(settings.directory).rglob("*.npy")
    for content in (b"", b"\x93NUMPY garbage", path.read_bytes()[:-7]):
        path.write_bytes(content)
        np.testing.assert_array_equal(decoder.frames(clip, [3], SIZE), expected)
    np.save(path, np.zeros((1, 2, 2, 3), np.uint8))
    np.testing.assert_array_equal(decoder.frames(clip, [3], SIZE), expected)
    assert decoder.counts["cache_hit"] == 0 and decoder.counts["cache_error"] == 0


def test_a_full_disk_switches_the_cache_off_once(clip, settings, monkeypatch, caplog):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(frame_cache.np, "save", full)
    decoder = Decoder(0, 30, settings)
    for index in range(3):
        np.testing.assert_array_equal(
            decoder.frames(clip, [index], SIZE), read_frames(clip, [index], SIZE)
        )
    assert decoder.counts == {"cache_miss": 1, "cache_error": 1}
    assert [r.getMessage() for r in caplog.records if "No space left" in r.getMessage()] != []
    assert len([r for r in caplog.records if "config.data.cache_dir" in r.getMessage()]) == 1
    assert files(settings) == []


def test_a_directory_that_cannot_be_made_switches_the_cache_off(clip, tmp_path):
    (tmp_path / "file").touch()
    decoder = Decoder(0, 30, CacheSettings(str(tmp_path / "file" / "cache"), 10**8))
    assert decoder.frames(clip, [0], SIZE).shape == (1, *SIZE, 3)
    assert decoder.counts["cache_error"] == 1


def test_pickles_are_not_read(settings):
    cache = FrameCache(settings)
    cache.put("abcd", np.zeros(3, np.uint8))
    np.save(cache._path("abcd"), np.array([builtins.print], object), allow_pickle=True)
    assert cache.get("abcd") is None
