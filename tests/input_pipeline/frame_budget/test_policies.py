import dataclasses
import json
import pickle

import numpy as np
import pytest

from input_pipeline.frame_budget import (
    BudgetQuery,
    FrameBudget,
    check_multiples,
    make_policy,
    spec_hash,
    spec_label,
)
from input_pipeline.frame_budget.budget import nearest_candidate
from input_pipeline.media import MediaInfo

COUNTING = "How many times does the man clap?"
COLOUR = "What colour is the car?"
CAPTION = "Describe the video in detail."
MOTION = "Which direction does the bird fly?"


def info(seconds, frames=None, kind="video"):
    frames = frames or max(round(seconds * 25), 1)
    times = tuple(i * seconds / frames for i in range(frames))
    return MediaInfo(kind=kind, width=64, height=48, frame_times=times, duration_s=float(seconds))


def preview_of(level):
    """Preview frames whose novelty is low, medium or high, or an error if they are asked for."""
    rng = np.random.default_rng(0)

    def preview(count):
        if level == "forbidden":
            raise AssertionError("previews were decoded although they cannot matter")
        shown = rng.integers(0, 256, (1, 12, 12, 3))
        frames = np.repeat(shown, count, axis=0)
        changing = {"low": 0, "medium": 3, "high": 12}[level]
        frames[:, :changing] = rng.integers(0, 256, (count, changing, 12, 3))
        return frames.astype(np.uint8)

    return preview


def ask(
    spec, instruction=COLOUR, seconds=18.0, novelty="forbidden", frames=None, id="x", at_a_time=2
):
    """Of a policy for a tower that takes frames in pairs, unless said otherwise."""
    query = BudgetQuery(id, instruction, info(seconds, frames), preview_of(novelty))
    return make_policy(spec, frames_at_a_time=at_a_time)(query)


SPECS = [
    {"kind": "fixed", "frames": 8},
    {"kind": "fps", "frames_per_second": 2},
    {"kind": "duration"},
    {"kind": "duration", "candidates": (4, 8, 16), "thresholds": (10, 60)},
    {"kind": "instruction", "candidates": (2, 4, 8)},
    {"kind": "similarity", "preview_frames": 4},
    {"kind": "hybrid"},
    {"kind": "hybrid", "candidates": [4, 8, 16]},
    {"kind": "hybrid", "novelty_high": 0.5},
    {"kind": "random_matched", "of": {"kind": "hybrid"}, "histogram": {8: 3, 16: 1}, "seed": 2},
    {"kind": "random_matched", "histogram": {"16": 1, "8": 3}},
]


# ── specs ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("spec", SPECS, ids=spec_label)
def test_canonical_spec_is_json_and_a_fixed_point(spec):
    policy = make_policy(spec)
    assert json.loads(json.dumps(policy.spec)) == policy.spec
    assert make_policy(policy.spec).spec == policy.spec
    assert make_policy(policy.spec) == policy
    assert spec_hash(policy.spec) == spec_hash(spec)
    assert spec_label(policy.spec) == spec_label(spec)


def test_spellings_of_one_policy_have_one_hash():
    hashes = {
        spec_hash(spec)
        for spec in (
            {"kind": "hybrid"},
            {"kind": "hybrid", "candidates": (8, 16, 32, 64)},
            {"candidates": [8, 16, 32, 64], "preview_frames": 8, "kind": "hybrid"},
        )
    }
    assert len(hashes) == 1
    assert len(hashes.pop()) == 12
    assert len({spec_hash(spec) for spec in SPECS}) == len(SPECS)


def test_labels():
    assert [spec_label(spec) for spec in SPECS[:7]] == [
        "fixed-8",
        "fps-2",
        "duration",
        f"duration-4-8-16~{spec_hash(SPECS[3])[:4]}",
        "instruction-2-4-8",
        f"similarity~{spec_hash(SPECS[5])[:4]}",
        "hybrid",
    ]
    assert spec_label({"kind": "random_matched", "of": {"kind": "hybrid"}}) == (
        "random-matched(hybrid)"
    )
    assert spec_label(SPECS[9]) == "random-matched(hybrid)-s2"
    assert len({spec_label(spec) for spec in SPECS}) == len(SPECS)


