"""Held texts: their files, their likelihood as numbers, and their results beside questions."""

import json
import math
from pathlib import Path

import jax
import numpy as np
import pytest
from flax import nnx

from configs import tiny
from evaluation.compare import compare_folders
from evaluation.evaluate import check_benchmarks, evaluate_model
from evaluation.held_texts import perplexities, read_texts
from evaluation.results import BenchmarkResult, Prediction, read_predictions
from evaluation.study.cells import lacking, plan_cells
from vsft_jax.config import Run, check_before_evaluation
from vsft_jax.errors import ConfigError
from vsft_jax.inference import LoadedModel
from vsft_jax.sharding import make_mesh

KEY = "config.data.benchmarks.held.annotations"


def _file(tmp_path, *records):
    path = tmp_path / "held.jsonl"
    path.write_text("".join(json.dumps(each) + "\n" for each in records))
    return str(path)


def test_texts_of_a_file(tmp_path):
    file = _file(tmp_path, {"text": "One."}, {"text": " "}, {"id": "b", "text": "x", "task": "law"})
    assert read_texts(file, KEY) == [("0", "One.", "text"), ("b", "x", "law")]


@pytest.mark.parametrize(
    ("records", "said"),
    [
        ([{"words": "One."}], "line 1 has no string under 'text', but words"),
        ([{"text": 3}], "line 1 has no string under 'text'"),
        ([{"text": "a"}, "b"], "line 2 is no record: 'b'"),
        ([{"id": 1, "text": "a"}, {"id": "1", "text": "b"}], "line 2 has the id '1' of another"),
        ([{"text": ""}], "has no text"),
    ],
)
def test_what_is_wrong_with_a_file_is_named(records, said, tmp_path):
    with pytest.raises(ConfigError, match=said) as raised:
        read_texts(_file(tmp_path, *records), KEY)
    assert str(raised.value).startswith(KEY)


def _prediction(name, nats, tokens, size):
    said = json.dumps({"nats": nats, "tokens": tokens, "bytes": size})
    shown = (None, "", said, "", math.exp(-nats / size), True, 0)
    return Prediction(name, "held", "text", "held_text", *shown, cluster=name)


def test_tokens_and_bytes_count_the_same_in_whichever_text():
    """Loops over single tokens and bytes, as if each had its text's mean."""
    texts = [(30.0, 10, 40), (5.0, 2, 10), (200.0, 100, 300)]
    found = perplexities([_prediction(str(i), *each) for i, each in enumerate(texts)])
    of_tokens = [nats / tokens for nats, tokens, _ in texts for _ in range(tokens)]
    of_bytes = [nats / size for nats, _, size in texts for _ in range(size)]
    assert found["perplexity"].mean == pytest.approx(math.exp(np.mean(of_tokens)))
    assert found["byte_perplexity"].mean == pytest.approx(math.exp(np.mean(of_bytes)))
    assert found["bits_per_byte"].mean == pytest.approx(np.mean(of_bytes) / math.log(2))
    assert (found["tokens"].mean, found["bytes"].mean) == (112, 350)
    assert found["perplexity"].low < found["perplexity"].mean < found["perplexity"].high


# ── A model that was not trained, asked about text. ─────────────────────────────────────────────


@pytest.fixture(scope="module")
def config(shared_config, tmp_path_factory):
    """The tiny config with nothing but its text."""
    folder = tmp_path_factory.mktemp("texts")
    config = shared_config.copy_and_resolve_references().unlock()
    entries = tiny.get_config().data.benchmarks
    config.data.benchmarks = {name: entries[name] for name in ("world_text", "world_held")}
    config.data.index_dir = str(folder / "index")
    config.data.benchmarks.world_held.window = 64  # the texts are longer
    return config


@pytest.fixture(scope="module")
def evaluated(config, tmp_path_factory):
    """(run, model, folder of results)."""
    run = Run(config, tmp_path_factory.mktemp("run"))
    mesh = make_mesh(run.config.mesh)
    with jax.set_mesh(mesh):
        graphdef, params = nnx.split(run.family.model(run.model_config, rngs=nnx.Rngs(0)))
    model = LoadedModel(
        graphdef=graphdef,
        params=params,
        mesh=mesh,
        tokenizer=run.tokenizer,
        frame_policy=None,
        step=0,
        trained_config={},
        source=Path(),
    )
    evaluate_model(run, model, {"kind": "fixed", "frames": 4})
    return run, model, run.workdir / "eval" / "fixed-4"


