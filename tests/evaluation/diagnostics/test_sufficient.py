"""Smallest sufficient budgets, on answers written out by hand."""

import pytest

from evaluation.diagnostics.sufficient import fit_of, sufficient_budgets
from evaluation.results import Prediction


def answer(question, said, right="red"):
    return Prediction(
        *(question, "clips", "task", "short"),
        *(8, "", said, right),
        *(float(said == right), True, 4, 0.25),
    )


# question → what is said at 2, 4, 8 and 16 frames; the right answer is red
SAID = {
    "at once": ("red", "red", "red", "red"),
    "from 8": ("blue", "green", "red", "red"),
    "only at 16": ("blue", "blue", "blue", "red"),
    "back and forth": ("red", "blue", "red", "red"),
    "never right": ("blue", "blue", "blue", "blue"),
    "lost again": ("red", "red", "red", "blue"),
}
NEEDED = dict(zip(SAID, (2, 8, 16, 8, 2, 16), strict=True))
BY_COUNT = {
    count: {question: answer(question, said[place]) for question, said in SAID.items()}
    for place, count in enumerate((2, 4, 8, 16))
}


def test_a_budget_suffices_when_the_answer_does_not_change_any_more():
    assert sufficient_budgets(BY_COUNT) == NEEDED


def test_a_question_that_lacks_a_count_is_left_out():
    some = {**BY_COUNT, 4: {"at once": BY_COUNT[4]["at once"]}}
    assert sufficient_budgets(some) == {"at once": 2}


def test_the_oracle_has_no_regret_and_the_smallest_budgets():
    fit = fit_of(BY_COUNT, NEEDED)
    assert fit.regret.mean == 0 and fit.shares == (0, 1, 0)
    assert fit.frames == fit.needed == pytest.approx(52 / 6) and fit.saved == 16 - 52 / 6


def test_two_frames_for_everything():
    fit = fit_of(BY_COUNT, dict.fromkeys(SAID, 2))
    # Lost at 2 frames: "from 8" and "only at 16"; won: "lost again".
    assert fit.regret.mean == pytest.approx((1 + 1 - 1) / 6)
    assert fit.regret.low < fit.regret.mean < fit.regret.high
    assert fit.shares == (pytest.approx(4 / 6), pytest.approx(2 / 6), pytest.approx(0))
    assert fit.confusion == {(2, 2): 2, (8, 2): 2, (16, 2): 2} and fit.saved == 14


def test_a_budget_between_two_counts_goes_by_the_smaller():
    assert fit_of(BY_COUNT, dict.fromkeys(SAID, 13)).confusion == {(2, 8): 2, (8, 8): 2, (16, 8): 2}
    assert fit_of(BY_COUNT, {"from 8": 1}).confusion == {(8, 2): 1}
    assert fit_of(BY_COUNT, {"another": 4}) is None
