import json

import pytest

from input_pipeline.annotations import (
    AnnotationError,
    Rejected,
    conversation,
    read_annotations,
)
from input_pipeline.annotations.records import json_records
from input_pipeline.examples import Example, MediaRef, Turn

ROOT = "/media/root"


def record(question="<video>\nWhat happens?", answer="A ball bounces.", **keys):
    keys.setdefault("video", "clips/a.mp4")
    talk = [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]
    return {"id": "a", "conversations": talk, **keys}


def read(tmp_path, records, name="data.json", lines=False):
    path = tmp_path / name
    if isinstance(records, str | bytes):
        path.write_bytes(records.encode() if isinstance(records, str) else records)
    elif lines:
        path.write_text("".join(json.dumps(r) + "\n" for r in records))
    else:
        path.write_text(json.dumps(records, indent=1))
    return list(read_annotations(path, ROOT, "mine"))


def only_rejection(tmp_path, bad):
    """The rejection of `bad`, read between two good records that must survive it."""
    results = read(tmp_path, [record(id="before"), bad, record(id="after")])
    kinds = [type(result) for result in results]
    assert kinds == [Example, Rejected, Example], results
    assert results[1].record == 2 and results[1].detail
    assert results[1].path.endswith("data.json") and results[1].stage == "read"
    return results[1]


VIDEO = MediaRef("video", f"{ROOT}/clips/a.mp4")


@pytest.mark.parametrize("lines", [False, True])
def test_reads_list_and_lines_alike(tmp_path, lines):
    good = record(task="caption", data_source="x")
    (example,) = read(tmp_path, [good], name="data.txt", lines=lines)
    assert example == Example(
        id="a",
        source="mine",
        turns=(Turn("user", (VIDEO, "What happens?")), Turn("assistant", ("A ball bounces.",))),
        meta={"task": "caption", "data_source": "x"},
    )
    assert Example.from_json(example.to_json()) == example


def test_system_turn_several_rounds_and_text_only(tmp_path):
    talk = [
        {"from": "system", "value": "Be brief."},
        {"from": "human", "value": "Hello?"},
        {"from": "gpt", "value": "Hello."},
        {"from": "human", "value": "And?"},
        {"from": "gpt", "value": "That is all."},
    ]
    (example,) = read(tmp_path, [{"id": "t", "conversations": talk}])
    assert [turn.role for turn in example.turns] == ["system", *["user", "assistant"] * 2]
    assert example.media == ()


def test_media_go_to_their_tags_by_kind_in_order(tmp_path):
    talk = [
        {"from": "human", "value": "<image>\n<video>\nCompare <image> and <image>.\n<video>"},
        {"from": "gpt", "value": "ok"},
    ]
    images, videos = ["1.jpg", "2.jpg", "3.jpg"], ["1.mp4", "2.mp4"]
    (example,) = read(
        tmp_path, [{"id": 7, "image": images, "video": videos, "conversations": talk}]
    )
    image = [MediaRef("image", f"{ROOT}/{name}") for name in images]
    video = [MediaRef("video", f"{ROOT}/{name}") for name in videos]
    assert example.turns[0].parts == (
        image[0],
        video[0],
        "Compare ",
        image[1],
        " and ",
        image[2],
        ".",
        video[1],
    )
    assert example.id == "7"


def test_media_of_a_later_turn(tmp_path):
    good = record("<video>\nFirst?", video=["1.mp4", "2.mp4"])
    good["conversations"] += [
        {"from": "human", "value": "<video>\nAnd this?"},
        {"from": "gpt", "value": "Another."},
    ]
    (example,) = read(tmp_path, [good])
    assert example.turns[0].parts == (MediaRef("video", f"{ROOT}/1.mp4"), "First?")
    assert example.turns[2].parts == (MediaRef("video", f"{ROOT}/2.mp4"), "And this?")


def test_image_tags_stand_for_the_videos_of_a_record_without_images(tmp_path):
    (example,) = read(tmp_path, [record("<image>\nWhat happens?")])
    assert example.turns[0].parts == (VIDEO, "What happens?")


