"""Questions are checked before anything is generated; an interrupted evaluation goes on."""

import dataclasses
import random
from pathlib import Path

import pytest
from ml_collections import ConfigDict

from configs import tiny
from evaluation import evaluate
from evaluation.evaluate import (
    check_benchmarks,
    check_questions,
    during_training,
    evaluate_model,
    evaluate_policies,
)
from evaluation.results import BenchmarkResult, read_controls
from input_pipeline.examples import Example, MediaRef, Turn
from input_pipeline.index import DatasetSpec
from vsft_jax.config import Run
from vsft_jax.errors import ConfigError
from vsft_jax.inference import Answer, LoadedModel

META = {"task": "order", "format": "choice", "answer": "B", "chance": 0.5}


def _check(shown=("image",), modality="image", official="", **changes):
    meta = {key: value for key, value in (META | changes).items() if value is not None}
    media = [MediaRef(kind, f"/data/{kind}") for kind in shown]
    store = [(Example("q7", "mine", (Turn("user", (*media, "Which?")),), meta), None)]
    config = tiny.get_config()
    entry = {"annotations": "mine.json", "media_root": "", "modality": modality}
    config.data.benchmarks = {"mine": entry | ({"official": official} if official else {})}
    run = Run(config, Path("/nowhere"))
    check_questions(run, DatasetSpec("mine", "/data/mine.json", "/data"), store)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"task": None}, "has no task"),
        ({"format": None, "chance": None}, "has no format, chance"),
        ({"format": "choise"}, "cannot be scored: answer format 'choise'"),
        ({"answer": "a ball"}, "cannot be scored: meta.answer: 'a ball'"),
        ({"format": "yes_no"}, "cannot be scored: meta.answer: 'B' is neither yes nor no"),
        ({"format": "caption"}, "cannot be scored: meta.slots"),
        ({"chance": 25}, "has the chance 25, not a number 0..1"),
        ({"chance": "0.25"}, "has the chance '0.25'"),
    ],
)
def test_a_question_that_cannot_be_scored_is_named(changes, said):
    _check()
    with pytest.raises(ConfigError) as caught:
        _check(**changes)
    message = str(caught.value)
    assert message.startswith("/data/mine.json: question 'q7' ") and said in message
    assert "config.data.benchmarks.mine" in message and "\n" not in message


@pytest.mark.parametrize(
    ("shown", "modality", "said"),
    [
        ((), "image", "text alone"),
        ((), "video", "text alone"),
        (("image", "image"), "video", "image"),
        (("video",), "image", "video"),
        (("image", "video"), "text", "image and video"),
    ],
)
def test_a_question_of_the_other_modality_is_named(shown, modality, said):
    with pytest.raises(ConfigError) as caught:
        _check(shown, modality)
    assert str(caught.value).startswith(
        f"/data/mine.json: question 'q7' shows {said}, but config.data.benchmarks.mine.modality = "
        f"'{modality}': "
    )
    _check(() if modality == "text" else ("image", "video"), modality)


def test_questions_are_checked_before_training_where_it_evaluates(shared_config, tmp_path):
    config = shared_config.copy_and_resolve_references()
    check_benchmarks(Run(config, tmp_path))
    # Its records are for training: they have no format.
    config.data.benchmarks.world_video.annotations = "world/train/videos.json"
    during_training(Run(config, tmp_path))
    config.train.evaluate_every = 2
    with pytest.raises(ConfigError, match="videos.json: question .* has no format, answer, chance"):
        during_training(Run(config, tmp_path))


# ── Interrupted. ────────────────────────────────────────────────────────────────────────────────


@dataclasses.dataclass
class _Mouth:
    """Stands in for `answer`: says something to every question, two to a batch."""

    asked: list[str] = dataclasses.field(default_factory=list)
    dies_after: int | None = None

    def __call__(self, run, model, store, *, answered=(), many=False):
        for k in range(0, len(store), 2):
            batch = [i for i in (k + 1, k) if i < len(store)]
            if set(batch) <= set(answered):
                continue
            for i in batch:
                if len(self.asked) == self.dies_after:
                    raise KeyboardInterrupt
                example, _ = store[i]
                self.asked.append(example.id)
                bad = {"reason": "cut_off", "path": "a.mp4"} if k == 4 else None
                yield Answer(i, f"{len(example.id) % 3} x", [], [], bad)


@pytest.fixture
def evaluated(shared_config, tmp_path, monkeypatch):
    """(workdir, what answers, changes of config.eval) -> the files of its results, by name."""
    model = LoadedModel(
        graphdef=None,
        params=None,
        mesh=None,
        tokenizer=None,
        frame_policy=None,
        step=4,
        trained_config={},
        source=Path("/nowhere"),
    )
    facts = {"step": 4, "path": "/nowhere", "fingerprint": "f1"}
    monkeypatch.setattr(evaluate.provenance, "checkpoint", lambda _: dict(facts))

    def run(name, mouth, fingerprint="f1", **changes):
        facts["fingerprint"] = fingerprint
        config = shared_config.copy_and_resolve_references()
        config.eval.update(changes)
        monkeypatch.setattr(evaluate, "answer", mouth)
        evaluate_model(Run(config, tmp_path / name), model, {"kind": "fixed", "frames": 4})
        folder = tmp_path / name / "eval" / "fixed-4"
        return {
            p.name: p.read_bytes() for p in folder.iterdir() if p.is_file() and p.name[0] != "."
        }

    run.config, run.model = shared_config, model
    return run


