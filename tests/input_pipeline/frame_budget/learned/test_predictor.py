"""What a predictor says against plain loops, and the file that it lies in."""

import dataclasses
import json
import math
import subprocess
import sys

import numpy as np
import pytest
import safetensors.numpy

from input_pipeline.frame_budget.learned import predictor as module
from input_pipeline.frame_budget.learned.features import NUMBERS, Features
from input_pipeline.frame_budget.learned.predictor import (
    PredictorError,
    budget_at,
    digest,
    load,
    read,
)
from tests.input_pipeline.frame_budget.learned.predictors import drawn

FEATURES = Features((5, 9, 5, 700), tuple(0.3 * i - 1.0 for i in range(len(NUMBERS))))


def by_loops(predictor, features):
    """The probabilities, number by number."""
    w = {name: array.tolist() for name, array in predictor.weights.items()}
    width = len(w["table"][0])
    inputs = [sum(w["table"][g][d] for g in features.grams) for d in range(width)]
    inputs = [x / max(len(features.grams), 1) for x in inputs]
    for x, mean, deviation in zip(features.numbers, w["mean"], w["deviation"], strict=True):
        inputs.append(min(max((x - mean) / deviation, -3.0), 3.0))
    hidden = []
    for unit, bias in enumerate(w["hidden_bias"]):
        hidden.append(
            math.tanh(bias + sum(x * r[unit] for x, r in zip(inputs, w["hidden"], strict=True)))
        )
    logits = [
        bias + sum(h * row[c] for h, row in zip(hidden, w["out"], strict=True))
        for c, bias in enumerate(w["out_bias"])
    ]
    odds = [math.exp(x) for x in logits]
    return [x / sum(odds) for x in odds]


@pytest.mark.parametrize("features", [FEATURES, FEATURES._replace(grams=())])
def test_probabilities_are_those_of_plain_loops(features):
    predictor = drawn()
    expected = by_loops(predictor, features)
    assert predictor.needs(features) == pytest.approx(expected, abs=1e-12)
    suffices = predictor.suffices(features)
    assert list(suffices) == [2, 4, 8, 16] and suffices[16] == 1.0
    assert list(suffices.values())[:3] == pytest.approx(np.cumsum(expected)[:3], abs=1e-9)


def test_numbers_far_beyond_what_was_seen_count_as_its_end():
    predictor = drawn()
    far, farther = (FEATURES._replace(numbers=(x,) * len(NUMBERS)) for x in (100.0, 1e6))
    assert (predictor.needs(far) == predictor.needs(farther)).all()


def test_the_smallest_that_passes_else_the_largest():
    suffices = {2: 0.3, 4: 0.8, 8: 0.9, 16: 1.0}
    budgets = [budget_at(suffices, threshold) for threshold in (0.2, 0.3, 0.5, 0.8, 0.85, 0.99)]
    assert budgets == [2, 2, 4, 4, 8, 16]
    assert budget_at({2: 0.1, 4: 0.2}, 0.5) == 4


def test_a_file_holds_all_of_it_and_equal_ones_equal_bytes(tmp_path):
    predictor = drawn(about={"questions": 7, "model": {"step": 3}})
    path = tmp_path / "run" / "budget.safetensors"
    sha256 = predictor.save(path)
    data = read(str(path))
    assert digest(data) == sha256 == drawn(about={"model": {"step": 3}, "questions": 7}).save(path)
    found = load(data, str(path))
    assert found.counts == predictor.counts and found.about == predictor.about
    assert found.suffices(FEATURES) == predictor.suffices(FEATURES)
    assert drawn(seed=1).save(path) != sha256


def _with_head(predictor, **changes):
    head = {"version": module.VERSION, "counts": list(predictor.counts), "about": {}} | changes
    return safetensors.numpy.save(dict(predictor.weights), {module._HEAD: json.dumps(head)})


def test_files_that_cannot_be_used_are_named(tmp_path):
    path = tmp_path / "budget.safetensors"
    with pytest.raises(PredictorError, match=rf"'path' .*{path.name}.*no such file.*--job=budget"):
        read(str(path))
    with pytest.raises(PredictorError, match="cannot be read"):
        read(str(tmp_path))
    predictor = drawn()
    small = dataclasses.replace(predictor, counts=(2, 4))
    other = safetensors.numpy.save({"x": np.zeros(2)}, {"format": "np"})
    cases = {
        "is no predictor": [b"", b"something else", other, predictor.to_bytes()[:-9]],
        "of version 99, and this code reads": [_with_head(predictor, version=99)],
        "is damaged": [small.to_bytes(), _with_head(predictor, counts=[4, 2, 8, 16])],
    }
    for said, files in cases.items():
        for data in files:
            with pytest.raises(PredictorError, match=said) as caught:
                load(data, str(path))
            message = str(caught.value)
            assert str(path) in message and "anew" in message and "\n" not in message


def test_saying_something_needs_no_jax():
    code = (
        "import sys; from input_pipeline.frame_budget.learned import features_of, load, learned\n"
        "assert not {'jax', 'optax', 'torch'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
