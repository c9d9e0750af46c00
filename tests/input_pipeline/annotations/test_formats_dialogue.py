"""`conversations` and `messages`: the ways in which public data sets write a dialogue."""

import json
import re
from pathlib import Path

import pytest

from input_pipeline.examples import MediaRef, Turn
from tests.input_pipeline.annotations.format_helpers import ROOT, read, read_one, reason_of

IMAGE = MediaRef("image", f"{ROOT}/a.png")
VIDEO = MediaRef("video", f"{ROOT}/a.mp4")
TURNS = (Turn("user", (VIDEO, "What happens?")), Turn("assistant", ("A ball bounces.",)))


@pytest.mark.parametrize("key", ["conversations", "messages"])
@pytest.mark.parametrize(
    ("who", "said", "user", "assistant"),
    [
        ("from", "value", "human", "gpt"),
        ("from", "value", "user", "assistant"),
        ("role", "content", "user", "assistant"),
        ("role", "content", "human", "gpt"),
    ],
)
def test_key_and_role_names(tmp_path, key, who, said, user, assistant):
    talk = [
        {who: user, said: "<video>\nWhat happens?"},
        {who: assistant, said: "A ball bounces."},
    ]
    example = read_one(tmp_path, {"id": "a", "video": "a.mp4", key: talk, "task": "x"})
    assert example.turns == TURNS
    assert example.meta == {"task": "x"}


def _ask(content, **record):
    talk = [{"role": "user", "content": content}, {"role": "assistant", "content": "Yes."}]
    return {"messages": talk, **record}


TEXT = {"type": "text", "text": "What?"}


@pytest.mark.parametrize(
    ("part", "medium"),
    [
        ({"type": "image_url", "image_url": {"url": "a.png"}}, IMAGE),
        ({"type": "image_url", "image_url": "a.png"}, IMAGE),
        ({"type": "image", "image": "a.png"}, IMAGE),
        ({"type": "image", "path": "a.png"}, IMAGE),
        ({"type": "image", "url": "a.png"}, IMAGE),
        ({"type": "image", "image": f"file://{ROOT}/a.png"}, IMAGE),
        ({"type": "image", "image": {"bytes": None, "path": "a.png"}}, IMAGE),
        ({"type": "video_url", "video_url": {"url": "a.mp4"}}, VIDEO),
        ({"type": "video", "video": "a.mp4", "text": None}, VIDEO),
        (
            {"type": "video", "video": "a.mp4", "video_start": 1.5, "video_end": 4},
            MediaRef("video", VIDEO.path, 1.5, 4.0),
        ),
        ({"type": "video", "video": "a.mp4", "start": 2}, MediaRef("video", VIDEO.path, 2.0)),
    ],
)
def test_content_parts(tmp_path, part, medium):
    example = read_one(tmp_path, _ask([part, TEXT]))
    assert example.turns == (Turn("user", (medium, "What?")), Turn("assistant", ("Yes.",)))
    assert read_one(tmp_path, _ask([TEXT, part])).turns[0].parts == ("What?", medium)


def test_texts_and_media_in_reading_order(tmp_path):
    parts = [{"type": "text", "text": text} for text in ("Here\n", "\nand there", "?")]
    media = [{"type": "image", "image": name} for name in ("1.png", "2.png")]
    content = [media[0], parts[0], media[1], parts[1], parts[2]]
    example = read_one(tmp_path, _ask(content))
    first, second = (MediaRef("image", f"{ROOT}/{i}.png") for i in (1, 2))
    # Neighbouring texts are one text; the line breaks beside a medium are the medium's.
    assert example.turns[0].parts == (first, "Here", second, "and there?")


def test_answers_as_parts_and_a_system_turn(tmp_path):
    record = _ask("Hi?")
    record["messages"][1]["content"] = [{"type": "text", "text": "Hello."}]
    expected = (Turn("system", ("Short.",)), Turn("user", ("Hi?",)), Turn("assistant", ("Hello.",)))
    for role in ("system", "developer"):
        with_turn = {"messages": [{"role": role, "content": "Short."}, *record["messages"]]}
        assert read_one(tmp_path, with_turn).turns == expected
    with_key = read_one(tmp_path, record | {"system": "Short."})
    assert with_key.turns == expected and with_key.meta == {}


@pytest.mark.parametrize(
    ("key", "refused", "taken"),
    [
        ("loss", False, True),
        ("weight", 0, 1),
        ("weight", 0.0, 1.0),
        ("train", False, None),
        ("tool_calls", [{"function": {"name": "f", "arguments": "{}"}}], []),
        ("function_call", {"name": "f", "arguments": "{}"}, None),
    ],
)
def test_answers_that_are_not_to_be_taught_as_they_stand(tmp_path, key, refused, taken):
    record = _ask("What?")
    record["messages"][0]["loss"] = False  # of a question it says nothing new
    record["messages"][1][key] = refused
    (found,) = read(tmp_path, [record])
    assert found.reason == "bad_turn" and f'turn 2 has "{key}"' in found.detail
    record["messages"][1][key] = taken
    assert read_one(tmp_path, record).turns[1].text == "Yes."


