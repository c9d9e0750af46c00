"""What goes on record of an evaluation changes with what decides it, and with nothing else."""

import json
from types import SimpleNamespace

import pytest

from evaluation import provenance
from input_pipeline.examples import Example, MediaRef, Turn
from vsft_jax.checkpoints.manifest import MANIFEST
from vsft_jax.config import Run


def question(id="q1", words="Which way?", path="/data/a.mp4", answer="B"):
    turns = (Turn("user", (MediaRef("video", path), words)), Turn("assistant", (answer,)))
    return Example(id, "mine", turns, {"answer": answer})


def asked(*examples):
    return [(example, None) for example in examples]


@pytest.fixture
def run(shared_config, tmp_path):
    return Run(shared_config, tmp_path)


def test_settings_are_json_and_complete(run):
    found = provenance.settings(run, asked(question()))
    assert found == json.loads(json.dumps(found))
    assert set(found) == {"resolution", "template", "questions", "scorer", "decoder", "dtype"}
    pixels = {key for key in found["resolution"] if key.endswith("_pixels")}
    assert {"image_max_pixels", "video_max_pixels"} <= pixels
    assert set(found["decoder"]) == {"av", "opencv-python-headless", "pillow"}


@pytest.mark.parametrize(
    "changes, same",
    [
        ({"path": "/elsewhere/a.mp4"}, True),
        ({"words": "Which way is it?"}, False),
        ({"answer": "A"}, False),
        ({"id": "q2"}, False),
    ],
)
def test_questions_are_told_by_their_words_and_answers(run, changes, same):
    before = provenance.settings(run, asked(question()))["questions"]
    now = provenance.settings(run, asked(question(**changes)))["questions"]
    assert (before == now) == same


def test_the_order_of_questions_does_not_matter(run):
    two = question("q1"), question("q2")
    forth, back = (provenance.settings(run, asked(*order)) for order in (two, two[::-1]))
    assert forth == back
    assert forth != provenance.settings(run, asked(two[0]))


def test_limits_and_the_template_are_part_of_it(shared_config, run, tmp_path):
    before = provenance.settings(run, asked(question()))
    config = shared_config.copy_and_resolve_references()
    config.layout.video_max_pixels *= 2
    now = provenance.settings(Run(config, tmp_path), asked(question()))
    assert {key for key in before if before[key] != now[key]} == {"resolution"}

    copy = tmp_path / "tokenizer"
    copy.mkdir()
    for file in run.tokenizer_dir.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    config = shared_config.copy_and_resolve_references()
    config.tokenizer = str(copy)
    assert provenance.settings(Run(config, tmp_path), asked(question())) == before
    names = ("chat_template.jinja", "tokenizer_config.json")
    template = next(copy / name for name in names if (copy / name).is_file())
    template.write_text(template.read_text() + " ")
    now = provenance.settings(Run(config, tmp_path), asked(question()))
    assert {key for key in before if before[key] != now[key]} == {"template"}


def test_software_names_what_computed():
    found = provenance.software()
    assert {"python", "jax", "device"} <= set(found) and all(found.values())


def test_a_checkpoint_is_told_from_another_one_at_its_place(tmp_path):
    model = SimpleNamespace(step=3, source=tmp_path)
    assert provenance.checkpoint(model) == {"step": 3, "path": str(tmp_path), "fingerprint": None}
    folder = tmp_path / "checkpoints" / "3"
    folder.mkdir(parents=True)
    found = []
    for checksum in (1, 1, 2):
        (folder / MANIFEST).write_text(json.dumps({"crc32": {"params/a": [10, checksum]}}))
        found.append(provenance.checkpoint(model)["fingerprint"])
    assert found[0] == found[1] != found[2] and all(found)


def test_an_imported_model_is_told_from_another_one(tmp_path):
    model = SimpleNamespace(step=0, source=tmp_path)
    assert provenance.checkpoint(model)["fingerprint"] is None
    (tmp_path / "model.safetensors").write_bytes(b"abc")
    first = provenance.checkpoint(model)["fingerprint"]
    (tmp_path / "config.json").write_text("{}")
    assert first and provenance.checkpoint(model)["fingerprint"] != first
