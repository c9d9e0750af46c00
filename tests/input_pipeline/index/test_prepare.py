"""Prepare: what is kept, what is quarantined with its reason, what is cached."""

import collections
import dataclasses
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from input_pipeline import frame_budget
from input_pipeline.examples import Example, MediaRef, Turn
from input_pipeline.index import (
    DatasetSpec,
    ExampleStore,
    IndexSpec,
    TooManyBad,
    lay_out,
    prepare,
)
from input_pipeline.index.quarantine import quarantine_of, read_quarantine
from input_pipeline.media import Decoder
from input_pipeline.media import probing as media
from tests.input_pipeline.index.conftest import LAYOUT
from tests.input_pipeline.media_fixtures import write_clip


def _record(name, question="<video>\nHow many times?", **media):
    talk = [{"from": "human", "value": question}, {"from": "gpt", "value": "two"}]
    return {"id": name, "conversations": talk, **media}


def _prepare(tmp_path, corpus, lines, **changes):
    root, spec = corpus
    annotations = tmp_path / "train.jsonl"
    annotations.write_text("".join(line + "\n" for line in lines))
    dataset = DatasetSpec("mine", str(annotations), str(root), **changes)
    path, summary = prepare(dataset, spec, tmp_path / "index")
    reasons = {entry.id: entry.reason for entry in read_quarantine(quarantine_of(path))}
    return path, summary, reasons


def test_every_bad_record_is_named_and_the_run_goes_on(tmp_path, corpus):
    records = [
        _record("good", video="good.mp4"),
        _record("still", "<image>\nHow many?", image="still.png"),
        _record("words", "How many?"),
        _record("missing", video="gone.mp4"),
        _record("garbage", video="garbage.mp4"),
        None,  # line 7: not JSON
        _record("empty", video="empty.mp4"),
        _record("cut", video="cut.mp4"),
        _record("two-tags", "<video> and <video>\nHow many?", video="good.mp4"),
        _record("one-frame", video="one.mp4"),
        _record("outside", video="../../etc/passwd"),
    ]
    records.insert(0, _record("first", video="good.mp4"))
    lines = [json.dumps(r) if r else '{"id": "broken", ' for r in records]
    path, summary, reasons = _prepare(tmp_path, corpus, lines)
    store = ExampleStore.open(path)
    kept = [store[i][0].id for i in range(len(store))]
    assert kept == ["first", "good", "still", "words", "one-frame"]
    assert reasons.pop("record 7") == "bad_json"
    assert reasons["missing"] == "missing" and reasons["empty"] == "empty"
    assert reasons["two-tags"] == "tag_without_media"
    assert reasons["outside"] == "path_outside_root"
    assert set(reasons) == {"missing", "garbage", "empty", "cut", "two-tags", "outside"}
    assert summary["kept"] == 5 and summary["examples"] == 12
    assert sum(summary["quarantined"].values()) == 7
    # A clip of one frame that was asked for sixteen shows its frame twice and says why.
    assert store[4][1].media[0].frame_indices == (0, 0)
    assert "1" in store.why(4) and store.budgets.tolist() == [16, 16, 0, 0, 2]
    assert summary["histogram"] == {"2": 1, "16": 2}


def test_the_index_is_reused_until_something_it_depends_on_changes(tmp_path, corpus):
    lines = [json.dumps(_record("good", video="good.mp4"))]
    path, _, _ = _prepare(tmp_path, corpus, lines)
    stamp = path.stat().st_mtime_ns
    assert _prepare(tmp_path, corpus, lines)[0] == path and path.stat().st_mtime_ns == stamp
    others = {
        _prepare(tmp_path, corpus, lines, mode="prompt")[0],
        _prepare(tmp_path, corpus, [*lines, json.dumps(_record("b", video="good.mp4"))])[0],
    }
    root, spec = corpus
    fewer = IndexSpec(**{**vars(spec), "frame_policy": {"kind": "fixed", "frames": 8}})
    others.add(_prepare(tmp_path, (root, fewer), lines)[0])
    assert len(others | {path}) == 4


def test_what_does_not_fit_shrinks_first_and_is_left_out_last(tmp_path, corpus):
    root, spec = corpus
    small = IndexSpec(**{**vars(spec), "max_patches": 32})
    long = _record("long", "<video>\n" + "word " * 600, video="good.mp4")
    lines = [json.dumps(_record("good", video="good.mp4")), json.dumps(long)]
    path, summary, reasons = _prepare(tmp_path, (root, small), lines)
    layout = ExampleStore.open(path)[0][1]
    assert layout.patches <= 32 and summary["shrunk"] == {layout.shrunk: 1}
    assert summary["left_out"] == 1 and reasons == {"long": "too_long"}


