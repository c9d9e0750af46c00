"""Evaluate a checkpoint: the same example → budget → layout → batch path as in training, then
generate and score."""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
from absl import logging
from ml_collections import ConfigDict

from evaluation.results import (
    PREDICTIONS_FILE,
    BenchmarkResult,
    Prediction,
    summarise,
    write_predictions,
)
from evaluation.scoring import score
from input_pipeline.examples import Example, MediaRef, Turn
from input_pipeline.frame_budget import spec_hash, spec_label
from input_pipeline.index.prepare import ExampleStore, lay_out
from input_pipeline.media.probe import kind_of_file
from input_pipeline.progress import Progress
from vsft_jax import experiment
from vsft_jax.inference.answer import Answer, LoadedModel, answer, generation_settings, load_model
from vsft_jax.sharding import batch_shards


def evaluate_checkpoint(
    config: ConfigDict, workdir: str | Path, *, frames: Mapping[str, Any] | None = None
) -> dict[str, BenchmarkResult]:
    """Scores the workdir's newest checkpoint, or without one the model of `config.model.path`, on
    every benchmark of the config.

    frames: a resolved frame-budget spec. By default the one stored in the checkpoint is applied,
    so that a model is evaluated with the budget it was trained with; `config.eval.frames =
    "config"` applies `config.frames` instead, and the results then carry both labels.
    Writes eval/<policy label>/<benchmark>.json and predictions.jsonl into the workdir.
    """
    workdir = Path(workdir).absolute()
    model = load_model(config, workdir)
    if frames is None:
        frames = chosen_frames(config, workdir, model)
    if model.step and spec_hash(frames) != spec_hash(model.frames):
        logging.info(
            "evaluating with %s, trained with %s", spec_label(frames), spec_label(model.frames)
        )
    return evaluate_model(config, workdir, model, frames)


def evaluate_model(
    config: ConfigDict, workdir: Path, model: LoadedModel, frames: Mapping[str, Any]
) -> dict[str, BenchmarkResult]:
    """Scores a model on every benchmark with a resolved frame-budget spec; writes the results."""
    label = spec_label(frames)
    prepared = experiment.prepare_benchmarks(config, workdir, frames)
    results, predictions = {}, []
    for name, path in prepared.paths.items():
        store = ExampleStore.open(path)
        start = time.monotonic()
        answered, failed = _predictions(config, model, name, store)
        seconds = time.monotonic() - start
        summary = prepared.summaries[name]
        results[name] = summarise(
            answered,
            benchmark=name,
            modality=config.data.benchmarks[name].modality,
            masked=failed + summary["left_out"] + sum(summary["quarantined"].values()),
            frame_policy=dict(frames),
            frame_policy_label=label,
            trained_with=spec_label(model.frames) if model.step else None,
            checkpoint={"step": model.step, "path": str(model.source)},
            examples_per_second=len(store) / seconds,
            config=model.saved_config,
            generation=generation_settings(config),
        )
        predictions += answered
    if jax.process_index() == 0:
        out = workdir / "eval" / label
        write_predictions(out / PREDICTIONS_FILE, predictions)
        for name, result in results.items():
            result.save(out / f"{name}.json")
            logging.info(
                "%s with %s: %.1f %% [%.1f, %.1f] of %d questions, %d unparsed, %d masked",
                *(name, label, 100 * result.score, 100 * result.low, 100 * result.high),
                *(result.n, result.unparsed, result.masked),
            )
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


def during_training(
    config: ConfigDict, workdir: str | Path
) -> Callable[[LoadedModel], dict[str, float]]:
    """What the training loop calls to evaluate: model → score by benchmark."""

    def evaluate(model: LoadedModel) -> dict[str, float]:
        results = evaluate_model(config, Path(workdir).absolute(), model, model.frames)
        return {f"eval/{name}": result.score for name, result in results.items()}

    return evaluate


def predict(
    config: ConfigDict, workdir: str | Path, prompt: str, media: Sequence[str]
) -> dict[str, Any]:
    """Answers one question about any media with the workdir's newest checkpoint, or without one
    the model of `config.model.path`.

    The frame budget is the checkpoint's policy, or else the config's, applied to this prompt.
    Returns JSON values: text, token_ids, token_logprobs, and for each medium its frame budget with
    the reason, the timestamps in seconds and the visual tokens. Raises ValueError naming what
    cannot be used.
    """
    model = load_model(config, workdir)
    config = config.copy_and_resolve_references()
    config.eval.batch_rows = batch_shards(model.mesh)  # no more rows than the devices ask for
    parts = tuple(MediaRef(kind_of_file(path), str(Path(path).absolute())) for path in media)
    example = Example("predict", "predict", (Turn("user", (*parts, prompt)),))
    spec = experiment.index_spec(config, workdir, model.frames)
    store = lay_out([example], spec, mode="prompt")
    (said,) = answer(config, model, store)
    if said.failure:
        raise ValueError(f"{said.failure['path']}: {said.failure['detail']}")
    layout = store[0][1]
    return {
        "text": said.text,
        "token_ids": said.token_ids,
        "token_logprobs": said.logprobs,
        "frame_policy": spec_label(model.frames),
        "frame_budget": store.why(0),
        "timestamps": [list(m.frame_times) for m in layout.media if m.kind == "video"],
        "visual_tokens": sum(m.tokens for m in layout.media),
    }


def _predictions(
    config: ConfigDict, model: LoadedModel, benchmark: str, store: ExampleStore
) -> tuple[list[Prediction], int]:
    """The answered questions in the benchmark's order, and how many could not be asked."""
    _check_questions(benchmark, store)
    found: dict[int, Prediction] = {}
    with Progress(f"evaluate {benchmark}", total=len(store), unit="questions") as progress:
        for said in answer(config, model, store):
            if said.failure is None:
                found[said.index] = _prediction(benchmark, store, said)
            progress.advance()
    return [found[i] for i in sorted(found)], len(store) - len(found)


def _check_questions(benchmark: str, store: ExampleStore) -> None:
    """Raises ConfigError naming a question that cannot be scored, before anything is generated."""
    for i in range(len(store)):
        example, _ = store[i]
        missing = [key for key in ("task", "format", "answer", "chance") if key not in example.meta]
        if missing:
            raise experiment.ConfigError(
                f"question {example.id!r} of config.data.benchmarks.{benchmark} has no "
                f"{', '.join(missing)}: docs/data.md says what a benchmark's records need"
            )


def _prediction(benchmark: str, store: ExampleStore, said: Answer) -> Prediction:
    example, layout = store[said.index]
    meta = example.meta
    scored = score(meta["format"], said.text, meta)
    return Prediction(
        id=example.id,
        benchmark=benchmark,
        task=meta["task"],
        format=meta["format"],
        frames=int(store.budgets[said.index]) or None,
        why=store.why(said.index),
        prediction=said.text,
        answer=meta["answer"],
        score=scored.score,
        parsed=scored.parsed,
        visual_tokens=sum(m.tokens for m in layout.media),
        chance=meta["chance"],
    )
