"""Budgets against what was needed, on questions whose needs are known."""

import dataclasses
import json

import numpy as np
import pytest

from evaluation.budget.held_out import (
    FOLDS,
    THRESHOLDS,
    _against,
    _nearest,
    folds_of,
    judge,
    row_of,
)
from evaluation.budget.terminal import print_judged
from tests.evaluation.budget.planted import COUNTS, labels_of, questions


@pytest.fixture(scope="module")
def asked():
    return questions(240, noise=0.1)


@pytest.fixture(scope="module")
def labels(asked):
    return labels_of(asked, {"hybrid": {q.name: (2, 16)[i % 2] for i, q in enumerate(asked)}})


@pytest.fixture(scope="module")
def judged(labels):
    return judge(labels)


def test_parts_keep_a_name_together_and_are_of_one_size():
    names = [f"clip{i // 3}" for i in range(60)]
    parts = folds_of(names)
    assert len({(n, p) for n, p in zip(names, parts, strict=True)}) == 20
    assert np.bincount(parts).tolist() == [12] * FOLDS
    assert folds_of(names[::-1]) == parts[::-1]  # by the names alone


def test_the_oracle_is_best_and_knows_more_than_any_deal(labels):
    row = row_of(labels, "oracle", {q.name: q.needed for q in labels.questions})
    assert row.fit.regret.mean == 0 and row.fit.shares[1] == 1
    assert row.fit.frames == np.mean([q.needed for q in labels.questions])
    assert row.fit.saved == 16 - row.fit.frames
    # By hand: the same budgets dealt to any questions, every pair of a question and a budget.
    needs = [q.needed for q in labels.questions]
    dealt = np.mean([[given >= need for given in needs] for need in needs])
    assert row.over_dealt.mean == pytest.approx(1 - dealt) and row.over_dealt.low > 0
    assert 0 < row.over_dealt_in_kind.mean < row.over_dealt.mean


def test_budgets_by_kind_alone_are_worth_nothing_within_kinds(labels):
    kinds = sorted({q.kind for q in labels.questions})
    row = row_of(labels, "kind", {q.name: COUNTS[kinds.index(q.kind)] for q in labels.questions})
    assert row.over_dealt_in_kind.mean == pytest.approx(0)
    assert row_of(labels, "all", dict.fromkeys(_names(labels), 8)).over_dealt is None


def _names(labels):
    return [q.name for q in labels.questions]


def test_predictors_know_clips_they_did_not_see_and_say_so(judged, labels):
    told = judged.told["clips"]
    assert told.cross_entropy < told.of_shares - 0.3
    rows = {row.name: row for row in judged.rows}
    learned = [rows[f"learned {t:g}, new clips"] for t in THRESHOLDS]
    frames, regrets = zip(*((r.fit.frames, r.fit.regret.mean) for r in learned), strict=True)
    assert list(frames) == sorted(frames) and list(regrets) == sorted(regrets, reverse=True)
    assert all(row.over_dealt.low > 0 for row in learned[1:])
    assert rows["fixed-16"].fit.regret.mean == 0 and rows["fixed-2"].fit.frames == 2


def test_a_kind_that_was_not_seen_is_told_worse(judged):
    clips, kinds = judged.told["clips"], judged.told["kinds"]
    assert kinds.cross_entropy > clips.cross_entropy + 0.2
    # Kinds differ in what they need, so the shares of the others mislead too.
    assert kinds.of_shares > clips.of_shares


def test_a_question_is_told_by_a_predictor_without_its_clip(labels, judged):
    """Its own label may say anything."""
    clip = labels.questions[0].cluster
    lied = [
        dataclasses.replace(q, needed=16 if q.needed == 2 else 2) if q.cluster == clip else q
        for q in labels.questions
    ]
    again = judge(labels_of(lied)).told["clips"].suffices
    for one, other in list(zip(judged.told["clips"].suffices, again, strict=True))[:2]:
        assert one == pytest.approx(other, abs=1e-9)


def test_against_others_at_their_frames(judged, labels):
    names = {(each.split, each.other) for each in judged.against}
    assert names == {(s, o) for s in ("clips", "kinds") for o in ("fixed-4", "fixed-8", "hybrid")}
    for each in judged.against:
        assert each.frames == pytest.approx(each.other_frames, abs=1.0)
    hybrid = next(e for e in judged.against if (e.split, e.other) == ("clips", "hybrid"))
    assert hybrid.difference.low > 0  # over a coin
    suffices = [{c: float(c >= q.needed) for c in COUNTS} for q in labels.questions]
    oracle = _against(labels, "clips", suffices, "eight", dict.fromkeys(_names(labels), 8))
    missed = np.mean([q.needed > 8 for q in labels.questions])
    assert oracle.difference.mean == pytest.approx(missed)


def test_the_nearest_of_what_never_falls():
    rising = [0.1, 0.2, 0.5, 0.9]
    frames = dict(zip(rising, (2, 3, 3, 9), strict=True))
    assert [_nearest(rising, wanted, frames.get) for wanted in (0, 2.4, 5, 7, 99)] == [
        *(0.1, 0.1, 0.5, 0.9, 0.9)
    ]


def test_the_rule_is_shown_where_it_was_not_evaluated(asked):
    one_kind = [q for q in asked if q.kind == asked[0].kind]
    judged = judge(labels_of(one_kind))
    assert list(judged.told) == ["clips"]  # there is no other kind to learn from
    rule = next(row for row in judged.rows if row.name == "hybrid")
    assert rule.fit.frames == 4 and rule.over_dealt is None


def test_a_clip_shorter_than_its_budget_shows_what_it_has(asked):
    labels = labels_of(asked)
    short = {
        name: dataclasses.replace(answer, frames=13) for name, answer in labels.by_count[16].items()
    }
    labels = dataclasses.replace(labels, by_count={**labels.by_count, 16: short})
    for budget in (13, 16):
        fit = row_of(labels, "all", dict.fromkeys(short, budget)).fit
        assert fit.frames == 13 and fit.regret.mean == 0 and fit.saved == 0


def test_it_is_json_and_a_table(judged, labels, capsys):
    found = json.loads(json.dumps(judged.to_json(), allow_nan=False))
    assert [row["name"] for row in found["rows"]] == [row.name for row in judged.rows]
    print_judged(labels, judged)
    said = capsys.readouterr().out
    assert max(map(len, said.splitlines())) <= 80
    for name in ("fixed-2", "learned 0.8, new kinds", "new clips, hybrid", "within noise"):
        assert name in said
