"""Controls that are dealt for a data set as a whole."""

import collections
import dataclasses
import json

import numpy as np
import pytest

from input_pipeline.frame_budget import (
    Clip,
    check_multiples,
    deal,
    make_policy,
    most_frames,
    needs_model,
    spec_label,
)
from tests.input_pipeline.frame_budget.budget_queries import query

RULE = {"kind": "instruction", "candidates": [2, 4, 8, 16]}
CONTROLS = [{"kind": kind, "of": RULE} for kind in ("random_matched", "type_matched")]
QUESTIONS = (
    "How many times does he clap?",
    "What colour is it?",
    "Describe the video in detail.",
    "Which way does it move?",
)


def clips(count, seed=0, long=False):
    """Clips with the rule's budgets, cut to the clip as a policy does."""
    rng = np.random.default_rng(seed)
    rule = make_policy(RULE)
    found = []
    for i in range(count):
        has = 90 if long else int(2 + rng.gamma(1.5, 6))
        text = QUESTIONS[rng.choice(4)]
        found.append(Clip(f"{seed}/{i}", text, has, rule(query(text, frames=has)).frames))
    return found


def shown(spec, given):
    policy = make_policy(spec)
    return np.array(
        [
            policy(
                dataclasses.replace(query(c.instruction, frames=c.frames), example_id=c.example_id)
            ).frames
            for c in given
        ]
    )


@pytest.mark.parametrize("control", CONTROLS, ids=lambda control: control["kind"])
@pytest.mark.parametrize("count", [37, 500])
def test_every_data_set_has_the_histogram_of_the_policy(control, count):
    """So it costs the same, to the frame, however small the set; no clip is cut."""
    for seed in (0, 1):
        given = clips(count, seed)
        of_rule, of_control = np.array([c.shown for c in given]), shown(deal(control, given), given)
        assert collections.Counter(of_control) == collections.Counter(of_rule)
        assert (of_control <= [c.frames for c in given]).all()
    if control["kind"] == "random_matched":
        assert np.mean(of_control == of_rule) < 0.9


def test_the_random_control_says_nothing_about_the_kind_of_question():
    given = clips(4000, long=True)
    kinds = np.array([QUESTIONS.index(c.instruction) for c in given])
    of_rule, of_random, of_type = (
        np.array([c.shown for c in given]),
        *(shown(deal(control, given), given) for control in CONTROLS),
    )

    def shares(budgets):
        return [np.mean(budgets[kinds == kind] == 16) for kind in range(4)]

    assert np.ptp(shares(of_rule)) == 1.0
    assert np.ptp(shares(of_random)) < 0.08  # of 1000 draws each
    assert shares(of_type) == shares(of_rule), "each kind keeps its budgets"


def test_within_a_kind_the_control_forgets_which_clip_got_what():
    """Half of the clips of one kind got 16 frames: the control gives them to any half."""
    text = QUESTIONS[0]
    given = [Clip(str(i), text, 90, 16 if i < 500 else 2) for i in range(1000)]
    budgets = shown(deal(CONTROLS[1], given), given)
    assert np.sum(budgets == 16) == 500
    assert abs(np.sum(budgets[:500] == 16) - 250) < 40


def test_a_dealt_spec_is_data_and_has_the_name_of_its_control():
    given = clips(100)
    for control in CONTROLS:
        spec = deal(control, given)
        assert json.loads(json.dumps(spec)) == make_policy(spec).spec == spec
        assert spec_label(spec) == spec_label(control)
        assert most_frames(spec) == 16 and not needs_model(spec)
        assert deal(control, reversed(given)) == spec, "the order of clips is no part of it"
        again = deal({**control, "seed": 1}, given)
        if control["kind"] == "random_matched":  # the other rule looks at kind and length alone
            assert (shown(again, given) != shown(spec, given)).any()
        with pytest.raises(ValueError, match="multiple of 3"):
            check_multiples(spec, 3)
        with pytest.raises(ValueError, match="found no video"):
            deal(control, [Clip("a", "", 1, 1)])


def test_a_question_alone_gets_what_the_policy_gives():
    asked = query(QUESTIONS[0], frames=90)
    assert make_policy(CONTROLS[1])(asked) == make_policy(RULE)(asked)


def test_a_clip_that_was_not_dealt_to_gets_a_budget_all_the_same():
    spec = deal(CONTROLS[1], clips(50))
    asked = query("Why does he laugh?", frames=3)
    assert make_policy(spec)(asked).frames in (2, 3)
    with pytest.raises(ValueError, match="'of' must be a control of another policy"):
        make_policy({"kind": "dealt", "of": RULE, "cuts": {"": {"2": [[1, 2]]}}})
    with pytest.raises(ValueError, match="'cuts..2' must hold pairs"):
        make_policy({**spec, "cuts": {"": {"2": [[1, 2, 3]]}}})
