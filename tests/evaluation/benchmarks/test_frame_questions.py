"""Frames are chosen by a benchmark's question, not by the words of its prompt."""

import pytest

from evaluation.benchmarks import BENCHMARKS, write_official
from evaluation.benchmarks.prompts import without_options
from input_pipeline.frame_budget import make_policy
from input_pipeline.frame_budget.instruction import instruction_demand
from tests.evaluation.benchmarks import official_files as files
from tests.evaluation.benchmarks.official_files import WRITERS
from tests.evaluation.benchmarks.reading import read, text_of
from tests.evaluation.benchmarks.test_official import examples, run_of
from tests.input_pipeline.frame_budget.budget_queries import query

VIDEOS = [name for name, each in BENCHMARKS.items() if each.modality == "video"]
POLICIES = [
    {"kind": "instruction", "candidates": [4, 8, 16, 32]},
    {"kind": "hybrid", "candidates": [4, 8, 16, 32]},
]


@pytest.mark.parametrize("name", VIDEOS)
def test_every_question_about_a_video_has_its_plain_words(name, tmp_path):
    write, _ = WRITERS[name]
    write(tmp_path)
    for question in read(name, tmp_path):
        assert question.asks, question.id
        assert len(question.asks) < len(text_of(question))
        assert not any(f"{letter}. {t}" in question.asks for letter, t in question.choices.items())
        said = question.asks.lower()
        assert not any(words in said for words in ("option's letter", "subtitles", "best option"))


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("tomato", ["Which way?", "Which way?"]),
        (
            "charades_sta",
            [f"When does it happen: person {what}?" for what in ("turn a light on", "sits down")],
        ),
    ],
)
@pytest.mark.parametrize("spec", POLICIES, ids=lambda spec: spec["kind"])
def test_a_prompt_does_not_sway_the_budget(name, plain, spec, tmp_path):
    WRITERS[name][0](tmp_path / "official" / WRITERS[name][1])
    run = run_of(tmp_path, name)
    write_official(run)
    policy = make_policy(spec)
    found = examples(run)
    assert [each.instruction for each in found] == plain
    for each, words in zip(found, plain, strict=True):
        budget, alone = (policy(query(text, seconds=30.0)) for text in (each.instruction, words))
        assert (budget.frames, budget.why) == (alone.frames, alone.why)


def test_tomatos_prompt_would_have_asked_for_more(tmp_path):
    files.tomato(tmp_path / "official/TOMATO")
    run = run_of(tmp_path, "tomato")
    write_official(run)
    for each in examples(run):
        assert "chronological order" in each.words and "Left" in each.words
        assert instruction_demand(each.words).demand == "high"
        assert instruction_demand(each.instruction).demand == "low-medium"


@pytest.mark.parametrize(
    ("question", "left"),
    [
        ("What year is it?\n(A) 1636\n(B) 1366", "What year is it?"),
        ("What happens?\nA. he sits\nB. he runs\nWhy?", "What happens?\nWhy?"),
        ("A. Smith is who?", "A. Smith is who?"),
        ("Which fits?\nCaption A: he sits\nCaption B: he runs",
         "Which fits?\nCaption A: he sits\nCaption B: he runs"),
    ],
)  # fmt: skip
def test_options_are_cut_off(question, left):
    assert without_options(question) == left
