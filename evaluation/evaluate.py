"""Evaluate a model: the same example → budget → layout → batch path as in training, then generate
and score."""

import contextlib
import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from absl import logging

from evaluation import provenance
from evaluation.benchmarks import official_metrics, write_official
from evaluation.journal import Appended, Reply, journal_path, resume
from evaluation.results import (
    BenchmarkResult,
    Prediction,
    Provenance,
    evaluation_folder,
    save_results,
    summarise,
)
from evaluation.scoring import score
from input_pipeline.examples import Example, MediaRef
from input_pipeline.frame_budget import canonical_spec, spec_hash, spec_label
from input_pipeline.index import DatasetSpec, ExampleStore
from input_pipeline.layout import ExampleLayout
from input_pipeline.progress import Progress
from vsft_jax.config import Run, check_before_evaluation
from vsft_jax.errors import ConfigError
from vsft_jax.inference import LoadedModel, answer, generation_settings, load_model
from vsft_jax.prepare import prepare_benchmarks, resolve_frame_policy
from vsft_jax.processes import first_finds, is_first
from vsft_jax.workdir_lock import working_in


def evaluate_checkpoint(
    run: Run, frame_policy: Mapping[str, Any] | None = None
) -> dict[str, BenchmarkResult]:
    """Scores the workdir's newest checkpoint, or without one the model of `config.model.path`, on
    every benchmark of the config.

    frame_policy: a resolved frame-budget spec. By default the one stored in the checkpoint is
    applied, so that a model is evaluated with the budget it was trained with; `config.eval.frames =
    "config"` applies `config.frames` instead, and the results then carry both.
    Writes eval/<policy label>/<benchmark>.json and predictions.jsonl into the workdir; see
    `evaluate_model`.
    """
    write_official(run)
    check_before_evaluation(run)
    model = load_model(run)
    if frame_policy is None:
        frame_policy = chosen_frame_policy(run, model)
    trained = model.frame_policy
    if trained and spec_hash(frame_policy) != spec_hash(trained):
        logging.info(
            "evaluating with %s, trained with %s", *map(spec_label, (frame_policy, trained))
        )
    return evaluate_model(run, model, frame_policy)


def evaluate_model(
    run: Run, model: LoadedModel, frame_policy: Mapping[str, Any]
) -> dict[str, BenchmarkResult]:
    """Scores a model on every benchmark with a resolved frame-budget spec.

    Answers are kept as they come, and a benchmark's results when it ends: an evaluation that was
    interrupted goes on where it stopped, and finds the same. Raises ConfigError naming a question
    that cannot be scored, before anything is generated, and WorkdirInUse where another evaluation
    writes into the same folder.
    """
    prepared = prepare_benchmarks(run, frame_policy)
    stores = prepared.stores()
    for dataset in run.benchmarks:
        check_questions(dataset, stores[dataset.name])
    folder = evaluation_folder(run.workdir, frame_policy)
    results = {}
    with working_in(folder, "evaluate"):
        for dataset in run.benchmarks:
            name, store = dataset.name, stores[dataset.name]
            made_with = Provenance(
                frame_policy=dict(frame_policy),
                trained_with=spec_label(model.frame_policy) if model.frame_policy else None,
                checkpoint=provenance.checkpoint(model),
                config=model.trained_config,
                generation=generation_settings(run.config),
                media_root=dataset.media_root,
                settings=provenance.settings(run, store),
                software=provenance.software(),
            )
            predictions = _predictions(run, model, name, store, made_with, folder)
            summary = prepared.summaries[name]
            left_out = summary["left_out"] + sum(summary["quarantined"].values())
            results[name] = summarise(
                predictions,
                benchmark=name,
                modality=run.config.data.benchmarks[name].modality,
                masked=len(store) - len(predictions) + left_out,
                provenance=made_with,
                metrics=official_metrics(run, name, predictions),
            )
            if is_first():
                save_results(folder, [results[name]], predictions)
                _log(results[name])
    return results


def _log(result: BenchmarkResult) -> None:
    logging.info(
        "%s with %s: %.1f %% [%.1f, %.1f] of %d questions, %d unparsed, %d masked",
        *(result.benchmark, result.provenance.frame_policy_label),
        *(100 * result.score, 100 * result.low, 100 * result.high),
        *(result.n, result.unparsed, result.masked),
    )
    if result.metrics:
        numbers = (f"{key} {each.value:.1f}" for key, each in result.metrics.items())
        logging.info("%s, official: %s", result.benchmark, ", ".join(numbers))


def chosen_frame_policy(run: Run, model: LoadedModel) -> dict[str, Any]:
    """The frame-budget spec that `config.eval.frames` asks for: the checkpoint's, or the config's,
    which is also that of an imported model."""
    if run.config.eval.frames == "checkpoint" and model.frame_policy is not None:
        return model.frame_policy
    return resolve_frame_policy(run)


def during_training(run: Run) -> Callable[[LoadedModel], dict[str, float]]:
    """What the training loop calls to evaluate: model → score by benchmark.

    Raises ConfigError, before any step is taken, where `config.train.evaluate_every` asks for
    evaluations and a question cannot be scored.
    """
    if run.config.train.evaluate_every:
        check_benchmarks(run)

    def evaluate(model: LoadedModel) -> dict[str, float]:
        assert model.frame_policy is not None, "a model in training has a frame policy"
        results = evaluate_model(run, model, model.frame_policy)
        return {f"eval/{name}": result.score for name, result in results.items()}

    return evaluate


