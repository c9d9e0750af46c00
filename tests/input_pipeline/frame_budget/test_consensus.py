import itertools
import pickle

import pytest

from input_pipeline.frame_budget import make_policy, most_frames, spec_hash, spec_label
from input_pipeline.frame_budget.policies import RULES, median, vote
from input_pipeline.frame_budget.spec import CONSENSUS_RULES
from tests.input_pipeline.frame_budget.budget_queries import query

INSTRUCTION, DURATION = {"kind": "instruction"}, {"kind": "duration"}
FIXED = {"kind": "fixed", "frames": 8}


def consensus(*specs, **more):
    return {"kind": "consensus", "of": specs, **more}


def test_the_reason_shows_what_everyone_said():
    # counting: 64 of the candidates; 18 s at one frame a second: 16; always 8
    spec = consensus(INSTRUCTION, DURATION, FIXED)
    asked = query("How many times does he jump?")
    said = (
        "[instruction 64: counts events (+) | duration 16: 18.0 s at 1 frames/s | fixed-8 8: fixed]"
    )
    for rule, frames in (("median", 16), ("max", 64), ("vote", 8)):
        budget = make_policy({**spec, "rule": rule})(asked)
        assert (budget.frames, budget.why) == (frames, f"{frames}: {rule} of {said}")


def test_median_by_sorting_and_vote_by_counting():
    assert set(RULES) == set(CONSENSUS_RULES)
    for n in (2, 3, 4, 5):
        for frames in itertools.product((8, 16, 32), repeat=n):
            below = sum(each < median(frames) for each in frames)
            above = sum(each > median(frames) for each in frames)
            assert median(frames) in frames
            assert below <= n / 2 and above <= n / 2
            winner = vote(frames)
            assert all(
                frames.count(winner) > frames.count(each)
                or (frames.count(winner) == frames.count(each) and winner <= each)
                for each in frames
            )
    assert median((8, 64)) == 8, "the lower of two middle ones, never one nobody named"


def test_a_member_is_capped_by_the_clip():
    spec = consensus({"kind": "fixed", "frames": 32}, {"kind": "fixed", "frames": 64})
    budget = make_policy(spec, frames_at_a_time=2)(query(frames=13))
    assert budget.frames == 12
    assert budget.why.count("the clip has 13 frames") == 2


def test_spec_of_specs():
    spec = consensus(INSTRUCTION, DURATION)
    policy = make_policy(spec)
    assert [each["kind"] for each in policy.spec["of"]] == ["instruction", "duration"]
    assert policy.spec["of"][0]["candidates"] == [8, 16, 32, 64]
    assert make_policy(policy.spec) == pickle.loads(pickle.dumps(policy)) == policy
    named = consensus({**INSTRUCTION, "label": "words"}, DURATION)
    assert spec_hash(named) == spec_hash(spec) != spec_hash(consensus(DURATION, INSTRUCTION))
    assert spec_label(spec) == f"median-of-2~{spec_hash(spec)[:4]}"
    assert "words 8" in make_policy(named)(query()).why
    assert most_frames(consensus(FIXED, {"kind": "fps", "frames_per_second": 1})) == 64


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"kind": "consensus"}, "needs the key 'of'"),
        (consensus(FIXED), "'of' must list at least two specs, got 1"),
        (consensus(FIXED, consensus(FIXED, FIXED)), "'of' must be another kind than consensus"),
        (
            consensus(FIXED, {"kind": "random_matched", "histogram": {8: 1}}),
            "'of' must be another kind than random_matched",
        ),
        (consensus(FIXED, FIXED, rule="mean"), "'rule' must be one of .* got 'mean'"),
        (consensus(FIXED, {"kind": "fixed"}), "'fixed' needs the key 'frames'"),
    ],
)
def test_bad_specs_are_named(spec, message):
    with pytest.raises(ValueError, match=message):
        make_policy(spec)
