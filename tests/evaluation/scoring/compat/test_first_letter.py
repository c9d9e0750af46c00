"""The first capital letter, rule by rule."""

import pytest

from evaluation.scoring.compat import longvideobench, videomme_v2
from tests.evaluation.scoring.compat.generated import answers

RULES = [
    ("the first", "{x}", "x"),
    ("the first", "({x}) {w}", "x"),
    ("the first", "{w} {x} {w} {y}", "x"),
    ("the first", "{x} or {y}", "x"),
    ("in whatever word", "{w} {x}ut {w} ({y})", "x"),
    ("behind a cue", "The best answer is {x} {w}", "x"),
    ("behind a cue", "The answer: {x} {w}", "x"),
    ("behind a cue", "The correct option is {x}", "x"),
    ("behind a cue", "Best option: {x}", "x"),
    ("nothing", "{w}", None),
    ("nothing", "", None),
]
V2 = [*RULES, ("behind a cue", "Answer: {x} {w}", "x"), ("a cue", "Final Answer: {x}", "x")]
# "Answer:" is no cue there: its A is read.
LONG = [*RULES, ("no cue", "Answer: {x} {w}", "A")]


@pytest.mark.parametrize("options", [4, 5])
def test_longvideobench_guesses_where_it_reads_nothing(options):
    choices = dict.fromkeys("ABCDE"[:options], "x")
    cases = list(answers(LONG, "ABCDE"))
    for rule, said, read in cases:
        for right in choices:
            expected = float(read == right) if read else 1 / options
            assert longvideobench(said, {"answer": right, "choices": choices}) == expected, (
                rule,
                said,
            )
    assert len(cases) > 1000


def test_videomme_v2():
    cases = list(answers(V2, "ABCDEFGH"))
    for rule, said, read in cases:
        for right in "AH":
            assert videomme_v2(said, {"answer": right}) == (read == right), (rule, said)
    assert len(cases) > 3000
