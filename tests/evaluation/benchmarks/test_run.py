"""All official benchmarks from a config line to numbers, on tiny files and a tiny model."""

import math
from collections import Counter
from pathlib import Path

import jax
import pytest
from flax import nnx
from ml_collections import ConfigDict

from configs import common
from evaluation.benchmarks import BENCHMARKS
from evaluation.evaluate import evaluate_checkpoint
from evaluation.results import BenchmarkResult, read_predictions
from tests.evaluation.benchmarks.official_files import WRITERS
from vsft_jax.config import Run
from vsft_jax.inference import LoadedModel
from vsft_jax.sharding import make_mesh


def _untrained(run: Run) -> LoadedModel:
    mesh = make_mesh(run.config.mesh)
    with jax.set_mesh(mesh):
        graphdef, params = nnx.split(run.family.model(run.model_config, rngs=nnx.Rngs(0)))
    return LoadedModel(
        graphdef=graphdef,
        params=params,
        mesh=mesh,
        tokenizer=run.tokenizer,
        frame_policy=None,
        step=0,
        trained_config={},
        source=Path(),
    )


def test_every_benchmark_has_a_word_of_the_command_line_with_all_its_options():
    known = {entry["official"] for entry in common.OFFICIAL.values()}
    assert known == set(BENCHMARKS) == set(WRITERS)
    for word, entry in common.OFFICIAL.items():
        benchmark = BENCHMARKS[entry["official"]]
        assert entry["modality"] == benchmark.modality
        assert entry["options"].keys() == benchmark.options.keys(), word
        for key, value in entry["options"].items():
            assert value in benchmark.options[key]
        if word == benchmark.name:
            assert all(entry["options"][k] == v[0] for k, v in benchmark.options.items())
    by_repository = common.official_benchmarks(
        "lmms-lab/Video-MME+pope+MME-Benchmarks/Video-MME-v2"
    )
    assert set(by_repository) == {"videomme", "pope", "videomme_v2"}
    with pytest.raises(ValueError, match="'mmee' is none of mme, "):
        common.official_benchmarks("pope+mmee")


def test_every_benchmark_from_its_official_files_to_its_numbers(
    shared_config, tmp_path, monkeypatch, one_device
):
    root = tmp_path / "official"
    for write, folder in WRITERS.values():
        (root / folder).mkdir(parents=True)
        write(root / folder)
    config = shared_config.copy_and_resolve_references()
    with config.unlocked():
        config.data.benchmarks = common.official_benchmarks("+".join(common.OFFICIAL))
        config.data.benchmark_root = str(root)
        config.data.index_dir = str(tmp_path / "index")
        config.frames = ConfigDict({"kind": "fixed", "frames": 4})
        config.layout.row_tokens = 1024
        config.eval.update(max_new_tokens=2, batch_rows=64)
    monkeypatch.setattr("evaluation.evaluate.load_model", _untrained)
    run = Run(config, tmp_path / "run")
    results = evaluate_checkpoint(run)
    assert set(results) == set(common.OFFICIAL)
    (predictions,) = (tmp_path / "run" / "eval").glob("*/predictions.jsonl")
    counted = Counter(each.benchmark for each in read_predictions(predictions))
    for name, result in results.items():
        assert BenchmarkResult.load(predictions.parent / f"{name}.json") == result
        assert result.masked == 0 and counted[name] == result.n
        assert result.metrics and all(math.isfinite(m.value) for m in result.metrics.values())