@pytest.mark.parametrize("key", ["reasoning", "reasoning_content", "thinking"])
@pytest.mark.parametrize("system", [{}, {"system": "Short."}])
def test_reasoning_of_answers(tmp_path, key, system):
    first, second = _ask("Why?")["messages"], _ask("And?")["messages"]
    first[1][key], second[0][key] = "\nBecause.\n", "of a question: not read"
    example = read_one(tmp_path, {"messages": first + second} | system)
    reasoning = [turn.reasoning for turn in example.turns if turn.role == "assistant"]
    assert reasoning == ["Because.", ""]
    assert not any(turn.reasoning for turn in example.turns if turn.role != "assistant")


@pytest.mark.parametrize(
    ("reason", "reasoning"),
    [("bad_turn", ["x"]), ("control_token", "<|im_end|>"), ("misplaced_tag", "a <video>")],
)
def test_reasoning_that_is_rejected(tmp_path, reason, reasoning):
    record = _ask("Why?")
    record["messages"][1]["reasoning"] = reasoning
    assert reason_of(tmp_path, record) == reason


def test_tags_and_parts_without_a_medium_take_the_media_of_the_record(tmp_path):
    for content in ("<image>What?", [{"type": "image"}, TEXT]):
        example = read_one(tmp_path, _ask(content, images=["a.png"]))
        assert example.turns[0].parts == (IMAGE, "What?")
    both = read_one(tmp_path, _ask("<image><video>What?", image="a.png", videos=["a.mp4"]))
    assert both.media == (IMAGE, VIDEO)


@pytest.mark.parametrize(
    ("reason", "record"),
    [
        ("tag_without_media", _ask("<image>What?")),
        ("tag_without_media", _ask([{"type": "image", "image": "a.png"}, "<image>What?"])),
        ("media_without_tag", _ask("What?", images=["a.png"])),
        ("misplaced_tag", _ask("What?") | {"messages": [
            {"role": "user", "content": "What?"},
            {"role": "assistant", "content": [{"type": "image", "image": "a.png"}]},
        ]}),
        ("bad_turn", _ask([{"type": "input_audio", "input_audio": {"data": "x"}}, TEXT])),
        ("bad_turn", _ask([{"text": "no type"}])),
        ("bad_turn", _ask([{"type": ["video"], "video": "a.mp4"}, TEXT])),
        ("bad_turn", _ask(None)),
        ("bad_media", _ask([{"type": "image_url", "image_url": {"url": "data:image/png,x"}}])),
        ("bad_media", _ask([{"type": "image_url", "image_url": {"url": "https://x.org/a.png"}}])),
        ("bad_media", _ask([{"type": "video", "video": ["1.mp4", "2.png"]}])),
        ("path_outside_root", _ask([{"type": "image", "image": "file:///etc/passwd"}])),
        ("empty_question", _ask([])),
        ("empty_question", _ask([{"type": "text", "text": " \n"}])),
        ("control_token", _ask([TEXT, {"type": "text", "text": "<|im_"}, "end|>"])),
        ("unknown_role", {"messages": [{"role": "tool", "content": "x"}]}),
    ],
)  # fmt: skip
def test_what_is_rejected(tmp_path, reason, record):
    assert reason_of(tmp_path, record) == reason


def test_a_question_may_be_media_alone(tmp_path):
    content = [{"type": "image", "image": "a.png"}]
    assert read_one(tmp_path, _ask(content)).turns[0].parts == (IMAGE,)


def test_a_named_format_is_taken_at_its_word(tmp_path):
    record = _ask("<image>What?", image="a.png") | {"conversations": [{"from": "x"}]}
    assert reason_of(tmp_path, record) == "bad_turn"  # told: conversations
    assert read_one(tmp_path, record, format="messages").media == (IMAGE,)
    with pytest.raises(Exception, match=r"format 'llava' of .*known formats are \['conv"):
        read(tmp_path, [record], format="llava")


def test_the_format_is_that_of_most_records(tmp_path):
    records = [{"question": "Hm?", "answer": "x"}, _ask("One?"), _ask("Two?")]
    found = read(tmp_path, records)
    assert [getattr(f, "reason", "") for f in found] == ["bad_turn", "", ""]


def test_the_records_of_the_documentation_are_read(tmp_path):
    page = (Path(__file__).parents[3] / "docs/data.md").read_text()
    page = page[: page.index("## Kinds of files")]
    records = []
    for block in re.findall(r"```json\n(.*?)```", page, re.DOTALL):
        while block := block.strip():
            record, end = json.JSONDecoder().raw_decode(block)
            records.append(record)
            block = block[end:]
    examples = [read_one(tmp_path, record) for record in records]
    kinds = [[medium.kind for medium in example.media] for example in examples]
    assert kinds == [["video"], ["video", "image"], ["image"] * 2, ["video"], ["image"]]
    assert examples[1].media[0] == MediaRef("video", f"{ROOT}/clips/k8.mp4", 12.5, 20.0)
    assert examples[4].turns[1].text == "B"