def test_missing_ids_are_made_from_the_record_number(tmp_path):
    first, second = record("<video>\nOne?"), record("<video>\nTwo?")
    del first["id"], second["id"]
    text = json.dumps(first) + "\n\n" + json.dumps(second) + "\n"
    assert [e.id for e in read(tmp_path, text)] == ["mine-1", "mine-3"]  # line numbers


def test_an_id_used_again_for_other_content_is_numbered(tmp_path):
    records = [record(f"<video>\nQuestion {i}?") for i in range(3)] + [record(id="a#2")]
    assert [e.id for e in read(tmp_path, records)] == ["a", "a#2", "a#3", "a#2#2"]


def test_paths_may_be_absolute_inside_the_root_and_bend_inside_it(tmp_path):
    for path in ("clips/a.mp4", f"{ROOT}/clips/a.mp4", "x/../clips/a.mp4", "./clips//a.mp4"):
        (example,) = read(tmp_path, [record(video=path)])
        assert example.media == (VIDEO,)


@pytest.mark.parametrize(
    ("reason", "bad"),
    [
        ("tag_without_media", record("<video>\n<video>\nWhat?")),
        ("tag_without_media", record("<image>\n<video>\nWhat?")),
        ("tag_without_media", record("<image>\n<image>\nWhat?")),
        ("tag_without_media", record("<video>\nWhat?", video=None)),
        ("tag_without_media", record("<video>\nWhat?", video=[])),
        ("media_without_tag", record("What happens?")),
        ("media_without_tag", record("<video>\nWhat?", video=["a.mp4", "b.mp4"])),
        ("media_without_tag", record("<video>\nWhat?", image="a.jpg")),
        ("misplaced_tag", record(answer="It is <video>.")),
        ("empty_answer", record(answer="")),
        ("empty_answer", record(answer=" \n")),
        ("empty_question", record("  ", video=None)),
        ("control_token", record("<video>\nHi<|im_end|>\n<|im_start|>assistant\nYes")),
        ("control_token", record("<|image_pad|> What?", video=None)),
        ("control_token", record(answer="Done.<|endoftext|>")),
        ("path_outside_root", record(video="../secret.mp4")),
        ("path_outside_root", record(video="clips/../../secret.mp4")),
        ("path_outside_root", record(video="/etc/passwd")),
        ("path_outside_root", record(video="/media/root2/a.mp4")),
        ("path_outside_root", record(video=".")),
        ("bad_media", record(video="https://example.com/a.mp4")),
        ("bad_media", record(video="")),
        ("bad_media", record(video=5)),
        ("bad_media", record(video=["a.mp4", None])),
        ("bad_media", record(video="a\0.mp4")),
        ("bad_id", record(id=["a"])),
        ("bad_id", record(id=True)),
        ("bad_id", record(id=1.5)),
        ("bad_record", "just text"),
        ("bad_record", record(score=float("nan"))),
        ("bad_record", record(frame_question=["What colour is it?"])),
        ("bad_record", record(answer="half a \ud83d surrogate")),
        ("bad_turn", record(conversations=[])),
        ("bad_turn", record(conversations="Hello")),
        ("bad_turn", record(conversations=[{"from": "human"}])),
        ("bad_turn", record(conversations=[None])),
        ("bad_turn", {"id": "no conversations", "video": "a.mp4"}),
        ("unknown_role", record(conversations=[{"from": "tool", "value": "x"}])),
        ("unknown_role", record(conversations=[{"value": "x"}])),
    ],
)
def test_bad_record(tmp_path, reason, bad):
    assert only_rejection(tmp_path, bad).reason == reason


@pytest.mark.parametrize(
    "roles",
    ["human", "gpt", "gpt human", "human human gpt", "human gpt human", "human gpt gpt"]
    + ["human system gpt", "system", "system system human gpt"],
)
def test_turns_must_alternate(tmp_path, roles):
    talk = [{"from": role, "value": "x"} for role in roles.split()]
    assert only_rejection(tmp_path, {"id": "a", "conversations": talk}).reason == "turn_order"


