"""Claims are answered from specs and intervals alone."""

import math

import pytest

from evaluation.report.figures.tradeoff import Point, pareto_front
from evaluation.report.read_study import read_study
from evaluation.report.sections import make_document
from evaluation.report.study.claims import Claim, claim_table, claims, ranked_remedies
from evaluation.statistics import Interval
from tests.evaluation.report.synthetic_study import write_study
from tests.evaluation.report.test_report import models, write_models


@pytest.mark.parametrize(
    ("sign", "mean", "low", "high", "answer"),
    [
        (1, 0.05, 0.01, 0.09, "yes"),
        (-1, -0.05, -0.09, -0.01, "yes"),
        (1, -0.05, -0.09, -0.01, "no"),
        (1, 0.00, -0.01, 0.01, "no"),  # an effect of two points is excluded
        (-1, 0.00, -0.01, 0.01, "no"),
        (1, 0.01, -0.02, 0.04, "cannot tell"),
        (-1, 0.01, -0.04, 0.02, "cannot tell"),
        (1, 0.05, math.nan, math.nan, "cannot tell"),
    ],
)
def test_an_answer_is_yes_no_or_cannot_tell(sign, mean, low, high, answer):
    assert Claim("", sign, Interval(mean, low, high, 100)).answer == answer


def test_what_is_not_finished_is_not_answered():
    assert Claim("", 1, None).answer == "not finished"


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    remedies = ("replay-10", "half-way", "l2")
    policies = ("fixed-2", "fixed-16", "hybrid", "random-matched", "type-matched")
    folder = tmp_path_factory.mktemp("claims")
    return read_study(
        write_study(folder, seeds=2, questions=60, policies=policies, remedies=remedies)
    )


def test_every_claim_of_the_docs_is_in_the_report(study):
    texts = [claim.text for claim in claims(study)]
    for start, count in {
        "Video-SFT raises video scores: ": 5,
        "Video-SFT lowers image scores: ": 5,
        "The image cost grows with frames: fixed-16 − fixed-2": 1,
        "It matters which example gets many frames: hybrid − random-matched": 1,
        "Choosing examples spares images: hybrid − random-matched": 1,
        "It matters which clip, beyond the kind of question: hybrid − type-matched": 1,
    }.items():
        assert sum(text.startswith(start) for text in texts) == count, start
    assert {text.split(" keeps ")[0] for text in texts if " keeps image skill" in text} == {
        "replay-10",
        "half-way",
        "l2",
    }
    assert len(claim_table(study).rows) == len(texts) == 17
    section = next(s for s in make_document(study).sections if s.title == "What was claimed")
    assert [table.title for table in section.tables][1] == "Remedies, best on images first"


def test_remedies_are_ranked_by_what_they_keep(study):
    table = ranked_remedies(study)
    kept = [float(row[1].split()[0].replace("−", "-")) for row in table.rows]
    assert kept == sorted(kept, reverse=True)
    assert {row[0] for row in table.rows} == {
        f"hybrid + {n}" for n in ("replay-10", "half-way", "l2")
    }


def test_runs_that_no_study_made_claim_nothing(tmp_path):
    assert claim_table(write_models(tmp_path, models(60, 70))) is None


def test_the_pareto_front_leaves_out_what_another_model_beats_on_both():
    def point(image, video):
        return Point(None, *(Interval(mean, math.nan, math.nan, 1) for mean in (image, video)))

    shown = [point(-0.1, 0.2), point(-0.2, 0.3), point(-0.2, 0.1), point(-0.3, 0.3)]
    assert pareto_front(shown) == [(0, 0), (-0.1, 0.2), (-0.2, 0.3)]
    assert pareto_front([point(0.01, 0.02)]) == [(0.01, 0.02)], "the base is beaten too"


def test_each_row_says_its_answer_first(study):
    table = claim_table(study)
    assert list(table.headers) == ["answer", "claim", "points", "beside it"]
    assert [row[:2] for row in table.rows] == [[each.answer, each.text] for each in claims(study)]
