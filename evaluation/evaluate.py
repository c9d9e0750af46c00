"""Evaluate a model: the same example → budget → layout → batch path as in training, then generate
and score."""

import contextlib
import dataclasses
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import logging

from evaluation import provenance
from evaluation.asked import Asked, asked_of, cluster_of
from evaluation.benchmarks import official_metrics, write_official
from evaluation.held_texts import evaluate_texts, read_texts
from evaluation.journal import Appended, Reply, journal_path, resume
from evaluation.results import (
    CONTROLS,
    BenchmarkResult,
    Prediction,
    Provenance,
    evaluation_folder,
    read_controls,
    save_results,
    summarise,
)
from evaluation.scoring import score
from input_pipeline.batches.rows import Item
from input_pipeline.examples import Example, MediaRef
from input_pipeline.frame_budget import canonical_spec, spec_hash, spec_label
from input_pipeline.index import DatasetSpec, ExampleStore
from input_pipeline.layout import ExampleLayout
from input_pipeline.progress import Progress
from vsft_jax.config import Run, check_before_evaluation
from vsft_jax.errors import ConfigError
from vsft_jax.inference import (
    Answer,
    LoadedModel,
    answer,
    generation_settings,
    load_model,
    option_tokens,
)
from vsft_jax.prepare import prepare_benchmarks, resolve_frame_policy
from vsft_jax.processes import first_finds, is_first
from vsft_jax.workdir_lock import working_in


def evaluate_policies(run: Run) -> list[dict[str, BenchmarkResult]]:
    """The evaluate job: `evaluate_model` under every frame policy that `config.eval.frames` names.

    What no frame policy reaches, pictures and text, is asked about under the first one only.
    """
    write_official(run)
    check_before_evaluation(run)
    model = load_model(run)
    first, *others = frame_policies(run, model)
    found = [evaluate_model(run, model, first)]
    clips = [name for name, e in run.config.data.benchmarks.items() if e.modality == "video"]
    return found + [evaluate_model(run, model, policy, clips) for policy in others]


def evaluate_checkpoint(
    run: Run, frame_policy: Mapping[str, Any] | None = None
) -> dict[str, BenchmarkResult]:
    """Scores the workdir's newest checkpoint, or without one the model of `config.model.path`, on
    every benchmark of the config.

    frame_policy: a resolved frame-budget spec; by default the first of `frame_policies`. Writes
    eval/<policy label>/<benchmark>.json and predictions.jsonl into the workdir; see
    `evaluate_model`.
    """
    write_official(run)
    check_before_evaluation(run)
    model = load_model(run)
    return evaluate_model(run, model, frame_policy or frame_policies(run, model)[0])


def evaluate_model(
    run: Run,
    model: LoadedModel,
    frame_policy: Mapping[str, Any],
    benchmarks: Collection[str] | None = None,
) -> dict[str, BenchmarkResult]:
    """Scores a model with a resolved frame-budget spec, under `config.eval.control` and on
    `config.eval.limit` questions of each benchmark.

    benchmarks: names of those that are asked, by default all of the config. Answers are kept as
    they come, and a benchmark's results when it ends: an evaluation that was interrupted goes on
    where it stopped, and finds the same. Raises ConfigError naming a question that cannot be
    scored, before anything is generated, and WorkdirInUse where another evaluation writes into the
    same folder.
    """
    if model.frame_policy and spec_hash(frame_policy) != spec_hash(model.frame_policy):
        labels = map(spec_label, (frame_policy, model.frame_policy))
        logging.info("evaluating with %s, trained with %s", *labels)
    control = run.config.eval.control
    shown = frame_policy
    if control == "one_frame":
        shown = {"kind": "fixed", "frames": run.layout.min_frames}
    prepared = prepare_benchmarks(run, shown)
    stores = prepared.stores()
    for dataset in run.benchmarks:
        check_questions(run, dataset, stores[dataset.name])
    folder = evaluation_folder(run.workdir, frame_policy) / _variant(run)
    results = {}
    with working_in(folder, "evaluate"):
        for dataset in run.benchmarks:
            name = dataset.name
            if benchmarks is not None and name not in benchmarks:
                continue
            asked = asked_of(run, stores[name])
            if not asked.items:
                logging.info("%s: none of its questions changes under %s", name, control)
                continue
            made_with = dataclasses.replace(
                _made_with(run, model, shown),
                generation=generation_settings(run.config),
                media_root=dataset.media_root,
                settings=provenance.settings(run, asked.items),
            )
            predictions = _predictions(run, model, name, asked, made_with, folder)
            summary = prepared.summaries[name]
            left_out = summary["left_out"] + sum(summary["quarantined"].values())
            results[name] = summarise(
                predictions,
                benchmark=name,
                modality=run.config.data.benchmarks[name].modality,
                masked=len(asked.items) - len(predictions) + left_out,
                provenance=made_with,
                # Whose answers stand in the official files.
                metrics={}
                if control == "shuffled_options"
                else official_metrics(run, name, predictions),
            )
            _keep(run, folder, results[name], predictions)
        for name in run.held_texts if not control else ():
            if benchmarks is None or name in benchmarks:
                made_with = _made_with(run, model, shown)
                results[name], predictions = evaluate_texts(run, model, name, made_with)
                _keep(run, folder, results[name], predictions)
    return results


