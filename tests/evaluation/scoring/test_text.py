"""Answers that may be said in several ways, and answers that stand in a longer text."""

import itertools
import statistics

import pytest

from evaluation.scoring import normalise, score


def test_any_of_several_answers_is_right():
    meta = {"answer": "12.5", "answers": ["12.5", "12.5 m", "twelve and a half"]}
    right = ["12.50", "12.5 m", "Twelve and half."]
    assert [score("short", said, meta).score for said in right] == [1.0, 1.0, 1.0]
    assert [score("short", said, meta).score for said in ("12", "12.5 kg")] == [0.0, 0.0]
    assert not score("short", "", meta).parsed


def _leave_one_out(given: str, said: list[str]) -> float:
    """The definition, written out."""
    others = [said[:i] + said[i + 1 :] for i in range(len(said))]
    return statistics.mean(min(1, sum(o == given for o in rest) / 3) for rest in others)


@pytest.mark.parametrize("same", range(11))
def test_agreement_with_people_is_the_mean_of_leaving_one_out(same):
    said = ["Nokia"] * same + [f"other {i}" for i in range(10 - same)]
    found = score("consensus", "nokia.", {"answers": said}).score
    assert found == pytest.approx(_leave_one_out("nokia", [normalise(s) for s in said]))


@pytest.mark.parametrize(
    ("said", "answers", "right"),
    [
        ("The sign says CENTRE.", ["centre"], 1),
        ("centres", ["centre"], 0),
        ("120", ["12"], 0),
        ("12.", ["12"], 1),
        ("$12", ["12"], 1),
        ("line\none", ["line one"], 1),
        ("ＡＢＣ", ["abc"], 1),
        ("出口在左边", ["出口"], 1),
        ("one of two", ["three", "two"], 1),
    ],
)
def test_an_answer_stands_in_a_text_as_a_word(said, answers, right):
    assert score("contains", said, {"answers": answers}).score == right


def test_spaces_and_case_of_formulas():
    meta = {"answers": ["\\frac { a } { B }"], "ignore_spaces": True}
    assert score("contains", "It is \\frac{a}{B}.", meta).score == 1
    assert score("contains", "\\frac{A}{b}", meta).score == 0


@pytest.mark.parametrize("format", ["consensus", "contains"])
@pytest.mark.parametrize("answers", [None, [], "yes", [""], [3]])
def test_answers_that_cannot_be_scored_against_are_named(format, answers):
    with pytest.raises(ValueError, match="meta.answers"):
        score(format, "yes", {"answers": answers})


def test_saying_nothing_is_never_right():
    metas = [{"answers": ["a"]}, {"answers": ["the"]}]
    for format, meta, said in itertools.product(("consensus", "contains"), metas, ("", " ", "\n")):
        found = score(format, said, meta)
        assert (found.score, found.parsed) == (0.0, False)
