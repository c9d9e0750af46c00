"""Column maps: what they make of records, and what is said about those that cannot be right."""

import json

import pytest

from input_pipeline.annotations import AnnotationError
from input_pipeline.annotations.columns import ColumnMap
from input_pipeline.annotations.rejected import Unusable
from input_pipeline.examples import MediaRef
from tests.input_pipeline.annotations.format_helpers import ROOT, read, read_one, reason_of

RECORD = {
    "vid": 7010,
    "q": "What?",
    "a": "That.",
    "size": 2.0,
    "meta": {"path": "x/y", "more": '{"deep": ["z"]}'},
    "captions": [{"idx": "0", "text": "part"}, {"idx": "-1", "text": "all"}],
    "odd key.a": "odd",
    "empty": "",
    "flag": True,
}


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("{vid}", 7010),  # a column alone is what it is
        ("{captions}", RECORD["captions"]),
        ("video{vid}.mp4", "video7010.mp4"),
        ("{meta.path}/{vid}.mp4", "x/y/7010.mp4"),
        ("{meta.more.deep.0}", "z"),  # through JSON that is stored as text
        ("{captions.idx=-1.text}", "all"),
        ("{captions.0.text} {captions.-1.text}", "part all"),
        ("{odd key.a}", "odd"),
        ("v{size}", "v2"),  # an integer in a column with holes
        ("{{{vid}}}", "{7010}"),
        ("Describe the video.", "Describe the video."),
        ("{q}\n{empty?}", "What?\n"),
        ("{nowhere?}", None),
        ("img/{empty?}.jpg", None),  # nothing of it is there
        (["{q}", "{nowhere?}", "{a}"], ["What?", "That."]),
        (0.25, 0.25),
        (True, True),
        (None, None),
    ],
)
def test_what_a_template_stands_for(template, value):
    assert ColumnMap({"key": template}).apply(RECORD).get("key") == value


@pytest.mark.parametrize(
    "template", ["{nowhere}", "{meta.nowhere}", "{empty}", "{captions.7.text}"]
)
def test_a_record_without_a_column_is_rejected(template):
    with pytest.raises(Unusable) as caught:
        ColumnMap({"key": template}).apply(RECORD)
    assert caught.value.reason == "missing_column" and template[1:-1] in caught.value.detail
    with pytest.raises(Unusable, match="wants texts and numbers"):
        ColumnMap({"key": "a {meta}"}).apply(RECORD)


def test_keys_that_the_map_does_not_name_stay():
    made = ColumnMap({"video": "{vid}.mp4", "question": "{q}", "captions": None}).apply(RECORD)
    assert made["video"] == "7010.mp4" and made["question"] == "What?"
    assert made["vid"] == 7010 and made["a"] == "That."
    assert "q" not in made and "captions" not in made  # stored once; left out
    assert ColumnMap({}).apply(RECORD) is RECORD
    assert ColumnMap({"video": "{v}"}).apply(["no", "object"]) == ["no", "object"]


def test_a_list_of_questions_becomes_turns(tmp_path):
    columns = {
        "video": "{name}.mp4",
        "questions": {"each": "{qa}", "question": "{i?}\n{q}", "answer": "{a}"},
    }
    pairs = [{"i": "Look.", "q": "One?", "a": "1"}, {"q": "Two?", "a": "2"}]
    for qa in (pairs, json.dumps(pairs), str(pairs)):
        example = read_one(tmp_path, {"name": "x", "qa": qa}, columns=columns)
        clip = MediaRef("video", f"{ROOT}/x.mp4")
        assert [turn.parts for turn in example.turns] == [
            (clip, "Look.\nOne?"),
            ("1",),
            ("Two?",),
            ("2",),
        ]
        assert "qa" not in example.meta
    good = {"name": "x", "qa": pairs}
    for wrong in ({"qa": 3}, {"qa": ["one"]}, {"qa": [{"q": "One?"}]}):
        found = read(tmp_path, [good, {"name": "x", **wrong}], columns=columns)[-1]
        assert found.reason in ("bad_turn", "missing_column")


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"video": "{vido}.mp4"}, "the first 1 records has; did you mean vid?\nThere are: vid"),
        ({"video": "{vidd?}.mp4"}, "did you mean vid?"),  # an optional one too, if it looks so
        ({"question": "{meta.pth}"}, "did you mean meta.path?"),
        ({"question": "q"}, 'is this text, not the column: write "{q}"'),
        ({"options": ["{a}", "{b}"]}, '"columns": "options": "{b}" names a column'),
        (
            {"questions": {"each": "{captions}", "question": "{txt}", "answer": "{text}"}},
            "did you mean text?",
        ),
        ({"questions": {"each": "{caption}", "question": "a", "answer": "b"}}, "mean captions?"),
    ],
)
def test_columns_that_a_file_does_not_have_are_named_at_once(tmp_path, columns, said):
    with pytest.raises(AnnotationError) as caught:
        read(tmp_path, [RECORD], columns=columns)
    message = str(caught.value)
    assert message.startswith(f"annotation file {tmp_path}/data.jsonl: ") and said in message
    assert message.count("\n") < 5


@pytest.mark.parametrize(
    "columns",
    [
        {"video": "video_id"},
        {"question": "{q"},
        {"question": "{}"},
        {"question": "{q!r}"},
        {"question": "{q:>3}"},
        {"question": {"each": "{q}"}},
        {"questions": "{qa}"},
        {"questions": {"each": "{qa}", "question": "{q}"}},
        {"options": [["{a}"]]},
    ],
)
def test_a_map_that_means_nothing_is_refused(columns):
    with pytest.raises(AnnotationError, match=f'"columns": "{next(iter(columns))}'):
        ColumnMap(columns)


def test_one_record_without_its_clip_is_no_text(tmp_path):
    good = {"vid": 1, "question": "What?", "answer": "That."}
    columns = {"video": "{vid}.mp4"}
    found = read(tmp_path, [good, {"question": "Why?", "answer": "So."}], columns=columns)
    assert found[0].media and found[1].reason == "missing_column"


def test_a_file_that_is_named_without_its_ending(tmp_path):
    for name in ("v_a.webm", "v_b.mkv", "v_b.json", "v_c.MP4", "v_c.avi"):
        (tmp_path / name).touch()
    records = [{"vid": f"v_{i}", "question": "What?", "answer": "That."} for i in "abcd"]
    found = read(tmp_path, records, root=tmp_path, columns={"video": "{vid}.*"})
    names = [example.media[0].path.rpartition("/")[2] for example in found]
    assert names == ["v_a.webm", "v_b.mkv", "v_c.MP4", "v_d.*"]


def test_a_conversation_may_be_text(tmp_path):
    talk = [{"from": "human", "value": "<video>\nWhat?"}, {"from": "gpt", "value": "That."}]
    for turns in (json.dumps(talk), str(talk)):
        example = read_one(tmp_path, {"conversations": turns, "video": "a.mp4"})
        assert [turn.text for turn in example.turns][1] == "That." and len(example.media) == 1
    assert reason_of(tmp_path, {"conversations": "[{", "video": "a.mp4"}) == "bad_turn"
