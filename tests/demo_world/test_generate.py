"""Files: the same for the same parameters, whole or not there, and as promised."""

import itertools
import json
import os
import re
import socket
import subprocess
from collections import Counter

import av
import cv2
import numpy as np
import pytest

from demo_world import __main__ as entry
from demo_world import generate, generate_world
from tests.demo_world.small_world import SMALL, TEXTS, TINY, read_clip, records, scenes


def test_same_seed_gives_the_same_annotations_and_pixels(world, tmp_path):
    again = generate_world(tmp_path / "again", **SMALL)
    for split, kind in itertools.product(generate.SPLITS, ("image", "video")):
        first, second = world.annotations(split, kind), again.annotations(split, kind)
        assert first.read_bytes() == second.read_bytes()
    media = sorted(p.relative_to(world.root) for p in world.media_root.glob("media/*/*/*"))
    assert media == sorted(p.relative_to(again.root) for p in again.media_root.glob("media/*/*/*"))
    assert len(media) == sum(SMALL.values()) - sum(TEXTS.values())
    for name in media:
        if (world.root / name).read_bytes() == (again.root / name).read_bytes():
            continue
        if name.suffix in (".png", ".jpg"):
            first, second = cv2.imread(str(world.root / name)), cv2.imread(str(again.root / name))
        else:
            first, second = read_clip(world.root / name), read_clip(again.root / name)
        assert np.array_equal(first, second), name
    tokenizers = [w.tokenizer / "tokenizer.json" for w in (world, again)]
    assert tokenizers[0].read_bytes() == tokenizers[1].read_bytes()


def test_another_seed_gives_another_world(world, tmp_path):
    other = generate_world(tmp_path / "other", seed=1, **TINY)
    assert records(other, "train", "image")[0] != records(world, "train", "image")[0]


def test_splits_share_no_picture_and_no_clip(world):
    owners = {}
    for path in sorted(world.media_root.glob("media/*/*/*")):
        image = path.suffix in (".png", ".jpg")
        pixels = cv2.imread(str(path)) if image else read_clip(path)
        other = owners.setdefault(hash(pixels.tobytes()), path)
        assert other == path
    scenes_of = {
        split: {scene for kind in ("image", "video") for scene, _ in scenes(kind, split, 400)}
        for split in generate.SPLITS
    }
    assert all(len(found) == 800 for found in scenes_of.values())
    assert len(set.union(*scenes_of.values())) == 2400


def test_a_longer_split_begins_with_the_shorter_one():
    assert scenes("video", "val", 30)[:10] == scenes("video", "val", 10)


def test_a_complete_world_is_left_alone(world):
    before = {path: path.stat().st_mtime_ns for path in world.root.rglob("*")}
    calls = []
    again = generate_world(world.root, **SMALL, progress=lambda *call: calls.append(call))
    assert again == world
    assert calls == []
    assert {path: path.stat().st_mtime_ns for path in world.root.rglob("*")} == before


def test_a_damaged_or_different_world_is_replaced(tmp_path):
    world = generate_world(tmp_path / "world", **TINY)
    intact = {p.relative_to(world.root): p.read_bytes() for p in world.root.rglob("*.*")}
    picture = next(world.media_root.glob("media/train/images/*"))
    picture.write_bytes(picture.read_bytes()[:-10])
    generate_world(world.root, **TINY)
    assert {p.relative_to(world.root): p.read_bytes() for p in world.root.rglob("*.*")} == intact
    world.summary.write_bytes(b"\xe5{")
    generate_world(world.root, **TINY)
    assert {p.relative_to(world.root): p.read_bytes() for p in world.root.rglob("*.*")} == intact

    generate_world(world.root, **TINY | {"test_images": 2})
    assert json.loads(world.summary.read_text())["counts"]["test/images"]["media"] == 2
    assert [p.name for p in tmp_path.iterdir()] == ["world"]


def test_an_interrupted_build_leaves_nothing(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(generate, "write_video", fail)
    with pytest.raises(OSError, match="disk full"):
        generate_world(tmp_path / "world", **TINY)
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_build_left_goes_with_the_next_one(tmp_path):
    ended = subprocess.Popen(["true"])
    ended.wait()
    begun = f".world.building-{socket.gethostname()}-"
    kept = [f"{begun}{os.getppid()}", f".world.building-elsewhere-{ended.pid}", f"{begun}mine"]
    for name in [*kept, f"{begun}{ended.pid}", f"{begun}{ended.pid}-old", f"{begun}{os.getpid()}"]:
        (tmp_path / name / "media").mkdir(parents=True)
    generate_world(tmp_path / "world", **TINY)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*kept, "world"])


def test_foreign_directories_and_bad_numbers_are_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(FileExistsError, match="not a demo world"):
        generate_world(tmp_path, **TINY)
    assert (tmp_path / "thesis.tex").read_text() == "mine"
    with pytest.raises(ValueError, match="train_clips.*-1"):
        generate_world(tmp_path / "world", train_clips=-1)
    with pytest.raises(ValueError, match="no annotations.*'dev'"):
        generate.WorldPaths(tmp_path).annotations("dev", "image")


def test_progress_counts_every_file(tmp_path):
    calls = []
    generate_world(tmp_path / "world", **TINY, progress=lambda *call: calls.append(call))
    assert calls == [(done, 6) for done in range(1, 7)]


def test_entry_prints_counts(tmp_path, monkeypatch, capsys):
    flags = [f"--{name.replace('_', '-')}=1" for name in TINY]
    monkeypatch.setattr("sys.argv", ["demo_world", f"--out={tmp_path / 'world'}", *flags])
    entry.main()
    printed = capsys.readouterr().out
    assert re.search(r"train/images +1 files +1 records", printed)
    assert cv2.imread(str(tmp_path / "world" / "contact_sheet.png")).shape[1] > 1000


def test_media_files_are_as_promised(world):
    for path in world.media_root.glob("media/*/images/*"):
        assert cv2.imread(str(path)).shape[:2] in ((112, 112), (84, 140), (140, 84))
    containers = Counter()
    for path in world.media_root.glob("media/*/videos/*"):
        containers[path.suffix] += 1
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            frames = [float(frame.pts * frame.time_base) for frame in container.decode(stream)]
            rate = float(stream.average_rate)
        assert (stream.width, stream.height) in ((128, 128), (144, 96))
        assert 24 <= len(frames) <= 96
        assert 8 <= round(rate) <= 16
        assert 1.95 <= len(frames) / rate <= 8.05
        assert np.allclose(frames, np.arange(len(frames)) / round(rate), atol=0.002)
    assert containers[".webm"] / containers.total() == pytest.approx(0.2, abs=0.03)
