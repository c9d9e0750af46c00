import dataclasses

import numpy as np
import pytest

from input_pipeline.examples import MediaRef
from input_pipeline.index.probe_cache import (
    _MEASURED,
    _TABLE,
    Measured,
    Probe,
    ProbeCache,
    remove_damaged,
    stamp_of,
)
from input_pipeline.media import MediaError, MediaInfo

REF = MediaRef("video", "/a.mp4")


def _info(times):
    return MediaInfo("video", 64, 48, tuple(times), times[-1] + 0.04)


def _got(cache, ref, stamp="1"):
    """What is known of a medium, its times written out, each as the float that its item is."""
    info = cache.get(ref, stamp)
    assert np.asarray(info.frame_times).tolist() == list(info.frame_times)
    return dataclasses.replace(info, frame_times=tuple(info.frame_times))


@pytest.mark.parametrize(
    "times",
    [
        [0.0],
        [0.0, 1 / 3],
        [i / 30 for i in range(900)],
        [float(np.float64(i * 1001) / 30000) for i in range(3000)],
        [i * 512 / 15360 for i in range(100)],
        [0.0, 0.1, 0.3, 0.35],
        [i / 30 + (i % 2) * 1e-9 for i in range(100)],
        [0.0, 0.0],
    ],
)
def test_times_come_back_to_the_bit(tmp_path, times):
    with ProbeCache(tmp_path / "probes") as cache:
        cache.put([Probe(REF, "1", _info(times))])
        assert _got(cache, REF) == _info(times)


def test_a_constant_rate_takes_no_room(tmp_path):
    path = tmp_path / "probes"
    with ProbeCache(path) as cache:
        times = [i * 1001 / 30000 for i in range(100_000)]
        cache.put([Probe(REF, "1", _info(times))])
    assert path.stat().st_size < 20_000


def test_what_is_known_outlives_the_process_and_ends_with_the_stamp(tmp_path):
    error = MediaError("/b.mp4", "corrupt", "damaged")
    other = MediaRef("video", "/b.mp4")
    with ProbeCache(tmp_path / "probes") as cache:
        cache.put([Probe(REF, "1", _info([0.0, 0.5])), Probe(other, "1", error)])
    with ProbeCache(tmp_path / "probes") as cache:
        assert _got(cache, REF) == _info([0.0, 0.5])
        known = cache.get(other, "1")
        assert (known.path, known.reason, known.detail) == ("/b.mp4", "corrupt", "damaged")
        assert cache.get(REF, "2") is None
        assert cache.get(MediaRef("image", "/a.mp4"), "1") is None
        cache.put([Probe(REF, "2", _info([0.0, 0.25]))])
        assert _got(cache, REF, "2").frame_times == (0.0, 0.25)
        assert cache.get(REF, "1") is None  # replaced
        assert cache.get(other, "1").reason == "corrupt"


def test_measurements_are_kept_beside_probes_until_the_file_changes(tmp_path):
    clip = MediaRef("video", "/a.mp4", 1.0, 2.0)
    with ProbeCache(tmp_path / "probes") as cache:
        cache.put([Probe(REF, "1", _info([0.0, 0.5])), Measured(clip, "1", {"novelty 8": 0.1})])
    with ProbeCache(tmp_path / "probes") as cache:
        assert cache.measured(clip, "1") == {"novelty 8": 0.1}
        assert cache.measured(clip, "2") == cache.measured(REF, "1") == {}
        cache._database.execute(f"UPDATE {_MEASURED} SET facts = '[3'")
        assert cache.measured(clip, "1") == {}


def test_stamps(tmp_path):
    file = tmp_path / "a.bin"
    assert stamp_of(str(file)) is None
    file.write_bytes(b"1")
    first = stamp_of(str(file))
    file.write_bytes(b"22")
    assert first and stamp_of(str(file)) not in (None, first)
    assert stamp_of(f"record:{file}#3/image/bytes") == stamp_of(str(file))
    assert stamp_of(f"record:{tmp_path}/train#3/image") == stamp_of(str(tmp_path))
    folder = stamp_of(f"{tmp_path}?fps=2")
    assert folder == stamp_of(str(tmp_path))
    (tmp_path / "b.bin").write_bytes(b"")
    assert stamp_of(f"{tmp_path}?fps=2") != folder
    assert stamp_of("gs://bucket/a.mp4") == "remote"


def _fill(path):
    with ProbeCache(path) as cache:
        refs = [MediaRef("video", f"/{i}.mp4") for i in range(300)]
        cache.put([Probe(ref, "1", _info([0.0, 0.5])) for ref in refs])
    return refs


@pytest.mark.parametrize(
    "harm",
    [
        lambda content: b"no database at all" * 300,
        lambda content: content[: len(content) // 2],
        lambda content: content[:4096] + b"\xff" * 4096 + content[8192:],
    ],
)
def test_a_damaged_cache_is_removed_with_a_line(tmp_path, caplog, harm):
    path = tmp_path / "probes"
    remove_damaged(path)
    _fill(path)
    remove_damaged(path)
    assert path.exists() and not caplog.messages
    path.write_bytes(harm(path.read_bytes()))
    with ProbeCache(path) as cache:  # used all the same, as by a process that has it open
        cache.get(REF, "1")
        cache.put([Probe(REF, "1", _info([0.0]))])
    caplog.clear()
    remove_damaged(path)
    (line,) = caplog.messages
    assert "is damaged, so media are probed again" in line and "\n" not in line
    with ProbeCache(path) as cache:
        cache.put([Probe(REF, "1", _info([0.0]))])
        assert _got(cache, REF) == _info([0.0])


def test_a_cache_that_cannot_keep_ends_nothing(tmp_path, caplog):
    path = tmp_path / "probes"
    refs = _fill(path)
    with ProbeCache(path) as cache:
        cache._database.execute("PRAGMA query_only = 1")
        for _ in range(2):
            cache.put([Probe(REF, "1", _info([0.0]))])
        assert cache.get(REF, "1") is None and _got(cache, refs[7]) == _info([0.0, 0.5])
    (line,) = caplog.messages
    assert line.startswith(f"{path} cannot keep probes: ")


def test_facts_that_are_damaged_are_not_known(tmp_path):
    path = tmp_path / "probes"
    refs = _fill(path)
    with ProbeCache(path) as cache:
        for i, wrong in enumerate(["{", "[]", '{"kind": "video"}', None]):
            cache._database.execute(
                f"UPDATE {_TABLE} SET facts = ? WHERE medium LIKE ?", [wrong, f'%"/{i}.mp4"%']
            )
        cache._database.execute(
            f"UPDATE {_TABLE} SET times = ? WHERE medium LIKE ?", [b"zz", '%"/4.mp4"%']
        )
        assert [cache.get(ref, "1") for ref in refs[:5]] == [None] * 5
        assert _got(cache, refs[5]) == _info([0.0, 0.5])
