"""What was read and tokenised is not read and tokenised again for other budgets and resolutions."""

import dataclasses
import json
import shutil

import pytest

from input_pipeline.annotations import endings
from input_pipeline.frame_budget import instruction
from input_pipeline.index import DatasetSpec, ExampleStore, prepare
from input_pipeline.index import pieces as index_pieces
from input_pipeline.index.quarantine import quarantine_of
from input_pipeline.media import Decoder
from input_pipeline.text import ChatTokenizer
from tests.input_pipeline.index.conftest import LAYOUT
from vsft_jax.models.qwen3_vl.layout import Layout as Qwen3Layout


def _record(name, question="<video>\nHow many times?", answer="two", **media):
    talk = [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]
    return {"id": name, "conversations": talk, **media}


@pytest.fixture
def mixed(tmp_path, corpus):
    """Clips, cuts, pictures, words, and what cannot be used for many reasons."""
    root, _ = corpus
    shutil.copy(root / "good.mp4", root / "other.mp4")
    records = [
        _record("good", video="good.mp4"),
        _record("same", "<video>\nWhat colour is it?", video="good.mp4"),
        _record("cut", video="other.mp4", start=0.2, end=0.6),
        _record("asks", video="other.mp4", nframes=4),
        _record("still", "<image>\nHow many?", image="still.png"),
        _record("both", "<video><image>\nHow many?", image="still.png", video="other.mp4"),
        _record("words", "How many?"),
        _record("same id", "How many?"),
        _record("same id", "How many times?", "three"),
        _record("same id", "How many times?", "three"),  # a duplicate
        _record("thinks", "How many?", "<think>One and one.</think>\ntwo"),
        _record("outside", video="../../etc/passwd"),
        _record("gone", video="gone.mp4"),
        _record("garbage", video="garbage.mp4"),
        _record("unmarked", "How many\ufdd0?"),  # the template cannot render it
        _record("long", "<video>\n" + "word " * 600, video="good.mp4"),
        _record("vidoe", "How many times does it say two in the video?", vidoe_id=3),
        _record("one frame", video="one.mp4"),
    ]
    lines = [json.dumps(record) for record in records]
    (tmp_path / "mixed.jsonl").write_text("\n".join([*lines, '{"id": "broken", ', ""]))
    return DatasetSpec("mixed", str(tmp_path / "mixed.jsonl"), str(root))


def _content(path):
    """Everything in an index and beside it."""
    store = ExampleStore.open(path)
    table = store._table.to_pylist()
    return table, quarantine_of(path).read_bytes(), path.with_suffix(".summary.json").read_text()


@pytest.fixture
def encoded(monkeypatch):
    """The ids of examples that were tokenised, and of files that were read."""
    found = []
    encode, read = ChatTokenizer.encode, index_pieces.read_with_places

    def watched(self, example, replacements=()):
        found.append(example.id)
        return encode(self, example, replacements)

    def watched_read(*args):
        found.append("read")
        return read(*args)

    monkeypatch.setattr(ChatTokenizer, "encode", watched)
    monkeypatch.setattr(index_pieces, "read_with_places", watched_read)
    return found


OTHER_POLICY = {"kind": "instruction", "candidates": [2, 4, 8]}
OTHERS = {
    "frames": {"frame_policy": OTHER_POLICY},
    "resolution": {"layout": dataclasses.replace(LAYOUT, video_max_pixels=84 * 84)},
    "room": {"max_tokens": 200, "max_patches": 24},
}


@pytest.mark.parametrize("change", OTHERS)
@pytest.mark.parametrize("options", [{"chunk_records": 5}, {"processes": True, "workers": 2}])
def test_another_spec_gives_what_it_gives_alone(tmp_path, corpus, mixed, encoded, change, options):
    _, spec = corpus
    other = dataclasses.replace(spec, **OTHERS[change])
    alone, _ = prepare(mixed, other, tmp_path / "alone", **options)
    prepare(mixed, spec, tmp_path / "after", **options)
    encoded.clear()
    after, _ = prepare(mixed, other, tmp_path / "after", **options)
    assert _content(after) == _content(alone)
    # What had to be rejected was never counted; in processes nothing of it is seen from here.
    assert set(encoded) <= {"unmarked"}


def test_texts_that_depend_on_the_layout_are_encoded_again(tmp_path, corpus, mixed, encoded):
    _, spec = corpus
    spec = dataclasses.replace(spec, layout=Qwen3Layout(video_min_pixels=4 * 32 * 32))
    spec = dataclasses.replace(spec, max_tokens=4096, max_patches=4096)
    other = dataclasses.replace(spec, frame_policy=OTHER_POLICY)
    alone, _ = prepare(mixed, other, tmp_path / "alone")
    prepare(mixed, spec, tmp_path / "after")
    encoded.clear()
    after, _ = prepare(mixed, other, tmp_path / "after")
    assert _content(after) == _content(alone)
    assert {"good", "both"} <= set(encoded) and not {"read", "still", "words"} & set(encoded)


