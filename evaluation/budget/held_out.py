"""How well budgets go with what was needed, each question told by a predictor that saw neither its
clip, or in a second look nor its kind."""

import dataclasses
import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from evaluation.budget.fitting import fit
from evaluation.budget.labels import RULE, Labels
from evaluation.diagnostics.sufficient import Fit, fit_of
from evaluation.results import clusters
from evaluation.statistics import Interval, Sample, bootstrap_mean
from input_pipeline.frame_budget.learned import budget_at

FOLDS = 5
THRESHOLDS = (0.5, 0.65, 0.8, 0.9, 0.95)

Suffices = Sequence[Mapping[int, float]]  # of each question: count → probability
Given = Mapping[str, int]  # question → frames


@dataclasses.dataclass(frozen=True)
class Row:
    """A policy's budgets against what was needed.

    fit: of counts; its frames are those shown. over_dealt: what is scored with them minus what the
    same budgets score dealt to any questions, on average over all ways to deal, with the interval
    over clips; over_dealt_in_kind: dealt to questions of their kind alone. None where every
    question has the same.
    """

    name: str
    fit: Fit
    over_dealt: Interval | None
    over_dealt_in_kind: Interval | None


@dataclasses.dataclass(frozen=True)
class Against:
    """Score of a predictor minus another policy's, on the same questions, at a threshold that was
    chosen to come nearest to the other's mean frames and by nothing else."""

    split: str
    other: str
    threshold: float
    frames: float
    other_frames: float
    difference: Interval


@dataclasses.dataclass(frozen=True)
class Told:
    """What predictors say of the questions that were held out from them.

    cross_entropy: mean −log p(needed), nats; of_shares: that of the shares of the labels alone,
    held out alike. The former is less where something was learned.
    """

    suffices: Suffices
    cross_entropy: float
    of_shares: float


@dataclasses.dataclass(frozen=True)
class Judged:
    """Told by split, rows and comparisons, in the order in which they are shown."""

    told: Mapping[str, Told]
    rows: Sequence[Row]
    against: Sequence[Against]

    def to_json(self) -> dict[str, Any]:
        """For the predictor's file; confusion as [needed, given, questions]."""
        return {
            "cross_entropy": {
                split: {"predicted": told.cross_entropy, "shares": told.of_shares}
                for split, told in self.told.items()
            },
            "rows": [_row_json(row) for row in self.rows],
            "against": [_plain(dataclasses.asdict(each)) for each in self.against],
        }


def judge(labels: Labels) -> Judged:
    """Fits predictors with parts held out, and holds their budgets against other policies'.

    Kinds are only held out where there are two.
    """
    groups = {
        "clips": folds_of([question.cluster for question in labels.questions]),
        "kinds": folds_of([question.kind for question in labels.questions]),
    }
    told = {split: tell(labels, parts) for split, parts in groups.items() if len(set(parts)) > 1}
    others: dict[str, Given] = {
        f"fixed-{c}": dict.fromkeys(_names(labels), c) for c in labels.counts
    }
    others |= labels.given
    if not any(label == RULE or label.startswith(f"{RULE}-") for label in labels.given):
        others[RULE] = {question.name: question.rule for question in labels.questions}
    rows = [row_of(labels, name, given) for name, given in others.items()]
    for split, each in told.items():
        for threshold in THRESHOLDS:
            given = _given(labels, each.suffices, threshold)
            rows.append(row_of(labels, f"learned {threshold:g}, new {split}", given))
    against = [
        _against(labels, split, each.suffices, name, given)
        for split, each in told.items()
        for name, given in others.items()
        if name not in (f"fixed-{labels.counts[0]}", f"fixed-{labels.counts[-1]}")
    ]
    return Judged(told, rows, against)


def folds_of(names: Sequence[str]) -> list[int]:
    """A part, 0 … `FOLDS` - 1, for each name, equal names in one and parts of equal size as far as
    that goes; by a hash of the names, so that nobody chose it."""
    order = sorted(set(names), key=lambda name: hashlib.sha256(name.encode()).digest())
    part = {name: place % FOLDS for place, name in enumerate(order)}
    return [part[name] for name in names]


def tell(labels: Labels, parts: Sequence[int]) -> Told:
    """What predictors say, each question told by the one that was fitted to the other parts."""
    features = [question.features for question in labels.questions]
    places, where = np.array(labels.places), np.array(parts)
    suffices: list[Mapping[int, float]] = [{}] * len(features)
    nats, of_shares = np.zeros(len(features)), np.zeros(len(features))
    for part in sorted(set(parts)):
        predictor = fit(features, labels.places, labels.counts, where != part)
        seen = np.bincount(places[where != part], minlength=len(labels.counts)) + 1.0
        for i in np.flatnonzero(where == part):
            suffices[i] = predictor.suffices(features[i])
            nats[i] = -np.log(predictor.needs(features[i])[places[i]])
            of_shares[i] = -np.log(seen[places[i]] / seen.sum())
    return Told(suffices, float(nats.mean()), float(of_shares.mean()))


