"""Prepare: what is kept, what is quarantined with its reason, what is cached."""

import json

import cv2
import numpy as np
import pytest

from input_pipeline.demo_world.tokenizer import write_tokenizer
from input_pipeline.examples import Example, MediaRef, Turn
from input_pipeline.index import DatasetSpec, ExampleStore, IndexSpec, lay_out, prepare
from input_pipeline.quarantine import read_quarantine
from tests.input_pipeline.media_fixtures import write_clip
from vsft_jax.models.qwen2_5_vl.layout import Layout

LAYOUT = Layout(
    image_min_pixels=28 * 28,
    image_max_pixels=112 * 112,
    video_min_pixels=28 * 28,
    video_max_pixels=56 * 56,
)


def _record(name, question="<video>\nHow many times?", **media):
    talk = [{"from": "human", "value": question}, {"from": "gpt", "value": "two"}]
    return {"id": name, "conversations": talk, **media}


@pytest.fixture
def corpus(tmp_path):
    """A media root with good and bad files, and a tokenizer: (root, IndexSpec)."""
    root = tmp_path / "media"
    root.mkdir()
    write_clip(root / "good.mp4", frames=24)
    write_clip(root / "one.mp4", frames=1)
    (root / "garbage.mp4").write_bytes(b"this is no video at all" * 50)
    (root / "empty.mp4").write_bytes(b"")
    (root / "cut.mp4").write_bytes((root / "good.mp4").read_bytes()[:700])
    cv2.imwrite(str(root / "still.png"), np.full((64, 64, 3), 90, np.uint8))
    write_tokenizer(tmp_path / "tokenizer", ["How many times? two one three"])
    spec = IndexSpec(
        tokenizer_dir=str(tmp_path / "tokenizer"),
        layout=LAYOUT,
        frames={"kind": "fixed", "frames": 16},
        max_tokens=512,
        max_patches=512,
    )
    return root, spec


def _prepare(tmp_path, corpus, lines, **changes):
    root, spec = corpus
    annotations = tmp_path / "train.jsonl"
    annotations.write_text("".join(line + "\n" for line in lines))
    dataset = DatasetSpec("mine", str(annotations), str(root), **changes)
    path, summary = prepare(dataset, spec, tmp_path / "index")
    reasons = {
        entry.id: entry.reason
        for entry in read_quarantine(path.with_suffix("").with_suffix(".quarantine.jsonl"))
    }
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
    fewer = IndexSpec(**{**vars(spec), "frames": {"kind": "fixed", "frames": 8}})
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


def test_nothing_usable_is_an_error(tmp_path, corpus):
    with pytest.raises(ValueError, match="no usable example in .*train.jsonl.*missing"):
        _prepare(tmp_path, corpus, [json.dumps(_record("a", video="gone.mp4"))])


def test_a_few_examples_in_memory(corpus):
    root, spec = corpus
    clip = MediaRef("video", str(root / "good.mp4"))
    store = lay_out([Example("p", "p", (Turn("user", (clip, "How many?")),))], spec, mode="prompt")
    assert len(store) == 1 and store.budgets.tolist() == [16]
    gone = MediaRef("video", str(root / "gone.mp4"))
    with pytest.raises(ValueError, match="gone.mp4: missing"):
        lay_out([Example("p", "p", (Turn("user", (gone, "How?")),))], spec, mode="prompt")