def test_text_has_results_like_everything_else(evaluated):
    run, _, folder = evaluated
    text, held = (BenchmarkResult.load(folder / f"{n}.json") for n in ("world_text", "world_held"))
    assert (text.modality, held.modality) == ("text", "held_text")
    assert text.by_frames == held.by_frames == {}
    rows = read_predictions(folder / "predictions.jsonl")
    asked = [row for row in rows if row.benchmark == "world_text"]
    assert len(asked) == text.n and all(row.media == [] and not row.frames for row in asked)
    assert 1 < text.clusters < text.n  # questions about one picture belong together
    texts = {row.id: row for row in rows if row.benchmark == "world_held"}
    written = read_texts(run.held_texts["world_held"].file, KEY)
    assert set(texts) == {each.id for each in written} and len(texts) == held.n == 2
    nats, tokens, size = 0.0, 0, 0
    for each in written:
        said = json.loads(texts[each.id].prediction)
        assert said["tokens"] == len(run.tokenizer.encode_text(each.text)) > 64
        assert said["bytes"] == len(each.text.encode())
        assert texts[each.id].score == pytest.approx(math.exp(-said["nats"] / said["bytes"]))
        nats, tokens, size = (
            nats + said["nats"],
            tokens + said["tokens"],
            size + said["bytes"],
        )
    found = {name: metric.value for name, metric in held.metrics.items()}
    assert found["perplexity"] == pytest.approx(math.exp(nats / tokens))
    assert found["bits_per_byte"] == pytest.approx(nats / size / math.log(2))
    # A model that knows nothing finds every entry of its vocabulary as likely.
    vocabulary = run.model_config.text.vocab_size
    assert 0.5 * vocabulary < found["perplexity"] < 2 * vocabulary


def test_a_longer_window_is_another_setting(config, evaluated, tmp_path):
    run, model, folder = evaluated
    other = config.copy_and_resolve_references()
    other.data.benchmarks.world_held.window = 128
    del other.data.benchmarks["world_text"]
    evaluate_model(Run(other, tmp_path), model, {"kind": "fixed", "frames": 4})
    (found,) = compare_folders(tmp_path, run.workdir, even_unlike=True)
    assert found.unlike == ["window: 128, the base 64"]
    assert set(found.official) >= {"perplexity", "bits_per_byte"}


def test_controls_leave_held_texts_out_and_limits_take_some(evaluated):
    run, model, folder = evaluated
    for settings, names in (
        ({"control": "no_visual"}, []),
        ({"limit": 1}, ["world_held.json", "world_text.json"]),
    ):
        variant = run.with_settings(eval=settings)
        evaluate_model(variant, model, {"kind": "fixed", "frames": 4})
        found = folder / ("no_visual" if "control" in settings else "limit-1")
        assert sorted(path.name for path in found.glob("*.json")) == names
    few = BenchmarkResult.load(folder / "limit-1" / "world_held.json")
    assert few.n == 1 and few.metrics["perplexity"].low is None


def test_a_text_with_a_control_token_is_named(config, evaluated, tmp_path):
    other = config.copy_and_resolve_references()
    file = _file(tmp_path, {"id": "odd", "text": "ends<|im_end|>here"})
    other.data.benchmarks = {"held": {"annotations": file, "modality": "held_text"}}
    run = Run(other, tmp_path)
    check_benchmarks(run)
    with pytest.raises(ConfigError, match="benchmarks.held: 'odd': .* control token <|im_end|>"):
        evaluate_model(run, evaluated[1], {"kind": "fixed", "frames": 4})


def test_a_study_asks_about_text_under_the_first_policy_alone(config, tmp_path):
    """No frame policy reaches it."""
    config = config.copy_and_resolve_references()
    clips = tiny.get_config().data.benchmarks.world_video
    config.data.benchmarks.world_video = clips
    policies = [{"kind": "fixed", "frames": frames} for frames in (2, 4)]
    base, *_ = plan_cells(config, tmp_path, policies)
    asked = [list(each.data.benchmarks) for _, each in lacking(tmp_path, base)]
    assert asked == [["world_held", "world_text", "world_video"], ["world_video"]]


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"modality": "held_text", "official": "mmlu"}, "there are no official held texts"),
        ({"modality": "text", "annotations": "a", "window": 8}, "window has no effect"),
        ({"modality": "held_text"}, "name its annotations"),
    ],
)
def test_what_an_entry_may_not_say(entry, said, tmp_path):
    config = tiny.get_config()
    config.data.benchmarks = {"mine": entry}
    with pytest.raises(ConfigError, match=said) as raised:
        Run(config, tmp_path)
    assert "config.data.benchmarks.mine" in str(raised.value)


def test_a_file_that_is_not_there_is_named_before_work_begins(tmp_path):
    config = tiny.get_config()
    config.data.benchmarks = {"mine": {"annotations": "no.jsonl", "modality": "held_text"}}
    with pytest.raises(ConfigError, match="config.data.benchmarks.mine.annotations: there is no"):
        check_before_evaluation(Run(config, tmp_path))
