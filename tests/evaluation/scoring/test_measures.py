"""Stretches of time and numbers, as a careful human would read them."""

import pytest

from evaluation.scoring import parse_interval, score


@pytest.mark.parametrize(
    ("said", "read"),
    [
        ("24.3 - 30.4 seconds", (24.3, 30.4)),
        ("The event 'person turn a light on' happens in the 24.3 - 30.4 seonds.", (24.3, 30.4)),
        ("From 24.3s to 30.4s.", (24.3, 30.4)),
        ("24.3 seconds to 30 seconds", (24.3, 30.0)),
        ("00:24 – 00:30.5", (24.0, 30.5)),
        ("1:02:03 to 1:02:10", (3723.0, 3730.0)),
        ("[3, 10]", (3.0, 10.0)),
        ("It starts at 3.0 and ends at 10.", (3.0, 10.0)),
        ("Starts at 3 seconds, ends at 10 seconds", (3.0, 10.0)),
        ("0 to 5. Yes, 0 to 5.", (0.0, 5.0)),
        # Nothing, one time, several stretches, none that has a length.
        ("", None),
        ("at 12 seconds", None),
        ("3 - 10 or 12 - 14", None),
        ("at 3, 10 and 12", None),
        ("10 - 3", None),
        ("5 - 5", None),
        ("from the beginning to the end", None),
        ("The 2 men in frame3 leave", None),
    ],
)
def test_one_stretch_of_time_is_read(said, read):
    assert parse_interval(said) == read


def test_a_stretch_scores_what_it_shares_over_what_both_cover():
    meta = {"span": [10.0, 20.0]}
    found = {said: score("interval", said, meta).score for said in ("10 - 20", "15 - 25", "0 - 5")}
    assert found == {"10 - 20": 1.0, "15 - 25": pytest.approx(1 / 3), "0 - 5": 0.0}
    assert not score("interval", "soon", meta).parsed
    for wrong in (None, [1.0], [3.0, 3.0], "1 - 2"):
        with pytest.raises(ValueError, match="meta.span"):
            score("interval", "1 - 2", {"span": wrong})


@pytest.mark.parametrize(
    ("said", "right", "parsed"),
    [
        ("12", 1, True),
        ("twelve", 1, True),
        ("There are 12 of them.", 1, True),
        ("12.0", 1, True),
        ("12%", 1, True),
        ("1,200", 0, True),
        ("13", 0, True),
        ("-12", 0, True),
        ("12 or 13", 0, False),
        ("many", 0, False),
        ("", 0, False),
        ("A12", 0, False),
    ],
)
def test_a_number_is_read_where_there_is_one(said, right, parsed):
    found = score("number", said, {"answer": "12"})
    assert (found.score, found.parsed) == (right, parsed)
    assert score("number", said, {"answer": "12", "tolerance": 1}).parsed == parsed


def test_a_number_may_be_as_far_off_as_its_question_says():
    assert score("number", "13", {"answer": "12", "tolerance": 1}).score == 1
    with pytest.raises(ValueError, match="'a dozen' is not a number"):
        score("number", "12", {"answer": "a dozen"})