def test_spec_is_a_copy_and_the_policy_frozen():
    policy = make_policy({"kind": "hybrid"})
    policy.spec["candidates"].append(128)
    assert policy.spec["candidates"] == [8, 16, 32, 64]
    with pytest.raises(dataclasses.FrozenInstanceError):
        policy.spec_ = {}
    assert pickle.loads(pickle.dumps(policy)) == policy


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({}, 'a mapping with a "kind"'),
        ("hybrid", "got 'hybrid'"),
        ({"kind": "oracle"}, "unknown kind 'oracle'; known: fixed, fps, duration"),
        ({"kind": "fixed"}, "'fixed' needs the key 'frames'"),
        ({"kind": "fixed", "frames": 8, "fps": 1}, "'fixed' has no key 'fps'; known: frames"),
        ({"kind": "fixed", "frames": 7}, "'frames' must be a multiple of 2.*got 7"),
        ({"kind": "fixed", "frames": 0}, "'frames' must be an integer >= 1, got 0"),
        ({"kind": "fixed", "frames": 8.0}, "got 8.0"),
        ({"kind": "fixed", "frames": True}, "got True"),
        ({"kind": "fps", "frames_per_second": 0}, "'frames_per_second' must be .* > 0, got 0"),
        (
            {"kind": "fps", "frames_per_second": 1, "min_frames": 8, "max_frames": 4},
            "'min_frames' 8 exceeds 'max_frames' 4",
        ),
        ({"kind": "hybrid", "candidates": (16, 8)}, r"'candidates' must be increasing.*\[16, 8\]"),
        ({"kind": "hybrid", "candidates": (8, 8)}, "increasing"),
        ({"kind": "hybrid", "candidates": (8, 15)}, "'candidates' must be a multiple of 2.*got 15"),
        ({"kind": "hybrid", "candidates": (-8, 8)}, "got -8"),
        ({"kind": "hybrid", "candidates": ()}, "'candidates' must be a non-empty list"),
        ({"kind": "hybrid", "candidates": "8,16"}, "got '8,16'"),
        ({"kind": "hybrid", "novelty_low": 0.5}, "'novelty_low' 0.5 must be below"),
        ({"kind": "hybrid", "preview_frames": 1}, "'preview_frames' must be an integer >= 2"),
        ({"kind": "hybrid", "gap_seconds": {"low": 3}}, "'gap_seconds' must give seconds for each"),
        (
            {
                "kind": "hybrid",
                "gap_seconds": {"low": 1, "low-medium": 1, "medium": 1, "high": 2},
            },
            "'gap_seconds' must not rise with demand",
        ),
        ({"kind": "duration", "thresholds": (5,)}, "4 candidates need 3 'thresholds'"),
        ({"kind": "duration", "thresholds": (5, 4, 9)}, "'thresholds' must be increasing"),
        (
            {"kind": "duration", "thresholds": (5, 6, 7), "frames_per_second": 1},
            "'thresholds' or 'frames_per_second', not both",
        ),
        ({"kind": "random_matched"}, "needs the key 'of' or 'histogram'"),
        ({"kind": "random_matched", "of": {"kind": "hybrid"}}, "needs a 'histogram'"),
        ({"kind": "random_matched", "histogram": {"8": 0}}, "'histogram.8' must be .* got 0"),
        ({"kind": "random_matched", "histogram": {"many": 1}}, "no frame count.*many"),
        ({"kind": "random_matched", "histogram": {"8": 1}, "seed": -1}, "'seed' .* got -1"),
        (
            {
                "kind": "random_matched",
                "of": {"kind": "random_matched", "histogram": {"8": 1}},
            },
            "'of' must be another kind",
        ),
        ({"kind": "random_matched", "of": {"kind": "hybrid", "frames": 3}}, "no key 'frames'"),
    ],
)
def test_bad_specs_are_named(spec, message):
    with pytest.raises(ValueError, match=message):
        make_policy(spec, frames_at_a_time=2)


# ── what every policy keeps to ──────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("spec", SPECS, ids=spec_label)
def test_pure_and_never_more_frames_than_the_clip_has(spec):
    rng = np.random.default_rng(0)
    for i in range(60):
        frames = int(rng.integers(1, 200))
        seconds = float(rng.uniform(0.1, 200))
        text = [COUNTING, COLOUR, CAPTION, MOTION, "Hm."][i % 5]
        level = ["low", "medium", "high"][i % 3]
        one, two = (ask(spec, text, seconds, level, frames, f"id{i}") for _ in range(2))
        assert one == two
        assert 1 <= one.frames <= frames
        assert one.frames % 2 == 0 or frames == one.frames == 1
        assert one.why.startswith(f"{one.frames}: ")


