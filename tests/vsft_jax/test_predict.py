"""Questions of a file: what is read, and what is named."""

import json

import pytest

from input_pipeline.errors import UserError
from tests.conftest import devices
from tests.input_pipeline.media_fixtures import write_clip
from tests.vsft_jax.hf_fixtures import write_model
from vsft_jax.config import Run
from vsft_jax.predict import Question, predict, read_questions


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


def test_answers_come_in_the_order_of_the_questions(tmp_path, shared_config):
    from configs import qwen2_5_vl as published

    write_model(tmp_path)
    for name, frames in (("short.mp4", 4), ("long.mp4", 24)):
        write_clip(tmp_path / name, frames=frames)
    config = published.get_config(f"path={tmp_path},frames=8")
    config.model.update(dtype="float32", remat="none")
    config.layout.update(row_tokens=512, row_patches=1024)
    config.layout.update(video_min_pixels=56 * 56, video_max_pixels=112 * 112)
    config.data.decoder = "threads"
    config.eval.update(batch_rows=2, max_new_tokens=3)
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
    assert together[2]["token_ids"] == alone["token_ids"]
    with pytest.raises(UserError, match="nothing.mp4"):
        predict(Run(config, tmp_path), [Question("What?", [str(tmp_path / "nothing.mp4")])])
