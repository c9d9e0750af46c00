"""From answers at fixed counts to a predictor, and from that to an index: all of the way, with
answers made up."""

import dataclasses
import json

import pytest
from ml_collections import ConfigDict

from evaluation.budget import fit_budget, read_labels
from evaluation.records import ResultError
from evaluation.results import Prediction, Provenance, save_evaluation, summarise
from input_pipeline.frame_budget import make_policy
from input_pipeline.frame_budget.learned import load, read
from input_pipeline.media import Decoder
from vsft_jax.config import Run
from vsft_jax.errors import ConfigError
from vsft_jax.prepare import prepare_benchmarks, resolve_frame_policy

COUNTS = (2, 4, 8)


@pytest.fixture
def run(shared_config, world, tmp_path):
    """A run whose model was asked about the training clips of the world at three counts. Questions
    of every other task are answered right from two frames on, the others from eight."""
    records = json.loads((world / "world" / "train" / "videos.json").read_text())
    for record in records:
        record |= {"format": "short", "answer": "red", "chance": 0.25}
    (tmp_path / "clips.json").write_text(json.dumps(records))
    config = shared_config.copy_and_resolve_references()
    with config.unlocked():
        config.data.index_dir = str(tmp_path / "index")
        entry = {"annotations": str(tmp_path / "clips.json"), "media_root": "world"}
        config.data.benchmarks = ConfigDict({"clips": {**entry, "modality": "video"}})
    run = Run(config, tmp_path / "run")
    for count in COUNTS:
        answer_all(run, count, records)
    return run


def answer_all(run, count, records, fingerprint="f00d"):
    tasks = sorted({record["task"] for record in records})
    policy = {"kind": "fixed", "frames": count}
    answers = [
        Prediction(
            *(record["id"], "clips", record["task"], "short", count, f"{count}: fixed"),
            *("red" if right else "blue", "red", float(right), True, 4, 0.25),
            cluster=f"/somewhere/else/{record['video']}",
        )
        for record in records
        for right in [count >= (2, 8)[tasks.index(record["task"]) % 2]]
    ]
    made_with = Provenance(policy, None, {"step": 1, "path": "x", "fingerprint": fingerprint}, {})
    result = summarise(answers, benchmark="clips", modality="video", masked=0, provenance=made_with)
    save_evaluation(run.workdir, policy, [result], answers)


def test_labels_are_what_the_answers_say(run):
    labels = read_labels(run)
    assert labels.counts == COUNTS and labels.about["checkpoint"]["fingerprint"] == "f00d"
    tasks = sorted({question.kind for question in labels.questions})
    for question in labels.questions:
        assert question.needed == (2, 8)[tasks.index(question.kind) % 2]
        assert question.cluster.startswith("media/train/videos/")
    assert len(labels.questions) == sum(labels.about["needed"].values()) > 16
    assert not any(labels.left_out.values())


def test_from_answers_to_an_index(run, capsys, monkeypatch):
    path = fit_budget(run)
    assert "learned 0.8, new clips" in capsys.readouterr().out
    predictor = load(read(str(path)), str(path))
    assert predictor.counts == COUNTS and predictor.about["model"]["clips"] >= 10
    assert {"rows", "against", "cross_entropy"} == set(predictor.about["held_out"])
    first = path.read_bytes()
    fit_budget(run)
    assert path.read_bytes() == first

    def prepared(**more):
        config = run.config.copy_and_resolve_references()
        with config.unlocked():
            config.frames = ConfigDict({"kind": "learned", "path": str(path), **more})
        other = Run(config, run.workdir)
        policy = resolve_frame_policy(other)
        return policy, prepare_benchmarks(other, policy)

    policy, found = prepared()
    store = found.stores()["clips"]
    whys = {store[i][0].id: store.why(i) for i in range(len(store))}
    assert make_policy(policy).spec["sha256"] and len(whys) > 16
    labels = {question.name.split("\n")[1]: question for question in read_labels(run).questions}
    right = 0
    for name, why in whys.items():
        suffices = predictor.suffices(labels[name].features)
        expected = min(count for count, p in suffices.items() if p >= 0.8)
        assert why.startswith(f"{expected}: ")
        right += expected == labels[name].needed
    assert right > 0.8 * len(whys)
    # Another threshold, and another predictor, look at no clip again.
    monkeypatch.setattr(Decoder, "preview", None)
    monkeypatch.setattr(Decoder, "probe", None)
    _, other = prepared(threshold=0.3)
    assert other.paths["clips"] != found.paths["clips"]
    assert other.summaries["clips"]["mean_frames"] <= found.summaries["clips"]["mean_frames"]
    dataclasses.replace(predictor, about={"another": True}).save(path)
    assert prepared()[1].paths["clips"] not in (found.paths["clips"], other.paths["clips"])


def test_what_cannot_be_learned_from_is_named(run, tmp_path):
    (run.workdir / "eval" / "fixed-4" / "clips.json").unlink()
    (run.workdir / "eval" / "fixed-8" / "clips.json").unlink()
    with pytest.raises(ResultError, match=r"found: 2; ask with --job=evaluate --config.eval.frame"):
        read_labels(run)
    records = json.loads((tmp_path / "clips.json").read_text())
    answer_all(run, 4, records, fingerprint="beef")
    with pytest.raises(ResultError, match="is of another model than eval/fixed-"):
        read_labels(run)
    answer_all(run, 4, records[:6])
    with pytest.raises(ResultError, match=r"6 questions about \d clips can be used, and at least"):
        read_labels(run)
    config = run.config.copy_and_resolve_references()
    config.budget.benchmarks = ("mvbench",)
    with pytest.raises(ConfigError, match=r"config.budget.benchmarks: mvbench: .*\(clips\)"):
        read_labels(Run(config, run.workdir))
