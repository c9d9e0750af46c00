"""What a person reads of a data set that was prepared: what was left out, why, and what to do."""

import json
import re

import pytest

from input_pipeline.annotations import REASONS
from input_pipeline.index import TooManyBad, prepare, report_lines
from input_pipeline.index.left_out import LeftOut, left_out
from input_pipeline.index.pieces import DatasetSpec
from input_pipeline.index.quarantine import QuarantineEntry, quarantine_of
from input_pipeline.media import REASONS as MEDIA_REASONS


def _record(name, question="<video>\nHow many times?", **media):
    talk = [{"from": "human", "value": question}, {"from": "gpt", "value": "two"}]
    return {"id": name, "conversations": talk, **media}


@pytest.fixture
def prepared(tmp_path, corpus):
    root, spec = corpus
    records = [
        _record("good", video="good.mp4"),
        _record("gone 1", video="gone.mp4"),
        _record("tags", "<video> <video>\nWhat?", video="good.mp4"),
        _record("gone 2", "<video>\nWhere?", video="away.mp4"),
        _record("lost", "How many?", video_id=7),
        _record("long", "<video>\n" + "word " * 600, video="good.mp4"),
        _record("also good", "<image>\nWhat?", image="still.png", vidoe="b.mp4"),
    ]
    path = tmp_path / "train.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return prepare(DatasetSpec("mine", str(path), str(root)), spec, tmp_path / "index")


def test_what_was_left_out_is_counted_with_its_first_case(tmp_path, prepared):
    found = {each.first.reason: each for each in left_out(prepared[0])}
    assert {reason: each.count for reason, each in found.items()} == {
        "missing": 2,
        "tag_without_media": 1,
        "unread_media": 1,
        "too_long": 1,
    }
    first = found["missing"]
    assert first.first.record == f"{tmp_path}/train.jsonl, line 2"
    assert first.example.startswith(f"{tmp_path}/train.jsonl, line 2: {tmp_path}/media/gone.mp4: ")
    assert found["tag_without_media"].example.startswith(f"{tmp_path}/train.jsonl, line 3: ")
    assert found["too_long"].example.startswith(f"{tmp_path}/train.jsonl, line 6: long: ")


def test_the_table_holds_80_columns_and_says_what_to_do(tmp_path, prepared):
    path, summary = prepared
    lines = "\n".join(report_lines({path: summary})).split("\n")
    assert lines[0].split() == ["data", "set", "mode", "examples", "kept", "left", "out", "shrunk"]
    assert lines[1].split() == ["mine", "train", "7", "2", "5", "0"]
    long = [line for line in lines if len(line) > 80]
    assert all(re.fullmatch(r"(first:|all of them:|\s)*\S+( line \d+:)?", line) for line in long)
    text = " ".join(" ".join(lines).split())
    assert "left out of mine: 5 of 7" in text
    assert "2 there is no such file or object (missing) first: " in text
    assert "train.jsonl, line 2: " in text and "remedy: a media_root that" in text
    assert "1 names a medium under a key that is not read (unread_media)" in text
    assert f"all of them: {quarantine_of(path)}" in text
    assert "\"vidoe\": 'b.mp4' is not read" in text
    assert not [line for line in report_lines({}) if "left out of" in line]


def test_nothing_usable_is_told_with_the_first_reasons(tmp_path, corpus):
    root, spec = corpus
    path = tmp_path / "train.jsonl"
    records = [_record(f"k{i}", f"<video>\nWhat {i}?", video="gone.mp4") for i in range(3)]
    path.write_text("".join(json.dumps(r) + "\n" for r in [*records, _record("x", "  ")]))
    dataset = DatasetSpec("mine", str(path), str(root))
    with pytest.raises(TooManyBad) as caught:
        prepare(dataset, spec, tmp_path / "index")
    head, first, second, last = str(caught.value).split("\n")
    assert head == f"no usable example in {path}: 3 missing, 1 empty_question"
    assert first.startswith("  3 × missing, there is no such file or object; first ")
    assert f"{path}, line 1: {root}/gone.mp4: " in first
    assert "1 × empty_question" in second and f"{path}, line 4: turn 1 (user)" in second
    assert last.startswith("all of them: ") and last.endswith(".quarantine.jsonl")


def test_too_many_bad_are_told_with_the_first_reasons(tmp_path, corpus):
    root, spec = corpus
    path = tmp_path / "train.jsonl"
    records = [_record(f"k{i}", f"<video>\nWhat {i}?", video="gone.mp4") for i in range(30)]
    path.write_text("".join(json.dumps(r) + "\n" for r in records))
    dataset = DatasetSpec("mine", str(path), str(root))
    with pytest.raises(TooManyBad, match=r"30 of 30 examples.*\n  30 × missing, .*line 1: "):
        prepare(dataset, spec, tmp_path / "index", max_bad_fraction=0.1)


def test_every_reason_has_words_and_a_remedy():
    cases = [("read", reason) for reason in REASONS]
    cases += [("probe", reason) for reason in MEDIA_REASONS]
    cases += [("layout", reason) for reason in ("too_long", "aspect_ratio", "chat_template")]
    for stage, reason in cases:
        each = LeftOut(QuarantineEntry("mine", "a", "a.mp4", stage, reason, "x"))
        assert each.meaning != reason and each.remedy