def row_of(labels: Labels, name: str, given: Given) -> Row:
    """given: frames shown, or a count that may be more than the clip has."""
    counts = _as_counts(labels, given)
    fit = fit_of(labels.by_count, counts)
    assert fit is not None, "every question has a budget"
    frames = _mean_frames(labels, given)
    most = _mean_frames(labels, dict.fromkeys(given, labels.counts[-1]))
    fit = dataclasses.replace(fit, frames=frames, saved=most - frames)
    if len(set(counts.values())) == 1:
        return Row(name, fit, None, None)
    kinds = [question.kind for question in labels.questions]
    over = (_over_dealt(labels, counts, by) for by in ([""] * len(kinds), kinds))
    return Row(name, fit, *over)


def _over_dealt(labels: Labels, counts: Given, groups: Sequence[str]) -> Interval:
    """groups: of each question, within which budgets are dealt."""
    scores = _scores(labels)
    shares: dict[str, Counter[int]] = defaultdict(Counter)
    for question, group in zip(labels.questions, groups, strict=True):
        shares[group][counts[question.name]] += 1
    gains = []
    for i, (question, group) in enumerate(zip(labels.questions, groups, strict=True)):
        dealt = sum(n * scores[count][i] for count, n in shares[group].items())
        gains.append(scores[counts[question.name]][i] - dealt / shares[group].total())
    return _interval(labels, np.array(gains))


def _against(labels: Labels, split: str, suffices: Suffices, name: str, other: Given) -> Against:
    frames = _mean_frames(labels, other)
    thresholds = sorted({p for each in suffices for p in each.values()})
    threshold = _nearest(
        thresholds, frames, lambda t: _mean_frames(labels, _given(labels, suffices, t))
    )
    given = _given(labels, suffices, threshold)
    scores = _scores(labels)
    mine, theirs = _as_counts(labels, given), _as_counts(labels, other)
    differences = [
        scores[mine[question]][i] - scores[theirs[question]][i]
        for i, question in enumerate(_names(labels))
    ]
    interval = _interval(labels, np.array(differences))
    return Against(split, name, threshold, _mean_frames(labels, given), frames, interval)


def _nearest(rising: Sequence[float], wanted: float, of: Callable[[float], float]) -> float:
    """The one of `rising` whose `of`, which never falls, is nearest to what is wanted."""
    low, high = 0, len(rising) - 1
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if of(rising[middle]) < wanted else (low, middle)
    return min(rising[max(low - 1, 0) : low + 1], key=lambda each: abs(of(each) - wanted))


def _given(labels: Labels, suffices: Suffices, threshold: float) -> dict[str, int]:
    names = _names(labels)
    return {q: budget_at(p, threshold) for q, p in zip(names, suffices, strict=True)}


def _as_counts(labels: Labels, given: Given) -> dict[str, int]:
    """Budgets as counts that were asked: the largest that shows no more."""
    return {
        question: max(
            (c for c in labels.counts if (labels.by_count[c][question].frames or c) <= frames),
            default=labels.counts[0],
        )
        for question, frames in given.items()
    }


def _mean_frames(labels: Labels, given: Given) -> float:
    """What clips show of their budgets, which may be more than they have."""
    most = labels.by_count[labels.counts[-1]]
    return float(np.mean([min(n, most[question].frames or n) for question, n in given.items()]))


def _scores(labels: Labels) -> dict[int, list[float]]:
    names = _names(labels)
    return {c: [answers[q].score for q in names] for c, answers in labels.by_count.items()}


def _interval(labels: Labels, values: np.ndarray) -> Interval:
    answers = labels.by_count[labels.counts[-1]]
    return bootstrap_mean(Sample(values, clusters(answers[q] for q in _names(labels))))


def _names(labels: Labels) -> list[str]:
    return [question.name for question in labels.questions]


def _row_json(row: Row) -> dict[str, Any]:
    fit = dataclasses.asdict(row.fit)
    confusion = [[*pair, n] for pair, n in sorted(row.fit.confusion.items())]
    return _plain(dataclasses.asdict(row) | {"fit": fit | {"confusion": confusion}})


def _plain(value: Any) -> Any:
    """As JSON has it: None for nan."""
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and np.isnan(value) else value