def test_a_capped_budget_says_so():
    spec = {"kind": "fixed", "frames": 16}
    assert ask(spec, frames=13) == FrameBudget(12, "fixed, capped: the clip has 13 frames")
    assert ask(spec, frames=13).why == "12: fixed, capped: the clip has 13 frames"
    assert ask(spec, frames=1).why == "1: fixed, capped: the clip has 1 frame"
    assert ask(spec, frames=16).why == "16: fixed"


@pytest.mark.parametrize(
    ("at_a_time", "shown"), [(1, [1, 3, 5, 8, 8]), (2, [1, 2, 4, 8, 8]), (4, [1, 3, 4, 8, 8])]
)
def test_as_many_as_the_tower_takes_at_a_time(at_a_time, shown):
    spec = {"kind": "fixed", "frames": 8}
    assert [ask(spec, frames=n, at_a_time=at_a_time).frames for n in (1, 3, 5, 8, 9)] == shown


def test_a_tower_that_takes_one_frame_can_be_given_any_number():
    for spec, frames in (
        ({"kind": "fixed", "frames": 5}, 5),
        ({"kind": "fixed", "frames": 1}, 1),
        ({"kind": "fps", "frames_per_second": 0.5, "min_frames": 3, "max_frames": 11}, 9),
        ({"kind": "instruction", "candidates": (3, 7)}, 3),
    ):
        assert ask(spec, at_a_time=1).frames == frames
        assert ask(spec, at_a_time=1, frames=5).frames == min(frames, 5)


SIX = {"kind": "fixed", "frames": 6}


@pytest.mark.parametrize(
    ("key", "spec"),
    [
        ("frames", {"kind": "fixed", "frames": 6}),
        ("min_frames", {"kind": "fps", "frames_per_second": 1, "min_frames": 6}),
        ("max_frames", {"kind": "fps", "frames_per_second": 1, "max_frames": 6}),
        ("candidates", {"kind": "instruction", "candidates": (4, 6)}),
        ("frames", {"kind": "consensus", "of": [{"kind": "hybrid"}, SIX]}),
        ("frames", {"kind": "judge", "path": "x", "fallback": SIX}),
        ("frames", {"kind": "random_matched", "of": SIX}),
    ],
)
def test_what_the_tower_cannot_take_is_named(key, spec):
    check_multiples(spec, 1)
    check_multiples(spec, 2)
    for check in (check_multiples, lambda spec, n: make_policy(spec, frames_at_a_time=n)):
        with pytest.raises(ValueError, match=f"frame budget: '{key}' .* multiple of 4.* got 6"):
            check(spec, 4)


def test_what_did_not_fit_is_said():
    budget = ask({"kind": "instruction"}, MOTION)
    assert budget.reduced(16) == budget
    assert budget.reduced(8).why == "8: asks about motion, 16 did not fit into the row"
    short = ask({"kind": "fixed", "frames": 16}, frames=13).reduced(6)
    assert short.why == "6: fixed, capped: the clip has 13 frames, 12 did not fit into the row"


def test_an_image_is_one_frame():
    query = BudgetQuery("x", COUNTING, info(0.0, 1, "image"), preview_of("forbidden"))
    assert make_policy({"kind": "hybrid"})(query).why == "1: an image"


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (0.1, 8),
        (8, 8),
        (11.3, 8),
        (128**0.5, 8),
        (11.4, 16),
        (22.7, 32),
        (45, 32),
        (46, 64),
        (1e9, 64),
    ],
)
def test_nearest_candidate_in_ratio(wanted, expected):
    # halfway between 8 and 16 is √128 ≈ 11.31: the smaller wins the tie
    assert nearest_candidate([8, 16, 32, 64], wanted) == expected


# ── the kinds ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("seconds", "expected"), [(1.0, 4), (5.0, 10), (10.0, 20), (31.9, 64), (600.0, 64)]
)
def test_fps(seconds, expected):
    budget = ask({"kind": "fps", "frames_per_second": 2}, seconds=seconds)
    assert budget == FrameBudget(expected, f"{seconds:.1f} s at 2 frames/s")


def test_duration_by_thresholds_in_seconds():
    spec = {"kind": "duration", "candidates": (4, 8, 16), "thresholds": (10, 60)}
    found = [ask(spec, seconds=s).frames for s in (1, 10, 10.5, 60, 61, 900)]
    assert found == [4, 4, 8, 8, 16, 16]


def test_duration_by_rate():
    spec = {"kind": "duration", "frames_per_second": 1.0}
    assert [ask(spec, seconds=s).frames for s in (2, 11, 12, 30, 50, 900)] == [8, 8, 16, 32, 64, 64]