def test_nothing_usable_is_an_error_until_it_is_put_right(tmp_path, corpus):
    lines = [json.dumps(_record("a", video="gone.mp4"))]
    with pytest.raises(ValueError, match="no usable example in .*train.jsonl.*missing"):
        _prepare(tmp_path, corpus, lines)
    root, _ = corpus
    (root / "gone.mp4").write_bytes((root / "good.mp4").read_bytes())
    assert _prepare(tmp_path, corpus, lines)[1]["kept"] == 1


def test_a_few_examples_in_memory(corpus):
    root, spec = corpus
    clip = MediaRef("video", str(root / "good.mp4"))
    store = lay_out([Example("p", "p", (Turn("user", (clip, "How many?")),))], spec, mode="prompt")
    assert len(store) == 1 and store.budgets.tolist() == [16]
    gone = MediaRef("video", str(root / "gone.mp4"))
    with pytest.raises(ValueError, match="gone.mp4: missing"):
        lay_out([Example("p", "p", (Turn("user", (gone, "How?")),))], spec, mode="prompt")


# --- Frame budgets ------------------------------------------------------------------------------


def _budgets(tmp_path, corpus, records, **changes):
    root, spec = corpus
    spec = dataclasses.replace(spec, **changes)
    path, _, _ = _prepare(tmp_path, (root, spec), [json.dumps(r) for r in records])
    return ExampleStore.open(path)


def test_frames_that_did_not_fit_are_said(tmp_path, corpus):
    root, _ = corpus
    write_clip(root / "short.mp4", frames=13)
    write_clip(root / "brief.mp4", frames=6)
    records = [
        _record("motion", "<video>\nWhich way does it move?", video="good.mp4"),
        _record("short", "<video>\nHow many times?", video="short.mp4"),
        _record("colour", "<video>\nWhat colour is it?", video="brief.mp4"),
    ]
    policy = {"kind": "instruction", "candidates": (8, 16)}
    # The smallest pictures take four patches a pair of frames.
    store = _budgets(tmp_path, corpus, records, frame_policy=policy, max_patches=12)
    assert [store.why(i) for i in range(3)] == [
        "4: asks about motion, 8 did not fit into the row",
        "6: counts events (+), capped: the clip has 13 frames, 12 did not fit into the row",
        "6: asks for a colour (-), capped: the clip has 6 frames",
    ]
    assert store.budgets.tolist() == [4, 6, 6]
    assert [len(store[i][1].media[0].frame_indices) for i in range(3)] == [4, 6, 6]
    assert store.clips().tolist() == [[24, 4], [13, 6], [6, 6]]


def test_each_clip_of_an_example_counts(tmp_path, corpus):
    root, _ = corpus
    write_clip(root / "short.mp4", frames=7)
    record = _record("both", "<video><image><video>\nHow many?", image="still.png")
    record["video"] = ["good.mp4", "short.mp4"]
    store = _budgets(tmp_path, corpus, [record, _record("words", "How many?")])
    assert store.clips().tolist() == [[24, 16], [7, 6]]
    assert store.budgets.tolist() == [16, 0]
    assert store.why(0) == "16: fixed; 6: fixed, capped: the clip has 7 frames"


def test_a_tower_that_takes_single_frames_sees_all_of_a_short_clip(tmp_path, corpus):
    root, _ = corpus
    write_clip(root / "five.mp4", frames=5)
    records = [_record("five", video="five.mp4"), _record("good", video="good.mp4")]
    policy, single = (
        {"kind": "fixed", "frames": 7},
        dataclasses.replace(LAYOUT, temporal_patch_size=1),
    )
    store = _budgets(tmp_path, corpus, records, frame_policy=policy, layout=single)
    assert store.budgets.tolist() == [5, 7]
    assert store[0][1].media[0].frame_indices == (0, 1, 2, 3, 4)


def test_frames_that_the_tower_cannot_take_are_named_before_any_work(corpus):
    _, spec = corpus
    with pytest.raises(ValueError, match="'frames' must be a multiple of 2.*got 7"):
        dataclasses.replace(spec, frame_policy={"kind": "fixed", "frames": 7})