def _made_with(run: Run, model: LoadedModel, shown: Mapping[str, Any]) -> Provenance:
    """What holds for all benchmarks of an evaluation. shown: a frame policy."""
    return Provenance(
        frame_policy=dict(shown),
        trained_with=spec_label(model.frame_policy) if model.frame_policy else None,
        checkpoint=provenance.checkpoint(model),
        config=model.trained_config,
        software=provenance.software(),
    )


def _keep(
    run: Run, folder: Path, result: BenchmarkResult, predictions: Sequence[Prediction]
) -> None:
    """Writes and logs what was found of a benchmark."""
    if is_first():
        save_results(folder, [result], predictions)
        _log(result, _variant(run))
        _log_controls(folder.parent if _variant(run) else folder, result.benchmark)


def _variant(run: Run) -> str:
    """The folder of results that are not the score: "no_visual", "limit-200"; "" for the score."""
    settings = run.config.eval
    limit = f"limit-{settings.limit}" if settings.limit else ""
    return "-".join(filter(None, (settings.control, limit)))


def _log(result: BenchmarkResult, variant: str) -> None:
    if result.modality == "held_text":
        found = {key: metric.value for key, metric in result.metrics.items()}
        logging.info(
            "%s%s: perplexity %.2f a token, %.4f bits a byte, of %d tokens in %d texts",
            *(result.benchmark, variant and f" ({variant})", found["perplexity"]),
            *(found["bits_per_byte"], found["tokens"], result.n),
        )
        return
    logging.info(
        "%s with %s%s: %.1f %% [%.1f, %.1f] of %d questions, %d unparsed, %d masked",
        *(result.benchmark, result.provenance.frame_policy_label, variant and f" ({variant})"),
        *(100 * result.score, 100 * result.low, 100 * result.high),
        *(result.n, result.unparsed, result.masked),
    )
    if result.metrics:
        numbers = (f"{key} {each.value:.1f}" for key, each in result.metrics.items())
        logging.info("%s, official: %s", result.benchmark, ", ".join(numbers))


def _log_controls(folder: Path, benchmark: str) -> None:
    """The score beside what its controls found, where there are any."""
    found = read_controls(folder, benchmark)
    path = folder / f"{benchmark}.json"
    if found and path.exists():
        score = BenchmarkResult.load(path).score
        beside = (f"{CONTROLS[name]} {100 * r.score:.1f} %" for name, r in found.items())
        logging.info("%s: %.1f %%; %s", benchmark, 100 * score, ", ".join(beside))


def frame_policies(run: Run, model: LoadedModel) -> list[dict[str, Any]]:
    """The resolved frame-budget specs that `config.eval.frames` asks for: the checkpoint's, or that
    of the config, which is also that of an imported model; or numbers of frames. Each once."""
    found: dict[str, dict[str, Any]] = {}
    for word in run.config.eval.frames.split("+"):
        if word.isdecimal():
            policy = {"kind": "fixed", "frames": int(word)}
        elif word == "checkpoint" and model.frame_policy is not None:
            policy = model.frame_policy
        else:
            policy = resolve_frame_policy(run)
        found.setdefault(spec_hash(policy), policy)
    return list(found.values())


def during_training(run: Run) -> Callable[[LoadedModel], dict[str, float]]:
    """What the training loop calls to evaluate: model → score by benchmark, on
    `config.train.evaluate_limit` questions of each.

    Raises ConfigError, before any step is taken, where `config.train.evaluate_every` asks for
    evaluations and a question cannot be scored.
    """
    if run.config.train.evaluate_every:
        check_benchmarks(run)
    limited = run.with_settings(eval={"limit": run.config.train.evaluate_limit, "control": ""})

    def evaluate(model: LoadedModel) -> dict[str, float]:
        assert model.frame_policy is not None, "a model in training has a frame policy"
        results = evaluate_model(limited, model, model.frame_policy)
        return {f"eval/{name}": result.score for name, result in results.items()}

    return evaluate


