"""The parser of MMMU and its relatives, rule by rule."""

import pytest

from evaluation.scoring.compat import egoschema, mmmu, nextqa, tomato
from tests.evaluation.scoring.compat.generated import answers

TEXTS = {"A": "crimson", "B": "blue", "C": "dark green", "D": "violet", "E": "yellow"}
CHANCE = "chance"
LAST = [
    ("brackets", "({x}) {w}", "x"),
    ("brackets, the last", "({x}) {w} ({y}) {w}", "y"),
    ("brackets before spaces", "{y} {w} ({x})", "x"),
    ("space", "{x}", "x"),
    ("space", "{w} {x} {w}", "x"),
    ("space, the last", "{x} {w} {y} {w}", "y"),
    ("space, at the end of a word", "vitamin_{x} {w}", "x"),
    ("space before dot", "{x}. {w} {y} {w}", "y"),
    ("dot", "{x}. {w}", "x"),
    ("text of more than five words", "i think that it is dark green {w}", "C"),
    ("text, the last", "it is not crimson, not at all, but blue {w}", "B"),
    ("chance", "it is crimson", CHANCE),
    ("chance", "[{x}]", CHANCE),
    ("chance", "", CHANCE),
]
FIRST = [
    ("brackets", "({x}) {w}", "x"),
    ("the first of several", "({x}) {w} ({y}) {w}", "x"),
    ("of any form", "{x}. {w} ({y}) {w}", "x"),
    ("of any form", "{x} {w}, {y}. {w}", "x"),
    ("its last place counts", "{x} {w} {y}. {w} {x} {w}", "y"),
    ("chance", "it moves like dark green paint on a wall", CHANCE),
    ("chance", "", CHANCE),
]
ANYWHERE = [
    ("anywhere", "{x}", "x"),
    ("anywhere", "{w} {x}ut {w}", "x"),
    ("brackets, the last", "({x}) {w} ({y})", "y"),
    ("brackets before others", "{y} {w} ({x})", "x"),
    ("text", "it seems to me to be dark green", "C"),
    ("else A", "{w}", "A"),
    ("else A", "", "A"),
]


@pytest.mark.parametrize(
    ("scorer", "table"),
    [(mmmu, LAST), (nextqa, LAST), (egoschema, FIRST), (tomato, ANYWHERE)],
)
def test_every_rule_on_generated_answers(scorer, table):
    cases = list(answers(table, "ABCDE"))
    for rule, said, read in cases:
        for right in TEXTS:
            expected = 1 / 5 if read == CHANCE else float(read == right)
            assert scorer(said, {"answer": right, "choices": TEXTS}) == expected, (rule, said)
    assert len(cases) > 700


def test_without_brackets_tomato_takes_the_first_in_the_alphabet():
    meta = {"answer": "B", "choices": TEXTS}
    assert tomato("D, not B", meta) == 1 and tomato("The answer is B. Also see C", meta) == 0


def test_an_option_with_its_letter_is_egoschemas_text():
    said = "what he does here is a. crimson and nothing more"
    assert egoschema(said, {"answer": "A", "choices": TEXTS}) == 1


def test_mmmus_open_answers_are_left_out():
    assert mmmu("12", {"answer": "12", "choices": {}}) is None