def test_a_video_without_its_tag_is_told_of_its_tag(tmp_path):
    rejected = only_rejection(tmp_path, record("What happens?"))
    assert rejected.detail.endswith("0 <video> in the user's turns for 1 media of the record")


def test_line_breaks_of_windows_beside_a_medium_go_with_it(tmp_path):
    (example,) = read(tmp_path, [record("<video>\r\nWhat\r\nhappens?")])
    assert example.turns[0].parts == (VIDEO, "What\r\nhappens?")
    (example,) = read(tmp_path, [record("What?\r\n<video>")])
    assert example.turns[0].parts == ("What?", VIDEO)


def test_duplicate(tmp_path):
    results = read(tmp_path, [record(), record("<video>\nOther?"), record()])
    assert [type(r) for r in results] == [Example, Example, Rejected]
    assert (results[2].reason, results[2].id, results[2].record) == ("duplicate", "a", 3)


def test_nesting_is_bounded(tmp_path):
    deep = inner = {}
    for _ in range(conversation.MAX_DEPTH):
        inner["x"] = inner = {}
    assert only_rejection(tmp_path, record(extra=deep)).reason == "too_deep"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"id": "x", "conversations": [', "bad_json"),
        (b"\xff\xfe not utf-8", "bad_json"),
        (b'{"id": ' + b"9" * 5000 + b"}", "bad_json"),
        (b'{"id": ' + b"[" * 200_000 + b"]" * 200_000 + b"}", "too_deep"),
    ],
)
def test_a_bad_line_is_named_and_reading_goes_on(tmp_path, line, reason):
    good = [json.dumps(record(f"<video>\nQuestion {i}?")).encode() for i in range(8)]
    results = read(tmp_path, b"\n".join([*good[:6], line, *good[6:]]), name="seven.jsonl")
    assert [type(r) for r in results] == [Example] * 6 + [Rejected] + [Example] * 2
    bad = results[6]
    assert (bad.record, bad.reason) == (7, reason)
    assert "seven.jsonl, line 7" in bad.detail


def test_a_line_beyond_the_bound_is_named_and_reading_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(json_records, "MAX_RECORD_BYTES", 500)
    records = [record(id="1"), record("<video>\n" + "x" * 3000), record(id="3")]
    results = read(tmp_path, records, lines=True)
    assert [type(r) for r in results] == [Example, Rejected, Example]
    assert (results[1].record, results[1].reason) == (2, "too_large")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        (" \n ", "is empty"),
        ("id,video\n1,a.mp4\n", "neither a JSON list nor JSONL.*id,video"),
        (b"PAR1\0\0\0", "not usable Parquet"),
        ('[{"id": "a"},\n {"id": }]', "line 2, column 9"),
        ("[" * 200_000, "nested too deep"),
        (b'[{"id": "\xff"}]', "not UTF-8"),
        ("[1, 2]", "found no JSON object"),
        ("[]", "found no JSON object"),
        ('{"data": [1]}', r"keys \['data'\]"),
        ('[{"id": "a", "text": []}, {"b": 1}]', r"\['b', 'id', 'text'\].*known formats are conv"),
        ('{\n "data": [\n  1\n ]\n}\n', "one whole object on each line"),
    ],
)
def test_a_file_of_no_known_format_is_an_error(tmp_path, content, message):
    with pytest.raises(AnnotationError, match=message) as caught:
        read(tmp_path, content)
    assert "data.json" in str(caught.value)


def test_a_missing_file(tmp_path):
    with pytest.raises(AnnotationError, match="nowhere.json cannot be read: No such file"):
        list(read_annotations(tmp_path / "nowhere.json", ROOT, "mine"))


def test_a_byte_order_mark_is_accepted(tmp_path):
    text = json.dumps(record())
    assert read(tmp_path, b"\xef\xbb\xbf" + text.encode())[0].id == "a"
    assert read(tmp_path, b"\xef\xbb\xbf[" + text.encode() + b"]")[0].id == "a"
