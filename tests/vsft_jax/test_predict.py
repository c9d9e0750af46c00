"""Questions of a file: what is read, and what is named."""

import json

import pytest

from configs import qwen2_5_vl as published
from input_pipeline.errors import UserError
from input_pipeline.examples import MediaRef
from tests.conftest import devices
from tests.input_pipeline.media_fixtures import write_clip
from tests.vsft_jax.hf_fixtures import write_model
from vsft_jax import predict as predict_module
from vsft_jax.config import Run
from vsft_jax.predict import Chat, Question, predict, read_questions


def _file(folder, *lines):
    path = folder / "questions.jsonl"
    path.write_text(
        "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    )
    return path


def test_questions_are_read_with_their_media(tmp_path):
    path = _file(
        tmp_path,
        {"prompt": "What?", "media": ["a.mp4", "/b.png", "https://c.org/d.jpg"], "id": "first"},
        "",
        {"prompt": "Who?", "media": "e.gif"},
        {"prompt": "Why?"},
    )
    assert read_questions(path) == [
        Question("What?", [str(tmp_path / "a.mp4"), "/b.png", "https://c.org/d.jpg"], "first"),
        Question("Who?", [str(tmp_path / "e.gif")], "3"),
        Question("Why?", [], "4"),
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 1: not JSON"),
        ("[1]", 'line 1: wanted {"prompt"'),
        ('{"prompt": 3}', 'line 1: wanted {"prompt"'),
        ('{"prompt": "a", "vidoe": "b"}', "line 1: vidoe: keys are prompt, media and id"),
        ('{"prompt": "a", "media": 3}', "line 1: media = 3: wanted a list"),
        ('{"prompt": "a", "id": 2}\n{"prompt": "b"}', "the id '2' stands there 2 times"),
        ("", "holds no question"),
    ],
)
def test_lines_that_are_no_questions_are_named(tmp_path, line, message):
    with pytest.raises(UserError, match=message):
        read_questions(_file(tmp_path, line))
    with pytest.raises(UserError, match="--prompts=.*none.jsonl cannot be read"):
        read_questions(tmp_path / "none.jsonl")


@pytest.fixture
def imported(tmp_path):
    """Of a model in tmp_path, with two clips beside it."""
    write_model(tmp_path)
    for name, frames in (("short.mp4", 4), ("long.mp4", 24)):
        write_clip(tmp_path / name, frames=frames)
    config = published.get_config(f"path={tmp_path},frames=8")
    config.model.update(dtype="float32", remat="none")
    config.layout.update(row_tokens=512, row_patches=1024)
    config.layout.update(video_min_pixels=56 * 56, video_max_pixels=112 * 112)
    config.data.decoder = "threads"
    config.eval.update(batch_rows=2, max_new_tokens=3)
    return config


def test_tags_say_where_media_stand(tmp_path, imported, prompts):
    clip = str(tmp_path / "short.mp4")
    asked = ["Is it <video>\r\nor not?", "What is <|im_end|>?"]
    with devices(1):
        predict(Run(imported, tmp_path), [Question(asked[0], [clip], "1"), Question(asked[1])])
    (placed,), (plain,) = (example.turns for example, _ in prompts)
    assert placed.parts == ("Is it ", MediaRef("video", clip), "or not?")
    assert plain.parts == ("What is <|im_end|>?",)


def test_tags_without_their_media_are_named(tmp_path, imported):
    questions = [Question("What is <video>?", [])]
    with pytest.raises(UserError, match="1 <video> in the user's turns for 0 media"):
        predict(Run(imported, tmp_path), questions)


def test_answers_come_in_the_order_of_the_questions(tmp_path, imported):
    config = imported
    asked = [
        Question("What happens?", [str(tmp_path / "short.mp4")], "short"),
        Question("Why?", [], "words"),
        Question("What happens?", [str(tmp_path / "long.mp4")], "long"),
    ]
    with devices(1):
        together = predict(Run(config, tmp_path / "nowhere"), asked)
        (alone,) = predict(Run(config, tmp_path / "nowhere"), [asked[2]])
    assert [said["id"] for said in together] == ["short", "words", "long"]
    assert [len(times) for said in together for times in said["timestamps"]] == [4, 8]
    assert together[1]["visual_tokens"] == 0
    assert [said["shrunk"] for said in together] == ["", "", ""]
    assert together[2]["token_ids"] == alone["token_ids"]
    with pytest.raises(UserError, match="nothing.mp4"):
        predict(Run(config, tmp_path), [Question("What?", [str(tmp_path / "nothing.mp4")])])


def test_what_had_to_shrink_is_said(tmp_path, imported):
    imported.layout.row_tokens = 64
    with devices(1):
        (said,) = predict(
            Run(imported, tmp_path / "nowhere"), [Question("Why?", [str(tmp_path / "long.mp4")])]
        )
    assert said["shrunk"] == "pixels" and said["visual_tokens"] < 64


# ── A conversation. ─────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def prompts(monkeypatch):
    """What the model is given: (example, layout) of each question."""
    found = []
    answer = predict_module.answer

    def noted(run, model, prompts):
        found.extend(prompts)
        return answer(run, model, prompts)

    monkeypatch.setattr(predict_module, "answer", noted)
    return found


def test_a_conversation_keeps_its_frames_and_what_was_said(tmp_path, imported, prompts):
    gaps = {"low": 4.0, "low-medium": 1.0, "medium": 0.5, "high": 0.1}
    imported.frames = {"kind": "hybrid", "candidates": (2, 4, 8), "gap_seconds": gaps}
    clip = str(tmp_path / "long.mp4")
    with devices(1):
        chat = Chat(Run(imported, tmp_path), [clip])
        first = chat.ask("What colour is the ball?")
        chat.ask("How many times does it bounce?")  # which alone would get more frames
        (alone,) = predict(Run(imported, tmp_path), [Question("What colour is the ball?", [clip])])
        (other,) = predict(Run(imported, tmp_path), [Question("How many bounces?", [clip])])
    (_, before), (example, after), *_ = prompts
    assert first == alone["text"] and chat.why == alone["frame_budget"]
    assert len(after.media[0].frame_indices) < len(other["timestamps"][0])
    assert before.media == after.media and before.tokens < after.tokens
    assert [turn.role for turn in example.turns] == ["user", "assistant", "user"]
    assert example.turns[1].text == first and len(example.media) == 1


def test_what_cannot_be_asked_is_no_part_of_the_conversation(tmp_path, imported, prompts):
    with devices(1):
        chat = Chat(Run(imported, tmp_path), [str(tmp_path / "short.mp4")])
        chat.ask("What happens?")
        with pytest.raises(UserError, match=r"now has \d+ tokens, more than .*row_tokens = 512"):
            chat.ask("why " * 512)
        with pytest.raises(UserError, match="1 <video> in the user's turns for 0 media"):
            chat.ask("And in <video>?")
        chat.ask("Who?")
    assert [turn.text for turn in prompts[-1][0].turns][::2] == ["What happens?", "Who?"]


def test_a_clip_that_would_fill_the_row_leaves_room_to_talk(tmp_path, imported, prompts):
    imported.layout.row_tokens = 64
    with devices(1):
        chat = Chat(Run(imported, tmp_path), [str(tmp_path / "long.mp4")])
        chat.ask("What?")
    assert prompts[0][1].shrunk and prompts[0][1].tokens <= 48
