import collections
import dataclasses
import json
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from input_pipeline.frame_budget import (
    BudgetQuery,
    make_policy,
    most_frames,
    resolve_spec,
    spec_hash,
    spec_label,
)
from tests.input_pipeline.frame_budget.budget_queries import query

HISTOGRAM = {8: 5760, 16: 1140, 32: 536, 64: 14}


def matched(seed=0):
    """A policy of a spec without rows, as they were made before."""
    return make_policy({"kind": "random_matched", "histogram": HISTOGRAM, "seed": seed})


def draws(policy, ids):
    asked = query("", seconds=100.0, frames=2500)
    return {i: policy(dataclasses.replace(asked, example_id=i)).frames for i in ids}


def test_random_matched_reproduces_the_histogram():
    n = 20_000
    counts = collections.Counter(draws(matched(), [f"video/{i}" for i in range(n)]).values())
    total = sum(HISTOGRAM.values())
    assert set(counts) <= set(HISTOGRAM)
    for frames, count in HISTOGRAM.items():
        share = count / total
        deviation = (share * (1 - share) * n) ** 0.5  # of a binomial count
        assert abs(counts[frames] - share * n) < 4 * deviation


def test_random_matched_depends_on_id_and_seed_alone():
    ids = [f"video/{i}" for i in range(500)]
    one = draws(matched(), ids)
    assert draws(matched(), ids[::-1]) == one
    other = draws(matched(seed=1), ids)
    assert 0.2 < np.mean([one[i] != other[i] for i in ids]) < 0.6  # 0.38 expected of independence


def test_random_matched_is_the_same_in_another_process():
    code = (
        "from input_pipeline.frame_budget import *;from types import SimpleNamespace as N;"
        f"p = make_policy({{'kind': 'random_matched', 'histogram': {HISTOGRAM}}});"
        "m = N(kind='video', frames=99, duration_s=9.0);"
        "print([p(BudgetQuery(f'v{i}', '', m, None)).frames for i in range(64)])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(out.stdout) == list(draws(matched(), [f"v{i}" for i in range(64)]).values())


def test_specs_made_before_there_were_rows_stay_what_they_were():
    spec = {"kind": "random_matched", "histogram": HISTOGRAM, "seed": 3}
    assert make_policy(spec).spec == {
        "kind": "random_matched",
        "of": None,
        "histogram": {"8": 5760, "16": 1140, "32": 536, "64": 14},
        "seed": 3,
    }
    assert (spec_hash(spec), spec_label(spec)) == ("2648c22e7aa5", "random-matched(9018)-s3")
    assert most_frames(spec) == 64


# ── Rows by the length of clips. ────────────────────────────────────────────────────────────────


def test_resolve_spec_takes_the_histogram_of_the_other_policy():
    asked = []

    def budgets(spec):
        asked.append(dict(spec))
        # frames that each clip has and shows; of one frame there is no choice
        return np.array(
            [(900, 16), (64, 8), (70, 8), (13, 8), (12, 12), (13, 13), (1, 2), (1, 1), (80, 64)]
        )

    spec = {
        "kind": "random_matched",
        "of": {"kind": "hybrid", "candidates": (8, 16, 64)},
        "seed": 3,
    }
    resolved = resolve_spec(spec, budgets)
    assert resolved["histogram"] == {
        "12": {"12": 1},
        "13": {"8": 1, "13": 1},
        "64": {"8": 2, "16": 1, "64": 1},
    }
    assert list(resolved["histogram"]) == ["12", "13", "64"]
    assert asked == [make_policy(spec["of"]).spec]
    assert make_policy(resolved).spec == resolved == json.loads(json.dumps(resolved))
    assert spec_label(resolved) == spec_label(spec)
    assert most_frames(resolved) == most_frames(spec) == 64
    assert resolve_spec(resolved, budgets) == resolved
    assert len(asked) == 1, "a resolved spec needs no data"
    assert resolve_spec({"kind": "fixed", "frames": 8}, budgets) == {"kind": "fixed", "frames": 8}
    for nothing in (np.zeros((0, 2)), [(1, 1), (1, 2)]):
        with pytest.raises(ValueError, match="no video"):
            resolve_spec(spec, lambda other, nothing=nothing: nothing)


def test_a_clip_goes_by_the_longest_that_are_no_longer():
    rows = {6: {4: 1}, 10: {8: 1}, 64: {32: 1}}
    policy = make_policy({"kind": "random_matched", "histogram": rows})
    for frames, drawn in ((4, 4), (6, 4), (9, 4), (10, 8), (63, 8), (64, 32), (9999, 32)):
        assert policy(query(frames=frames)).frames == drawn
    assert policy(query(frames=3)).why == "3: drawn at random, capped: the clip has 3 frames"


@pytest.mark.parametrize(
    ("histogram", "message"),
    [
        ({"8": {"8": 1}, "16": 3}, "'histogram.16' must map frames to numbers of clips, got 3"),
        ({"8": {}}, "'histogram.8' must map"),
        ({"8": {"8": 0}}, "'histogram.8.8' must be .* got 0"),
        ({"many": {"8": 1}}, "no frame count.*many"),
        ({"8": {"0": 1}}, "'histogram.8 frames' must be .* got 0"),
    ],
)
def test_bad_rows_are_named(histogram, message):
    with pytest.raises(ValueError, match=message):
        make_policy({"kind": "random_matched", "histogram": histogram})


# Questions that ask for more about longer clips, most of which are short.
QUESTIONS = ("How many times does he clap?", "What colour is it?", "Describe the video in detail.")


@pytest.mark.parametrize("at_a_time", [1, 2])
@pytest.mark.parametrize(
    "rule",
    [
        {"kind": "instruction"},
        {"kind": "duration", "frames_per_second": 8},
        {"kind": "fps", "frames_per_second": 4, "max_frames": 48},
    ],
    ids=lambda rule: rule["kind"],
)
def test_the_control_costs_what_the_rule_costs_on_short_clips(rule, at_a_time):
    rng = np.random.default_rng(0)
    asked = []
    for i in range(10_000):
        frames = int(2 + rng.gamma(1.5, 16))
        seconds = frames / rng.uniform(5, 30)
        media = SimpleNamespace(kind="video", frames=frames, duration_s=seconds)
        asked.append(BudgetQuery(f"clip {i}", QUESTIONS[rng.choice(3)], media, None))

    def shown(spec):
        policy = make_policy(spec, frames_at_a_time=at_a_time)
        return np.array([policy(each).frames for each in asked])

    has = np.array([each.media.frames for each in asked])
    resolved = resolve_spec(
        {"kind": "random_matched", "of": rule}, lambda spec: np.stack([has, shown(spec)], axis=1)
    )
    wanted, drawn = shown(rule), shown(resolved)
    assert drawn.mean() == pytest.approx(wanted.mean(), rel=0.01)
    assert np.mean(drawn == wanted) < 0.9, "at random, and not the rule again"
    # One histogram of all clips, cut by short ones, is what this mends.
    values, counts = np.unique(wanted, return_counts=True)
    flat = dict(zip(values.tolist(), counts.tolist(), strict=True))
    assert shown({"kind": "random_matched", "histogram": flat}).mean() < 0.9 * wanted.mean()
