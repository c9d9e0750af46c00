"""Evaluate a checkpoint: the same example → budget → layout → batch path as in training, then
generate and score."""

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import logging
from ml_collections import ConfigDict

from evaluation.results import BenchmarkResult, save_predictions, save_result, summarise
from evaluation.scoring import score
from input_pipeline.examples import Example
from input_pipeline.frame_budget import spec_hash, spec_label
from input_pipeline.index import ExampleStore
from input_pipeline.progress import Progress
from vsft_jax import experiment
from vsft_jax.inference import LoadedModel, answer, load_model


def evaluate_checkpoint(
    config: ConfigDict, workdir: str | Path, *, frames: Mapping[str, Any] | None = None
) -> dict[str, BenchmarkResult]:
    """Scores the workdir's newest checkpoint on every benchmark of the config.

    frames: a resolved frame-budget spec. By default the one stored in the checkpoint is applied,
    so that a model is evaluated with the budget it was trained with; `config.eval.frames =
    "config"` applies `config.frames` instead, and the results then carry both labels.
    Writes eval/<policy label>/<benchmark>.json and predictions.jsonl into the workdir.
    """
    workdir = Path(workdir).absolute()
    model = load_model(config, workdir)
    if frames is None:
        frames = chosen_frames(config, workdir, model)
    label = spec_label(frames)
    if spec_hash(frames) != spec_hash(model.frames):
        logging.info("evaluating with %s, trained with %s", label, spec_label(model.frames))
    prepared = experiment.prepare_benchmarks(config, workdir, frames)
    out = workdir / "eval" / label
    results, records = {}, []
    for name, path in prepared.paths.items():
        start = time.monotonic()
        rows = list(_records(config, model, name, ExampleStore.open(path)))
        seconds = time.monotonic() - start
        left_out = sum(prepared.summaries[name]["quarantined"].values())
        results[name] = summarise(
            rows,
            benchmark=name,
            modality=config.data.benchmarks[name].modality,
            frame_policy=dict(frames),
            trained_with=spec_label(model.frames),
            checkpoint={"step": model.step, "path": str(workdir)},
            examples_per_second=len(rows) / seconds,
            config=model.config,
            left_out=left_out,
        )
        records += rows
    if jax.process_index() == 0:
        save_predictions(out / "predictions.jsonl", records)
        for name, result in results.items():
            save_result(out / f"{name}.json", result)
            logging.info("%s, %s: %s", name, label, result.headline())
    return results


def chosen_frames(config: ConfigDict, workdir: Path, model: LoadedModel) -> dict[str, Any]:
    """The frame-budget spec that `config.eval.frames` asks for."""
    if config.eval.frames == "checkpoint":
        return model.frames
    if config.eval.frames == "config":
        return experiment.resolve_frames(config, workdir)
    raise experiment.ConfigError(
        f'config.eval.frames = {config.eval.frames!r}: expected "checkpoint" or "config"'
    )


def _records(
    config: ConfigDict, model: LoadedModel, benchmark: str, store: ExampleStore
) -> Iterator[dict[str, Any]]:
    """One record for each question, in the order of the benchmark."""
    found: dict[int, dict[str, Any]] = {}
    with Progress(f"evaluate {benchmark}", total=len(store), unit="questions") as progress:
        for i, generated in answer(config, model, store):
            example, layout = store[i]
            found[i] = _record(benchmark, example, generated) | {
                "frames": int(store.budgets[i]) or None,
                "why": store.why(i),
                "visual_tokens": sum(m.tokens for m in layout.media),
            }
            progress.advance()
    return (found[i] for i in sorted(found))


def _record(benchmark: str, example: Example, generated) -> dict[str, Any]:
    meta = example.meta
    # A question whose media could not be decoded has no answer: it scores zero and is counted.
    scored = score(meta["format"], generated.text, meta)
    return {
        "id": example.id,
        "benchmark": benchmark,
        "task": meta["task"],
        "format": meta["format"],
        "chance": meta["chance"],
        "prediction": generated.text,
        "answer": meta["answer"],
        "score": 0.0 if generated.masked else scored.score,
        "parsed": scored.parsed and not generated.masked,
        "masked": generated.masked,
        "mean_logprob": float(np.mean(generated.logprobs)) if len(generated.logprobs) else None,
    }