def test_instruction_reads_nothing_but_text():
    spec = {"kind": "instruction"}
    # levels 0, 1/3, 2/3, 1 of three doublings
    for text, frames in ((COLOUR, 8), (MOTION, 16), (CAPTION, 32), (COUNTING, 64)):
        assert {ask(spec, text, seconds=s).frames for s in (10, 100)} == {frames}
    assert ask(spec, COUNTING).why == "64: counts events (+)"
    assert ask(spec, COLOUR).why == "8: asks for a colour (-)"


def test_similarity_reads_nothing_but_previews():
    spec = {"kind": "similarity"}
    assert ask(spec, COUNTING, novelty="low") == FrameBudget(8, "novelty 0.00")
    assert ask(spec, COLOUR, novelty="high").frames == 64
    assert ask(spec, COLOUR, novelty="medium").frames in (16, 32)


@pytest.mark.parametrize(
    ("text", "seconds", "novelty", "expected"),
    [
        # counting: base 32, one frame a second wanted, twice that where the picture changes a lot
        (COUNTING, 18, "high", "32: counts events (+), 18.0 s, high novelty"),  # 36
        (COUNTING, 18, "low", "16: counts events (+), 18.0 s, low novelty"),  # 9 → at least 16
        (COUNTING, 6, "forbidden", "16: counts events (+), 6.0 s, any novelty"),  # 3, 6, 12
        (COUNTING, 40, "medium", "32: counts events (+), 40.0 s, medium novelty"),  # 40
        (COUNTING, 40, "high", "64: counts events (+), 40.0 s, high novelty"),  # 80 → at most 64
        (COUNTING, 300, "forbidden", "64: counts events (+), 300.0 s, any novelty"),
        # a description: base 16, one frame every two seconds
        (CAPTION, 5, "forbidden", "8: describes the clip, 5.0 s, any novelty"),
        (CAPTION, 30, "medium", "16: describes the clip, 30.0 s, medium novelty"),  # 15
        (CAPTION, 30, "high", "32: describes the clip, 30.0 s, high novelty"),  # 30
        (CAPTION, 30, "low", "8: describes the clip, 30.0 s, low novelty"),  # 7.5 → at least 8
        # motion: base 8, one frame every four seconds
        (MOTION, 10, "forbidden", "8: asks about motion, 10.0 s, any novelty"),  # 1.25, 2.5, 5
        (MOTION, 60, "high", "16: asks about motion, 60.0 s, high novelty"),  # 30 → at most 16
        # a colour: base 8, one frame every 15 s: the minimum unless long and changing
        (COLOUR, 18, "forbidden", "8: asks for a colour (-), 18.0 s, any novelty"),
        (COLOUR, 150, "low", "8: asks for a colour (-), 150.0 s, low novelty"),  # 5
        (COLOUR, 150, "high", "16: asks for a colour (-), 150.0 s, high novelty"),  # 20
    ],
)
def test_hybrid_by_hand(text, seconds, novelty, expected):
    assert ask({"kind": "hybrid"}, text, seconds, novelty).why == expected


@pytest.mark.parametrize("candidates", [(8, 16, 32, 64), (2, 4, 8), (4, 32), (6,), (4, 10, 12, 48)])
def test_hybrid_never_falls_with_demand_length_or_novelty(candidates):
    spec = {"kind": "hybrid", "candidates": candidates}

    def budget(text, seconds, novelty):
        return ask(spec, text, seconds, novelty, frames=1000).frames

    texts, lengths, levels = [COLOUR, MOTION, CAPTION, COUNTING], [1, 9, 40, 200], ["low", "high"]
    table = np.array([[[budget(t, s, n) for n in levels] for s in lengths] for t in texts])
    assert set(table.ravel().tolist()) <= set(candidates)
    for axis in range(3):
        assert np.all(np.diff(table, axis=axis) >= 0)
    assert table[0, 0, 0] == candidates[0]
    assert table[-1, -1, -1] == candidates[-1]


def test_previews_are_asked_for_once_and_only_when_they_matter():
    calls = []

    def preview(count):
        calls.append(count)
        return preview_of("high")(count)

    policy = make_policy({"kind": "hybrid", "preview_frames": 6})
    policy(BudgetQuery("x", COUNTING, info(18.0), preview))
    assert calls == [6]
    policy(BudgetQuery("x", COLOUR, info(18.0), preview))
    policy(BudgetQuery("x", COUNTING, info(18.0, frames=10), preview))  # all 10 frames anyway
    assert calls == [6]
