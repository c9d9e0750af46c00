"""The policy of kind "learned": its spec, its budgets, and the files that it refuses."""

import pickle

import fsspec
import pytest

from input_pipeline.frame_budget import (
    canonical_spec,
    check_multiples,
    make_policy,
    most_frames,
    names_predictor,
    needs_model,
    resolve_spec,
    spec_hash,
    spec_label,
    with_predictors,
)
from input_pipeline.frame_budget.learned import PredictorError, features_of
from tests.input_pipeline.frame_budget.budget_queries import query
from tests.input_pipeline.frame_budget.learned.predictors import drawn

TEXTS = ("What colour is it?", "How many claps?", "Describe it.", "Which way?", "Who runs first?")


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "budget.safetensors"
    drawn().save(path)
    return path


def spec_of(file, **more):
    return canonical_spec(with_predictors({"kind": "learned", "path": str(file), **more}))


def test_the_budget_is_the_fewest_frames_that_pass(file):
    policy = make_policy(spec_of(file, threshold=0.6))
    given = set()
    for text in TEXTS:
        for seconds in (1.0, 10.0, 100.0):
            asked = query(text, seconds=seconds)
            suffices = drawn().suffices(features_of(query(text, seconds=seconds)))
            budget = policy(asked)
            given.add(budget.frames)
            assert budget.frames == min(n for n, p in suffices.items() if p >= 0.6)
            if budget.frames < 16:
                p = suffices[budget.frames]
                assert budget.reason == f"predicted to suffice with p {p:.2f}"
            else:
                assert budget.reason.startswith("fewer are predicted to suffice with p 0.")
    assert len(given) > 1  # otherwise nothing was tested


def test_a_higher_threshold_never_gives_fewer_frames_and_candidates_are_kept_to(file):
    policies = [make_policy(spec_of(file, threshold=t)) for t in (0.2, 0.5, 0.8, 0.99)]
    some = make_policy(spec_of(file, candidates=(4, 8)))
    for text in TEXTS:
        frames = [policy(query(text)).frames for policy in policies]
        assert frames == sorted(frames)
        assert some(query(text)).frames in (4, 8)


def test_a_clip_of_few_frames_is_not_looked_at(file):
    asked = query(frames=2)
    budget = make_policy(spec_of(file))(asked)
    assert (budget.frames, asked.preview.calls) == (2, [])


def test_alone_among_others_and_in_another_process_it_says_the_same(file):
    policy = make_policy(spec_of(file))
    together = [policy(query(text)) for text in TEXTS]
    other = pickle.loads(pickle.dumps(policy))
    assert [other(query(text)) for text in reversed(TEXTS)] == together[::-1]
    assert other == policy


def test_the_spec_is_what_the_file_holds_wherever_it_lies(file, tmp_path, monkeypatch):
    spec = spec_of(file)
    assert spec["candidates"] == [2, 4, 8, 16] and most_frames(spec) == 16
    assert canonical_spec(spec) == spec == spec_of(file, **spec) and not needs_model(spec)
    moved = tmp_path / "elsewhere.safetensors"
    moved.write_bytes(file.read_bytes())
    assert spec_hash(spec_of(moved)) == spec_hash(spec)
    monkeypatch.chdir(tmp_path)
    assert spec_of("budget.safetensors") == spec  # absolute, for whoever reads it elsewhere
    assert spec_label(spec) == f"learned~{spec_hash(spec)[:4]}"
    hashes = {spec_hash(spec), spec_hash(spec_of(file, threshold=0.5))}
    drawn(seed=1).save(file)
    assert len(hashes | {spec_hash(spec_of(file))}) == 3


def test_policies_inside_others_are_read_too(file):
    inner = {"kind": "learned", "path": str(file)}
    control = with_predictors({"kind": "type_matched", "of": inner})
    both = with_predictors({"kind": "consensus", "of": [inner, {"kind": "fixed", "frames": 4}]})
    assert spec_hash(control["of"]) == spec_hash(both["of"][0]) == spec_hash(spec_of(file))
    assert make_policy(both)(query()).frames <= 4
    assert names_predictor({"kind": "random_matched", "of": inner})
    assert not names_predictor({"kind": "hybrid"})
    dealt = resolve_spec(with_predictors({"kind": "random_matched", "of": inner}), _budgets)
    assert dealt["histogram"] == {"16": {"4": 1}}


def _budgets(spec):
    assert most_frames(spec) == 16
    return [[100, 4]]


def test_a_control_of_it_and_a_family_that_takes_pairs(tmp_path):
    path = tmp_path / "odd.safetensors"
    drawn(counts=(3, 6)).save(path)
    with pytest.raises(ValueError, match="'candidates' must be a multiple of 2"):
        check_multiples(spec_of(path), 2)
    check_multiples(spec_of(path, candidates=[6]), 2)
    check_multiples({"kind": "learned", "path": "not read yet"}, 2)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"path": ""}, "'path' must not be empty"),
        ({"path": 3}, "'path' must be a string"),
        ({"threshold": 1.0}, "'threshold' must be a probability below 1"),
        ({"threshold": 0}, "'threshold' must be a finite number > 0"),
        ({"candidates": (8, 4)}, "'candidates' must be increasing"),
        ({"frames": 4}, "kind 'learned' has no key 'frames'"),
    ],
)
def test_bad_values_are_named(changes, said):
    with pytest.raises(ValueError, match=said):
        canonical_spec({"kind": "learned", "path": "x", **changes})
    with pytest.raises(ValueError, match="needs the key 'path'"):
        canonical_spec({"kind": "learned"})


def test_files_and_counts_that_do_not_go_together_are_named(file):
    with pytest.raises(PredictorError, match=r"knows \[2, 4, 8, 16\] frames and not \[6, 32\]"):
        spec_of(file, candidates=(4, 6, 32))
    spec = spec_of(file)
    drawn(seed=1).save(file)
    for use in (make_policy, with_predictors):
        with pytest.raises(PredictorError, match=r"is another predictor \(sha256 .*put that one"):
            use(spec)
    file.unlink()
    with pytest.raises(PredictorError, match="no such file"):
        make_policy(spec)
    with pytest.raises(ValueError, match="has no 'candidates' before its file is read"):
        most_frames({"kind": "learned", "path": "x"})


def test_a_file_at_an_address(file, monkeypatch):
    monkeypatch.setattr("input_pipeline.media.remote.REMOTE_SCHEMES", {"memory"})
    address = "memory://learned/budget.safetensors"
    fsspec.filesystem("memory").pipe(address, file.read_bytes())
    spec = spec_of(address)
    assert spec["path"] == address and spec_hash(spec) == spec_hash(spec_of(file))
    assert make_policy(spec)(query()) == make_policy(spec_of(file))(query())
    with pytest.raises(PredictorError, match="memory://learned/none.*cannot be read: .*missing"):
        spec_of("memory://learned/none")