def check_benchmarks(run: Run) -> None:
    """Prepares the benchmarks and checks every question of them, see `check_questions`; reads held
    texts."""
    write_official(run)
    stores = prepare_benchmarks(run, resolve_frame_policy(run)).stores()
    for dataset in run.benchmarks:
        check_questions(run, dataset, stores[dataset.name])
    for name, held in run.held_texts.items():
        read_texts(held.file, f"config.data.benchmarks.{name}.annotations")


def check_questions(run: Run, dataset: DatasetSpec, store: ExampleStore) -> None:
    """Raises ConfigError naming the first question of a prepared benchmark that cannot be scored,
    that is scored as right with nothing said, or that shows nothing of the benchmark's modality."""
    entry = run.config.data.benchmarks[dataset.name]
    for i in range(len(store)):
        example, _ = store[i]
        where = f"{dataset.annotations}: question {example.id!r}"
        needs = f"config.data.benchmarks.{dataset.name}: docs/data.md says what records need"
        # What those of official ones show is the business of their readers.
        kinds: set[str] = {medium.kind for medium in example.media} or {"text"}
        if not entry.get("official") and entry.modality not in kinds:
            shown = " and ".join(sorted(kinds)).replace("text", "text alone")
            raise ConfigError(
                f"{where} shows {shown}, but config.data.benchmarks.{dataset.name}.modality = "
                f"{entry.modality!r}: set it to what its questions show, a benchmark for each kind"
            )
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
    asked: Asked,
    made_with: Provenance,
    folder: Path,
) -> list[Prediction]:
    """The answered questions in the benchmark's order; those that could not be asked are left
    out."""
    path = journal_path(folder, benchmark)
    names = [example.id for example, _ in asked.items]
    replies = first_finds(lambda: _known(path, made_with, names))
    done = [i for i, name in enumerate(names) if name in replies]
    with contextlib.ExitStack() as stack:
        progress = stack.enter_context(
            Progress(f"evaluate {benchmark}", len(names), unit="questions", done=len(done))
        )
        keep = stack.enter_context(Appended(path)) if is_first() else None
        for said in _answers(run, model, asked.items, done):
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
        _prediction(benchmark, item, why, replies[name]["text"], made_with.media_root)
        for name, item, why in zip(names, asked.items, asked.why, strict=True)
        if not replies[name]["failure"]
    ]


def _answers(
    run: Run, model: LoadedModel, items: Sequence[Item], done: Collection[int]
) -> Iterator[Answer]:
    """Of all questions that are not done; of those with options by `config.eval.choices`."""
    listed = [i for i, (example, _) in enumerate(items) if _options(example)]
    if run.config.eval.choices == "written" or not listed:
        yield from answer(run, model, items, answered=done, many=True)
        return
    tokens = option_tokens({w for i in listed for w in _options(items[i][0])}, model.tokenizer)
    chosen = [[tokens[word] for word in _options(items[i][0])] for i in listed]
    others, known = sorted({*range(len(items))} - {*listed}), set(done)
    for places, options in ((listed, chosen), (others, [])):
        answered = [at for at, i in enumerate(places) if i in known]
        some = [items[i] for i in places]
        for said in answer(run, model, some, answered=answered, many=True, options=options):
            yield dataclasses.replace(said, index=places[said.index])


def _options(example: Example) -> list[str]:
    """The letters of a question's options; none where it has none or does not list them."""
    choices = example.meta.get("choices")
    return list(choices) if example.meta["format"] == "choice" and choices else []


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


def _prediction(benchmark: str, item: Item, why: str, text: str, media_root: str) -> Prediction:
    example, layout = item
    meta = example.meta
    scored = score(meta["format"], text, meta)
    return Prediction(
        id=example.id,
        benchmark=benchmark,
        task=meta["task"],
        format=meta["format"],
        frames=max((len(m.frame_indices) for m in layout.media if m.kind == "video"), default=None),
        why=why,
        prediction=text,
        answer=meta["answer"],
        score=scored.score,
        parsed=scored.parsed,
        visual_tokens=sum(m.tokens for m in layout.media),
        chance=meta["chance"],
        cluster=cluster_of(example),
        frame_times=_frame_times(layout),
        question=example.words,
        media=[_from_root(ref, media_root).to_json() for ref in example.media],
    )


def _from_root(ref: MediaRef, root: str) -> MediaRef:
    """A medium as its record has it, where it lies below the media root."""
    return dataclasses.replace(ref, path=ref.path.removeprefix(f"{root.rstrip('/')}/"))


def _frame_times(layout: ExampleLayout) -> list[list[float]] | None:
    """Seconds, to the millisecond, of the frames shown of each video; None without one."""
    clips = [medium.frame_times for medium in layout.media if medium.kind == "video"]
    return [[round(time, 3) for time in times] for times in clips] or None