def test_the_random_control_shows_what_its_rule_shows(tmp_path, corpus):
    """Clips of different lengths, each asked about in the same ways."""
    root, spec = corpus
    lengths, questions = (3, 7, 9, 12, 18, 24), ("How many times?", "What colour is it?")
    for n in lengths:
        write_clip(root / f"{n}.mp4", frames=n)
    records = [
        _record(f"{n} {i}", f"<video>\n{questions[i % 2]}", video=f"{n}.mp4")
        for n in lengths
        for i in range(60)
    ]
    rule = {"kind": "instruction", "candidates": (2, 4, 8, 16)}
    rooms = {"max_tokens": 2048, "max_patches": 2048}
    wanted = _budgets(tmp_path, corpus, records, frame_policy=rule, **rooms)
    control = frame_budget.resolve_spec(
        {"kind": "random_matched", "of": rule}, lambda other: wanted.clips()
    )
    drawn = _budgets(tmp_path, corpus, records, frame_policy=control, **rooms)
    assert list(control["histogram"]) == ["3", "7", "9", "12", "16"]
    for n in lengths:
        mine, of_rule = (s.clips()[s.clips()[:, 0] == n, 1] for s in (drawn, wanted))
        assert set(mine) == set(of_rule)
    assert drawn.budgets.mean() == pytest.approx(wanted.budgets.mean(), rel=0.1)  # of 360 draws


# --- At scale -----------------------------------------------------------------------------------


class CountingDecoder(Decoder):
    """Counts what it is asked to probe, and may be slow."""

    def __init__(self, seconds=0.0):
        super().__init__()
        self.asked = collections.Counter()
        self._seconds = seconds

    def probe(self, ref):
        self.asked[ref] += 1
        time.sleep(self._seconds)
        return super().probe(ref)

    def __reduce__(self):
        return CountingDecoder, (self._seconds,)


def _many(tmp_path, root, count, clips=20):
    """A data set of `count` questions about `clips` clips, with some bad ones in between."""
    source = (root / "good.mp4").read_bytes()
    for i in range(clips):
        (root / f"{i}.mp4").write_bytes(source)
    records = [
        _record(f"k{i}", f"<video>\nQuestion {i}?", video=f"{i % clips}.mp4") for i in range(count)
    ]
    for i in range(3, count, 10):
        records[i]["video"] = "gone.mp4"
    records[7]["conversations"] = []
    path = tmp_path / "many.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return DatasetSpec("many", str(path), str(root))


def _content(path):
    """Everything in an index and beside it."""
    store = ExampleStore.open(path)
    rows = [(*store[i], store.why(i)) for i in range(len(store))]
    return rows, quarantine_of(path).read_bytes(), (path.with_suffix(".summary.json")).read_text()


@pytest.mark.parametrize("options", [{"processes": True, "workers": 2}, {"chunk_records": 7}])
def test_workers_and_chunks_do_not_change_the_result(tmp_path, corpus, options):
    root, spec = corpus
    dataset = _many(tmp_path, root, 60)
    path, summary = prepare(dataset, spec, tmp_path / "one", workers=1)
    other, _ = prepare(dataset, spec, tmp_path / "two", **options)
    assert _content(other) == _content(path)
    assert summary["kept"] + sum(summary["quarantined"].values()) == 60
    assert summary["quarantined"] == {"missing": 6, "bad_turn": 1}
    assert not list((tmp_path / "two").glob("*pieces*"))


_KILLED = """
import sys, time
from pathlib import Path
from input_pipeline.media import probing as media
from input_pipeline.media import Decoder
from tests.input_pipeline.index.test_prepare import CountingDecoder, DatasetSpec, prepare
import pickle
if __name__ == "__main__":
    dataset, spec, index_dir, options = pickle.loads(bytes.fromhex(sys.argv[1]))
    slow = CountingDecoder(seconds=0.02)
    prepare(dataset, spec, index_dir, workers=2, decoder=slow, chunk_records=16, **options)
"""