@pytest.mark.parametrize("change", ["annotations", "tokenizer", "reasoning", "mode", "columns"])
def test_what_changes_texts_makes_them_anew(tmp_path, corpus, mixed, encoded, change):
    root, spec = corpus
    prepare(mixed, spec, tmp_path / "index")
    encoded.clear()
    spec = dataclasses.replace(spec, frame_policy=OTHER_POLICY)
    if change == "annotations":
        with open(mixed.annotations, "a") as file:
            file.write("\n" + json.dumps(_record("more", "How many?")))
    elif change == "tokenizer":
        with open(tmp_path / "tokenizer/tokenizer_config.json", "a") as file:
            file.write(" ")
    elif change == "reasoning":
        spec = dataclasses.replace(spec, reasoning="drop")
    else:
        value = {"mode": "prompt", "columns": {"note": "x"}}[change]
        mixed = dataclasses.replace(mixed, **{change: value})
    prepare(mixed, spec, tmp_path / "index")
    assert "read" in encoded


@pytest.mark.parametrize(
    ("file", "words"), [("*.arrow", b"How many"), ("whole.json", b"beat config.frames")]
)
def test_damaged_texts_are_read_anew_with_a_line(
    tmp_path, corpus, mixed, encoded, caplog, file, words
):
    _, spec = corpus
    other = dataclasses.replace(spec, frame_policy=OTHER_POLICY)
    alone, _ = prepare(mixed, other, tmp_path / "alone")
    prepare(mixed, spec, tmp_path / "after")
    (piece,) = (tmp_path / "after").glob(f"*.texts-*/{file}")
    harmed = bytearray(piece.read_bytes())
    harmed[harmed.index(words)] ^= 1  # still a text, and whole as a file
    piece.write_bytes(harmed)
    encoded.clear()
    after, _ = prepare(mixed, other, tmp_path / "after")
    assert "read" in encoded and "damaged, so annotations are read again" in caplog.text
    assert _content(after) == _content(alone)


def test_a_name_that_follows_the_files_is_looked_up_again(tmp_path, corpus, encoded):
    """A path of "clip.*" is the clip.mp4 or clip.webm that lies there."""
    root, spec = corpus
    records = [_record("late", video="late.*"), _record("words", "How many?")]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(each) + "\n" for each in records))
    dataset = DatasetSpec("mine", str(tmp_path / "a.jsonl"), str(root))
    _, before = prepare(dataset, spec, tmp_path / "index")
    assert before["quarantined"] == {"missing": 1}
    shutil.copy(root / "good.mp4", root / "late.mp4")
    endings._files.cache_clear()  # as in another process
    _, after = prepare(dataset, spec, tmp_path / "index", retry=True)
    assert after["kept"] == 2
    # A whole set that is named so is never kept.
    mapped = dataclasses.replace(dataset, columns={"video": "{id}.*"})
    encoded.clear()
    for policy in (spec.frame_policy, OTHER_POLICY):
        prepare(mapped, dataclasses.replace(spec, frame_policy=policy), tmp_path / "index")
    assert encoded.count("read") == 2


def test_files_that_came_are_seen_without_reading_again(tmp_path, corpus, mixed, encoded):
    root, spec = corpus
    _, before = prepare(mixed, spec, tmp_path / "index")
    shutil.copy(root / "good.mp4", root / "gone.mp4")
    encoded.clear()
    _, after = prepare(mixed, spec, tmp_path / "index", retry=True)
    assert after["kept"] == before["kept"] + 1 and "read" not in encoded


def test_what_policies_measured_is_not_measured_again(tmp_path, corpus, mixed, monkeypatch):
    _, spec = corpus
    looks = []
    preview = Decoder.preview
    monkeypatch.setattr(Decoder, "preview", lambda *args: looks.append(args) or preview(*args))
    demand = instruction.instruction_demand
    monkeypatch.setattr(
        instruction, "instruction_demand", lambda words: looks.append(words) or demand(words)
    )

    def spec_of(low):
        similar = {"kind": "similarity", "candidates": [2, 4, 8], "novelty_low": low}
        both = [similar, {"kind": "instruction", "candidates": [2, 4, 8]}]
        return dataclasses.replace(
            spec, frame_policy={"kind": "consensus", "rule": "max", "of": both}
        )

    alone, _ = prepare(mixed, spec_of(0.02), tmp_path / "alone")
    prepare(mixed, spec_of(0.01), tmp_path / "after")
    assert {type(each) for each in looks} == {tuple, str}
    looks.clear()
    after, _ = prepare(mixed, spec_of(0.02), tmp_path / "after")
    assert _content(after) == _content(alone)
    assert not looks
    shutil.copy(tmp_path / "media/good.mp4", tmp_path / "media/other.mp4")  # another file by time
    prepare(mixed, spec_of(0.03), tmp_path / "after")
    assert {each[1].path for each in looks} == {str(tmp_path / "media/other.mp4")}
