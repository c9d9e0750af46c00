"""A predictor's fit: loss and gradient against plain float64 loops, planted rules, what is held
out."""

import dataclasses

import jax
import numpy as np
import pytest

from evaluation.budget import fitting
from evaluation.budget.fitting import batch_of, fit, initial, loss
from tests.evaluation.budget.planted import COUNTS, questions


def by_loops(weights, features, numbers, labels, used):
    """The loss, question by question and number by number in float64."""
    w = {name: np.asarray(array, np.float64) for name, array in weights.items()}
    total = 0.0
    for each, row, label, counts in zip(features, numbers, labels, used, strict=True):
        if not counts:
            continue
        words = np.zeros(w["table"].shape[1])
        for gram in each.grams:
            words += w["table"][gram] / len(each.grams)
        inputs = np.concatenate([words, row])
        hidden = np.tanh(inputs @ w["hidden"] + w["hidden_bias"])
        logits = hidden @ w["out"] + w["out_bias"]
        total -= logits[label] - np.log(np.exp(logits).sum())
    squares = sum((w[name] ** 2).sum() for name in ("table", "hidden", "out"))
    return (total + fitting.SETTINGS["penalty"] * squares) / sum(used)


@pytest.fixture
def case():
    asked = questions(9)
    features = [each.features for each in asked]
    features[2] = features[2]._replace(grams=())  # says nothing
    features[3] = features[3]._replace(grams=features[3].grams[:1] * 3)  # and one thing again
    labels = [COUNTS.index(each.needed) for each in asked]
    used = np.array([True] * 7 + [False] * 2)
    rng = np.random.default_rng(3)
    weights = {
        name: rng.normal(size=array.shape).astype(np.float32) * 0.5
        for name, array in initial(4, np.array([1, 2, 3, 4])).items()
    }
    return weights, features, rng.normal(size=(9, len(features[0].numbers))), labels, used


def test_the_loss_and_its_gradient_are_those_of_plain_loops(case):
    weights, features, numbers, labels, used = case
    batch = batch_of(features, numbers, labels, used)
    assert loss(weights, batch) == pytest.approx(by_loops(*case), rel=1e-5)
    gradient = jax.grad(loss)(weights, batch)
    seen = {"table": (features[0].grams[1], 2), "hidden": (4, 3), "hidden_bias": (5,)}
    seen |= {"out": (2, 1), "out_bias": (3,)}
    for name, place in seen.items():
        changed = []
        for step in (1e-5, -1e-5):
            moved = {key: np.array(array, np.float64) for key, array in weights.items()}
            moved[name][place] += step
            changed.append(by_loops(moved, *case[1:]))
        slope = (changed[0] - changed[1]) / 2e-5
        assert gradient[name][place] == pytest.approx(slope, rel=1e-3, abs=1e-5), name


def test_without_a_fit_it_says_the_shares():
    start = initial(4, np.array([3, 0, 0, 1]))
    shares = jax.nn.softmax(start["out_bias"])
    assert shares == pytest.approx(np.array([4, 1, 1, 2]) / 8)


@pytest.fixture(scope="module")
def fitted():
    asked = questions(400)
    return asked, _fit(asked)


def _fit(asked, used=None):
    places = [COUNTS.index(each.needed) for each in asked]
    return fit([each.features for each in asked], places, COUNTS, used)


def test_a_planted_rule_is_found_and_holds_for_others(fitted):
    _, predictor = fitted
    others = questions(300, seed=1)
    said = [COUNTS[predictor.needs(each.features).argmax()] for each in others]
    right = np.mean([need == each.needed for need, each in zip(said, others, strict=True)])
    most_frequent = max(np.bincount([each.needed for each in others])) / len(others)
    assert right > 0.9 > most_frequent + 0.3


def test_where_there_is_nothing_to_find_it_is_not_sure():
    predictor = _fit(questions(400, noise=1.0))
    said = np.array([predictor.needs(each.features) for each in questions(200, seed=1)])
    assert said.mean(axis=0) == pytest.approx(np.full(4, 0.25), abs=0.08)
    nats = -np.log(said).mean()
    assert nats < np.log(4) + 0.35  # a fit without a penalty is far above


def test_the_order_of_the_questions_changes_nothing(fitted):
    asked, predictor = fitted
    order = np.random.default_rng(0).permutation(len(asked))
    other = _fit([asked[i] for i in order])
    for each in questions(40, seed=2):
        assert other.needs(each.features) == pytest.approx(predictor.needs(each.features), abs=2e-3)


def test_what_is_held_out_changes_nothing(fitted):
    asked, _ = fitted
    used = np.arange(len(asked)) < 300
    changed = [
        each
        if counts
        else dataclasses.replace(
            each, needed=16, features=each.features._replace(numbers=(9.0,) * 9, grams=(1,) * 9)
        )
        for each, counts in zip(asked, used, strict=True)
    ]
    with_rubbish, alone = _fit(changed, used), _fit(asked[:300])
    for each in questions(40, seed=2):
        assert with_rubbish.needs(each.features) == pytest.approx(
            alone.needs(each.features), abs=2e-3
        )
    with pytest.raises(ValueError, match="no question"):
        _fit(asked, np.zeros(len(asked), bool))


def test_a_word_that_was_never_met_says_nothing(fitted):
    asked, predictor = fitted
    met = {gram for each in asked for gram in each.features.grams}
    table = predictor.weights["table"]
    never = [bucket for bucket in range(len(table)) if bucket not in met]
    assert not table[never].any() and table[sorted(met)].any(axis=1).all()


def test_the_same_labels_make_the_same_file(fitted):
    asked, predictor = fitted
    assert _fit(asked).to_bytes() == predictor.to_bytes()
