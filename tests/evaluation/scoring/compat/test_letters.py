"""The parser that most of lmms-eval's benchmarks of options share, rule by rule."""

import pytest

from evaluation.scoring.compat import four_letters, realworldqa, videommmu
from evaluation.scoring.compat.letters import letter
from tests.evaluation.scoring.compat.generated import WORDS, answers

RULES = [
    ("beginning", "{x}", "x"),
    ("beginning", " {x}.\n", "x"),
    ("beginning", "{x}. {w}", "x"),
    ("beginning", "{x}) {w}", "x"),
    ("beginning", "{x}: {w}", "x"),
    ("beginning", "{x}, {w}", "x"),
    ("beginning", "'{x}' {w}", "x"),
    ("beginning before end", "{x} {w} {y}", "x"),
    ("beginning before cue", "{x}? no, the answer is {y} {w}", "x"),
    ("beginning before brackets", "{x} {w} ({y}) {w}", "x"),
    ("end", "{w} {x}", "x"),
    ("end", "{w}: {x}.", "x"),
    ("end before cue", "the answer is {x}, {w}: not {y}", "y"),
    ("end before brackets", "({x}) {w}: {y}", "y"),
    ("cue", "the answer is {x}, {w}", "x"),
    ("cue", "{w}, the correct option is {x}, {w}", "x"),
    ("cue", "my choice is {x}, {w}", "x"),
    ("cue", "i pick {x}, {w}", "x"),
    ("cue", "答案是{x}，{w}", "x"),
    ("cue, the last behind it", "the answer is {x}, {y} {w}", "y"),
    ("cue, the last behind it", "the answer is {x}. {w}. {y} {w}", "y"),
    ("cue before brackets", "({y}) {w}: the answer is {x}, {w}", "x"),
    ("cue, far behind it", "the answer is {w}, or ({x}) {w}", "x"),
    ("brackets", "{w} ({x}) {w}", "x"),
    ("brackets, the last", "{w} ({x}) {w} ({y}) {w}", "y"),
    ("brackets before dot", "{w} ({x}) {w} {y}. {w}", "x"),
    ("dot", "{w} {x}. {w}", "x"),
    ("dot before colon", "{w} {x}. {w} {y}: {w}", "x"),
    ("colon", "{w} {x}: {w}", "x"),
    ("colon before bracket", "{w} {x}: {w} {y}) {w}", "x"),
    ("bracket", "{w} {x}) {w}", "x"),
    ("bracket before space", "{w} {x}) {w} {y} {w}", "x"),
    ("space", "{w} {x} {w}", "x"),
    ("space, the last", "{w} {x} {w} {y} {w}", "y"),
    ("space, also at the end of a word", "{w} vi{x} {w}", "x"),
    ("anywhere", "{x}ecause {w}", "x"),
    ("anywhere, the last", "{x}ecause {w} {y}ut {w}", "y"),
    ("nothing", "{w}", None),
    ("nothing", "...", None),
    ("nothing", "", None),
]


def test_every_rule_on_generated_answers():
    count = 0
    for rule, said, read in answers(RULES):
        assert letter(said, "ABCD") == (read or ""), (rule, said)
        for right in "ABCD":
            meta = {"answer": right, "choices": dict.fromkeys("ABCD", "x")}
            for scorer in (four_letters, realworldqa, videommmu):
                assert scorer(f"<think>{right}</think>\n{said}", meta) == (read == right), said
        count += 1
    assert count > 4000


@pytest.mark.parametrize("words", WORDS)
def test_a_small_letter_is_none(words):
    assert letter(f"b) {words}", "ABCD") == ""


@pytest.mark.parametrize(
    ("said", "answer", "score"),
    [("12.", "12", 1), ("Left", "left", 1), ("left turn", "left", 0), ("twelve", "12", 0)],
)
def test_open_answers_of_realworldqa(said, answer, score):
    assert realworldqa(said, {"answer": answer}) == score