def check_benchmarks(run: Run) -> None:
    """Prepares the benchmarks and checks every question of them, see `check_questions`."""
    write_official(run)
    stores = prepare_benchmarks(run, resolve_frame_policy(run)).stores()
    for dataset in run.benchmarks:
        check_questions(dataset, stores[dataset.name])


def check_questions(dataset: DatasetSpec, store: ExampleStore) -> None:
    """Raises ConfigError naming the first question of a prepared benchmark that cannot be scored,
    or that is scored as right with nothing said."""
    for i in range(len(store)):
        example, _ = store[i]
        where = f"{dataset.annotations}: question {example.id!r}"
        needs = f"config.data.benchmarks.{dataset.name}: docs/data.md says what records need"
        missing = [key for key in ("task", "format", "answer", "chance") if key not in example.meta]
        if missing:
            raise ConfigError(f"{where} has no {', '.join(missing)}; {needs}")
        chance = example.meta["chance"]
        if isinstance(chance, bool) or not isinstance(chance, int | float) or not 0 <= chance <= 1:
            raise ConfigError(f"{where} has the chance {chance!r}, not a number 0..1; {needs}")
        try:
            silent = score(example.meta["format"], "", example.meta).score
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"{where} cannot be scored: {error}; {needs}") from error
        if silent > 0:
            raise ConfigError(f"{where} is answered by saying nothing: look at its 'answer'")


def _predictions(
    run: Run,
    model: LoadedModel,
    benchmark: str,
    store: ExampleStore,
    made_with: Provenance,
    folder: Path,
) -> list[Prediction]:
    """The answered questions in the benchmark's order; those that could not be asked are left
    out."""
    path = journal_path(folder, benchmark)
    names = [store[i][0].id for i in range(len(store))]
    replies = first_finds(lambda: _known(path, made_with, names))
    done = [i for i, name in enumerate(names) if name in replies]
    with contextlib.ExitStack() as stack:
        progress = stack.enter_context(
            Progress(f"evaluate {benchmark}", len(store), unit="questions", done=len(done))
        )
        keep = stack.enter_context(Appended(path)) if is_first() else None
        for said in answer(run, model, store, answered=done, many=True):
            name = names[said.index]
            if name in replies:
                continue
            failure = f"{said.failure['reason']}: {said.failure['path']}" if said.failure else ""
            text = "" if failure else said.text
            replies[name] = dataclasses.asdict(Reply(name, text, failure))
            if keep:
                keep(Reply(**replies[name]))
            progress.advance()
    return [
        _prediction(benchmark, store, i, replies[name]["text"], made_with.media_root)
        for i, name in enumerate(names)
        if not replies[name]["failure"]
    ]


def _known(path: Path, made_with: Provenance, names: list[str]) -> dict[str, dict[str, str]]:
    """The answers that an earlier evaluation left, as JSON values. A model that cannot be told from
    another one, as in training before a step is saved, is asked anew."""
    if made_with.checkpoint["fingerprint"] is None:
        path.unlink(missing_ok=True)
    asked = {
        "checkpoint": [made_with.checkpoint[key] for key in ("step", "fingerprint")],
        "frame_policy": canonical_spec(made_with.frame_policy),
        "generation": made_with.generation,
        **{key: value for key, value in (made_with.settings or {}).items() if key != "scorer"},
    }
    return {name: dataclasses.asdict(each) for name, each in resume(path, asked, names).items()}


def _prediction(
    benchmark: str, store: ExampleStore, index: int, text: str, media_root: str
) -> Prediction:
    example, layout = store[index]
    meta = example.meta
    scored = score(meta["format"], text, meta)
    return Prediction(
        id=example.id,
        benchmark=benchmark,
        task=meta["task"],
        format=meta["format"],
        frames=int(store.budgets[index]) or None,
        why=store.why(index),
        prediction=text,
        answer=meta["answer"],
        score=scored.score,
        parsed=scored.parsed,
        visual_tokens=sum(m.tokens for m in layout.media),
        chance=meta["chance"],
        cluster=_cluster(example),
        frame_times=_frame_times(layout),
        question=example.words,
        media=[_from_root(ref, media_root).to_json() for ref in example.media],
    )


def _cluster(example: Example) -> str:
    """The clip or picture that a question is about, or what its record calls that. Clips of one
    video are one."""
    return str(example.meta.get("cluster") or "\n".join(ref.path for ref in example.media))


def _from_root(ref: MediaRef, root: str) -> MediaRef:
    """A medium as its record has it, where it lies below the media root."""
    return dataclasses.replace(ref, path=ref.path.removeprefix(f"{root.rstrip('/')}/"))


def _frame_times(layout: ExampleLayout) -> list[list[float]] | None:
    """Seconds, to the millisecond, of the frames shown of each video; None without one."""
    clips = [medium.frame_times for medium in layout.media if medium.kind == "video"]
    return [[round(time, 3) for time in times] for times in clips] or None