def test_a_killed_evaluation_goes_on_to_the_same_files(evaluated, tmp_path):
    mouth = _Mouth()
    whole = evaluated("whole", mouth)
    results = {"world_image.json", "world_video.json", "predictions.jsonl"}
    answers = {"world_image.answers.jsonl", "world_video.answers.jsonl"}
    assert set(whole) == results | answers
    places = random.Random(0).sample(range(len(mouth.asked)), 10)
    for place in {0, *places, len(mouth.asked) - 1}:
        name = f"killed-after-{place}"
        with pytest.raises(KeyboardInterrupt):
            evaluated(name, _Mouth(dies_after=place))
        # What a process does not get to write when it is killed.
        for path in (tmp_path / name / "eval" / "fixed-4").glob("*.answers.jsonl"):
            path.write_bytes(path.read_bytes()[: -(place % 7) or None])
        rest = _Mouth()
        found = evaluated(name, rest)
        assert {key: found[key] for key in results} == {key: whole[key] for key in results}
        assert len(rest.asked) <= len(mouth.asked) - place + 4  # one batch, and a line that was cut
    for name in answers:
        assert sorted(found[name].splitlines()) == sorted(whole[name].splitlines())


def test_only_what_failed_is_asked_again(evaluated):
    first, again = _Mouth(), _Mouth()
    files = evaluated("run", first)
    assert b'"masked": 2' in files["world_video.json"]
    assert {k: v for k, v in evaluated("run", again).items() if "answers" not in k} == {
        k: v for k, v in files.items() if "answers" not in k
    }
    assert 0 < len(again.asked) <= 4 < len(first.asked)


def test_other_settings_and_other_models_are_asked_anew(evaluated):
    everything = len(_asked(evaluated, "run"))
    assert len(_asked(evaluated, "run", max_new_tokens=3)) == everything
    assert len(_asked(evaluated, "run", max_new_tokens=3, fingerprint="f2")) == everything
    assert len(_asked(evaluated, "run", max_new_tokens=3, fingerprint="f2")) < everything
    for _ in range(2):  # in training, before a step is saved
        assert len(_asked(evaluated, "run", fingerprint=None)) == everything


def _asked(evaluated, name, **changes):
    mouth = _Mouth()
    evaluated(name, mouth, **changes)
    return mouth.asked


def test_results_of_other_benchmarks_stay(evaluated, shared_config, tmp_path):
    evaluated("run", _Mouth())
    path = tmp_path / "run" / "eval" / "fixed-4" / "predictions.jsonl"
    before = path.read_text()
    path.write_text(before.replace('"world_image"', '"of_before"'))
    after = evaluated("run", _Mouth())["predictions.jsonl"].decode()
    assert after.count('"of_before"') == before.count('"world_image"')
    assert after.count('"world_image"') == before.count('"world_image"')


# ── Subsets, controls, sweeps. ──────────────────────────────────────────────────────────────────


def test_subsets_and_controls_lie_beside_the_score(evaluated, tmp_path, caplog):
    score = evaluated("run", _Mouth())
    evaluated("run", _Mouth(), limit=3)
    caplog.set_level("INFO")
    assert evaluated("run", _Mouth(), control="no_visual") == score
    folder = tmp_path / "run" / "eval" / "fixed-4"
    few = BenchmarkResult.load(folder / "limit-3" / "world_video.json")
    whole = BenchmarkResult.load(folder / "world_video.json")
    assert 3 <= few.n + few.masked < whole.n
    assert few.provenance.settings["limit"] == 3
    assert "limit" not in whole.provenance.settings
    found = read_controls(folder, "world_video")
    assert found.keys() == {"no_visual"} and found["no_visual"].n == whole.n
    assert found["no_visual"].provenance.settings["control"] == "no_visual"
    assert "world_video: 0.0 %; reading the text alone 0.0 %" in caplog.text


def test_one_frame_is_asked_under_few_frames_and_pictures_not_at_all(evaluated, tmp_path):
    evaluated("run", _Mouth(), control="one_frame")
    folder = tmp_path / "run" / "eval" / "fixed-4" / "one_frame"
    assert [path.name for path in folder.glob("*.json")] == ["world_video.json"]
    found = BenchmarkResult.load(folder / "world_video.json")
    assert found.provenance.frame_policy == {"kind": "fixed", "frames": 2}


def test_several_frame_policies_have_results_of_their_own(evaluated, tmp_path, monkeypatch):
    evaluated("run", _Mouth())  # leaves what answers
    config = evaluated.config.copy_and_resolve_references()
    config.eval.frames = "checkpoint+2+config+8+2"
    config.frames = ConfigDict({"kind": "fixed", "frames": 4})
    monkeypatch.setattr(evaluate, "load_model", lambda _: evaluated.model)
    monkeypatch.setattr(evaluate, "check_before_evaluation", lambda _: None)
    found = evaluate_policies(Run(config, tmp_path / "sweep"))
    # The model was imported, so that the checkpoint's policy is the config's.
    written = {p.parent.name: p for p in (tmp_path / "sweep").glob("eval/*/world_video.json")}
    assert set(written) == {"fixed-2", "fixed-4", "fixed-8"}
    assert [set(results) for results in found[:2]] == [
        {"world_image", "world_video"},
        {"world_video"},
    ]
    assert len(list((tmp_path / "sweep").glob("eval/*/world_image.json"))) == 1