@pytest.mark.parametrize("processes", [False, True])
def test_a_killed_preparation_goes_on_with_the_chunk_in_hand(tmp_path, corpus, processes):
    root, spec = corpus
    dataset = _many(tmp_path, root, 200, clips=200)
    index_dir = tmp_path / "killed"
    arguments = pickle.dumps((dataset, spec, index_dir, {"processes": processes})).hex()
    said = tmp_path / "said"
    with open(said, "wb") as output:
        child = subprocess.Popen(
            [sys.executable, "-c", _KILLED, arguments],
            cwd=Path(__file__).parents[3],
            stdout=output,
            stderr=output,
        )
    deadline = time.monotonic() + 120
    while len(done := list(index_dir.glob("*.pieces-16/*.arrow"))) < 4:
        assert child.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    workers = psutil.Process(child.pid).children(recursive=True)
    assert processes == (len(workers) >= 2)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    before = said.read_bytes()
    _wait_for_the_end_of(workers)
    assert said.read_bytes() == before
    done = list(index_dir.glob("*.pieces-16/*.arrow"))
    assert 4 <= len(done) < 13 and not list(index_dir.glob("*.arrow"))

    decoder = CountingDecoder()
    path, summary = prepare(dataset, spec, index_dir, decoder=decoder, chunk_records=16)
    finished = {int(piece.stem) for piece in done}
    asked = {int(Path(ref.path).stem) for ref in decoder.asked if "gone" not in ref.path}
    assert asked and not {i for i in asked if i // 16 in finished}
    whole, _ = prepare(dataset, spec, tmp_path / "whole")
    assert _content(path) == _content(whole)
    assert summary["examples"] == 200 and not list(index_dir.glob("*pieces*"))


def _wait_for_the_end_of(processes):
    """Workers whose parent was killed end by themselves."""
    assert not psutil.wait_procs(processes, timeout=20)[1]


def test_a_changed_policy_probes_no_file_again(tmp_path, corpus):
    root, spec = corpus
    dataset = _many(tmp_path, root, 60)
    first = CountingDecoder()
    path, _ = prepare(dataset, spec, tmp_path / "index", decoder=first, workers=1)
    files = {ref.path for ref in first.asked}
    assert len(files) == 19 and max(first.asked.values()) == 1
    for changes in (
        {"frame_policy": {"kind": "fixed", "frames": 4}},
        {"layout": dataclasses.replace(LAYOUT, video_max_pixels=28 * 28)},
        {"max_tokens": 300},
    ):
        again = CountingDecoder()
        changed = dataclasses.replace(spec, **changes)
        other, _ = prepare(dataset, changed, tmp_path / "index", decoder=again, workers=1)
        assert other != path
        # What is not there has no stamp to know it by: it is looked for again.
        assert {ref.path for ref in again.asked} == {str(root / "gone.mp4")}
    os.utime(root / "4.mp4", ns=(1, 1))
    touched = CountingDecoder()
    prepare(dataset, dataclasses.replace(spec, max_tokens=301), tmp_path / "index", decoder=touched)
    assert {Path(ref.path).name for ref in touched.asked} == {"4.mp4", "gone.mp4"}


def test_clips_of_one_file_cost_one_probe_and_have_their_own_frames(tmp_path, corpus):
    root, spec = corpus
    info = media.probe(MediaRef("video", str(root / "good.mp4")))
    half = info.frame_times[12]
    records = [
        _record("all", video="good.mp4"),
        _record("first", video="good.mp4", start=0, end=info.frame_times[11]),
        _record("second", "<video>\nOther?", video="good.mp4", start=half),
        _record("none", video="good.mp4", start=1000),
    ]
    path = tmp_path / "clips.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    decoder = CountingDecoder()
    dataset = DatasetSpec("clips", str(path), str(root))
    index, summary = prepare(dataset, spec, tmp_path / "index", decoder=decoder, workers=1)
    assert sum(decoder.asked.values()) == 1 and summary["quarantined"] == {"empty_clip": 1}
    store = ExampleStore.open(index)
    assert store.budgets.tolist() == [16, 12, 12]
    for i in range(3):
        example, layout = store[i]
        own = media.probe(example.media[0])
        expected = [own.frame_times[k] for k in layout.media[0].frame_indices]
        np.testing.assert_allclose(layout.media[0].frame_times, expected, atol=1e-9)
        assert layout.media[0].frame_times[0] == 0.0
        assert layout.media[0].interval == pytest.approx(own.duration_s / store.budgets[i])


def test_media_inside_parquet(tmp_path, corpus):
    root, spec = corpus
    talk = [{"from": "human", "value": "<video>\nWhat?"}, {"from": "gpt", "value": "two"}]
    files = ["good.mp4", "garbage.mp4", "one.mp4"]
    rows = [
        {"id": name, "video": {"bytes": (root / name).read_bytes()}, "conversations": talk}
        for name in files
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "data.parquet")
    dataset = DatasetSpec("inside", str(tmp_path / "data.parquet"), "/nowhere")
    index, summary = prepare(dataset, spec, tmp_path / "index")
    store = ExampleStore.open(index)
    assert store.budgets.tolist() == [16, 2] and sum(summary["quarantined"].values()) == 1
    outside = lay_out(
        [Example("a", "a", (Turn("user", (MediaRef("video", str(root / "good.mp4")), "What?")),))],
        spec,
        mode="prompt",
    )
    assert store[0][1].media == outside[0][1].media


def test_rejections_of_one_id_all_count(tmp_path, corpus):
    record = json.dumps(_record("same", video="good.mp4"))
    path, summary, _ = _prepare(tmp_path, corpus, [record] * 4)
    assert summary["examples"] == 4 and summary["quarantined"] == {"duplicate": 3}
    assert [entry.reason for entry in read_quarantine(quarantine_of(path))] == ["duplicate"] * 3


def test_stores_can_be_joined(tmp_path, corpus):
    root, spec = corpus
    path, _ = prepare(_many(tmp_path, root, 30), spec, tmp_path / "index")
    store = ExampleStore.open(path)
    both = ExampleStore.concatenate([store, store])
    assert len(both) == 2 * len(store)
    for i in (0, len(store) - 1, len(store), len(both) - 1):
        assert both[i] == store[i % len(store)]
    assert both.tokens.tolist() == 2 * store.tokens.tolist()
    few = lay_out([store[0][0]], spec, mode="train")
    assert ExampleStore.concatenate([store, few])[len(store)] == few[0]


def test_too_many_bad_examples_end_the_preparation_and_leave_nothing(tmp_path, corpus):
    root, spec = corpus
    records = [_record(f"k{i}", f"<video>\nQuestion {i}?", video="good.mp4") for i in range(100)]
    for record in records[40:]:
        record["video"] = "later/good.mp4"  # as of a disk that is not there
    path = tmp_path / "train.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    dataset = DatasetSpec("mine", str(path), str(root))
    options = {"chunk_records": 20, "max_bad_fraction": 0.1, "workers": 1}
    with pytest.raises(TooManyBad, match="20 of 100 examples.*quarantine.jsonl") as caught:
        prepare(dataset, spec, tmp_path / "index", **options)
    (listed,) = (tmp_path / "index").glob("*quarantine.jsonl")
    assert str(listed) in str(caught.value) and len(list(read_quarantine(listed))) == 20
    assert not list((tmp_path / "index").glob("*.arrow")) + list(
        (tmp_path / "index").glob("*pieces*")
    )
    (root / "later").mkdir()
    (root / "later/good.mp4").write_bytes((root / "good.mp4").read_bytes())
    _, summary = prepare(dataset, spec, tmp_path / "index", **options)
    assert summary["kept"] == 100


def test_bad_examples_that_come_first_are_a_fraction_of_all(tmp_path, corpus):
    root, spec = corpus
    records = [_record(f"k{i}", f"<video>\nQuestion {i}?", video="good.mp4") for i in range(200)]
    for record in records[:20]:
        record["video"] = "gone.mp4"
    path = tmp_path / "train.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    dataset = DatasetSpec("mine", str(path), str(root))
    options = {"chunk_records": 20, "max_bad_fraction": 0.1}
    assert prepare(dataset, spec, tmp_path / "index", **options)[1]["kept"] == 180


def test_what_may_have_passed_is_looked_at_again_when_asked(tmp_path, corpus, caplog):
    root, spec = corpus
    names = ("good.mp4", "later.mp4", "garbage.mp4")
    lines = [json.dumps(_record(name, video=name)) for name in names]
    path, summary, _ = _prepare(tmp_path, corpus, lines)
    assert summary["kept"] == 1
    (root / "later.mp4").write_bytes((root / "good.mp4").read_bytes())
    dataset = DatasetSpec("mine", str(tmp_path / "train.jsonl"), str(root))
    caplog.set_level("WARNING")
    assert prepare(dataset, spec, tmp_path / "index") == (path, summary)
    assert "1 examples were left out" in caplog.text and "--job=prepare" in caplog.text
    again, summary = prepare(dataset, spec, tmp_path / "index", retry=True)
    assert again == path and summary["kept"] == 2
    assert len(ExampleStore.open(path)) == 2
    stamp = path.stat().st_mtime_ns  # garbage stays garbage: nothing is done again for it
    prepare(dataset, spec, tmp_path / "index", retry=True)
    assert path.stat().st_mtime_ns == stamp


def test_two_at_a_time_prepare_one_index_once(tmp_path, corpus):
    root, spec = corpus
    dataset = _many(tmp_path, root, 60)
    decoders = [CountingDecoder(seconds=0.01) for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        found = list(
            pool.map(lambda d: prepare(dataset, spec, tmp_path / "index", decoder=d), decoders)
        )
    assert found[0] == found[1]
    assert sorted(bool(decoder.asked) for decoder in decoders) == [False, True]


def test_the_name_of_an_index_follows_the_template_and_the_place_of_media(tmp_path, corpus):
    root, spec = corpus
    lines = [json.dumps(_record("good", video="good.mp4"))]
    first = _prepare(tmp_path, corpus, lines)[0]
    template = tmp_path / "tokenizer" / "chat_template.jinja"
    config = json.loads((tmp_path / "tokenizer" / "tokenizer_config.json").read_text())
    template.write_text(config["chat_template"] + " ")
    assert _prepare(tmp_path, corpus, lines)[0] != first

    talk = [{"from": "human", "value": "<video>\nWhat?"}, {"from": "gpt", "value": "two"}]
    data = {"bytes": (root / "good.mp4").read_bytes()}
    row = {"id": "a", "video": data, "conversations": talk}
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "data.parquet")
    (tmp_path / "moved").mkdir()
    moved = shutil.copy2(tmp_path / "data.parquet", tmp_path / "moved")
    for place in (tmp_path / "data.parquet", moved):
        dataset = DatasetSpec("inside", str(place), "/nowhere")
        store = ExampleStore.open(prepare(dataset, spec, tmp_path / "index")[0])
        assert str(place) in store[0][0].media[0].path


def test_what_an_index_holds_is_told_when_it_is_made(tmp_path, corpus, caplog):
    caplog.set_level("INFO")
    lines = [json.dumps(_record("good", video="good.mp4"))]
    _prepare(tmp_path, corpus, lines)
    assert any("mine (train): 1 of 1 examples" in message for message in caplog.messages)
    assert any("16 frames" in message for message in caplog.messages)
    caplog.clear()
    _prepare(tmp_path, corpus, lines)
    assert caplog.messages == ["mine (train): 1 examples, prepared before"]


def _flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("harm", [_flip, _cut, lambda path: path.write_bytes(b"")])
@pytest.mark.parametrize("suffix", [".arrow", ".quarantine.jsonl", ".summary.json", ".crc32.json"])
def test_a_damaged_index_is_made_again_with_a_line(tmp_path, corpus, caplog, suffix, harm):
    records = [_record("good", video="good.mp4"), _record("missing", video="gone.mp4")]
    lines = [json.dumps(record) for record in records]
    path, summary, reasons = _prepare(tmp_path, corpus, lines)
    whole = {file.name: file.read_bytes() for file in path.parent.glob(f"{path.stem}*")}
    harm(path.with_suffix(suffix))
    caplog.clear()
    assert _prepare(tmp_path, corpus, lines) == (path, summary, reasons)
    assert {file.name: file.read_bytes() for file in path.parent.glob(f"{path.stem}*")} == whole
    assert [m for m in caplog.messages if f"{path} is damaged, so it is made again: " in m]


@pytest.mark.parametrize("suffix", [".arrow", ".quarantine.jsonl"])
def test_a_damaged_piece_is_made_again_with_a_line(tmp_path, corpus, caplog, monkeypatch, suffix):
    files = ("gone.mp4", "good.mp4")
    lines = [json.dumps(_record(f"r{i}", video=files[i % 2])) for i in range(6)]
    (tmp_path / "whole").mkdir()
    whole = _prepare(tmp_path / "whole", corpus, lines)
    annotations = tmp_path / "train.jsonl"
    annotations.write_text("".join(line + "\n" for line in lines))
    dataset = DatasetSpec("mine", str(annotations), str(corpus[0]))

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(sys.modules["input_pipeline.index.prepare"], "join_quarantines", killed)
        prepare(dataset, corpus[1], tmp_path / "index", chunk_records=2)
    (folder,) = (tmp_path / "index").glob("*.pieces-2")
    (folder / f"000001{suffix}").write_bytes(b"\0" * 50 + b"\n")
    caplog.clear()
    path, summary = prepare(dataset, corpus[1], tmp_path / "index", chunk_records=2)
    assert [m for m in caplog.messages if f"{folder}/000001.arrow is damaged, so it is made" in m]
    assert summary == whole[1]
    store = ExampleStore.open(path)
    assert [store[i][0].id for i in range(len(store))] == ["r1", "r3", "r5"]
