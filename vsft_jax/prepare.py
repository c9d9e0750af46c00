"""A run's data sets become indexes, under a resolved frame policy; the prepare job."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging

from input_pipeline import frame_budget
from input_pipeline.files import naming
from input_pipeline.frame_budget import Tools
from input_pipeline.index import (
    BadFraction,
    DatasetSpec,
    ExampleStore,
    prepare,
    quarantine_of,
    report_lines,
)
from input_pipeline.paths import is_remote, located
from input_pipeline.progress import Progress
from vsft_jax import frame_models
from vsft_jax.config import MADE_SETS, Run
from vsft_jax.errors import ConfigError
from vsft_jax.processes import first_finds, is_first
from vsft_jax.row_plan import batch_plan, log_fill
from vsft_jax.workdir_lock import working_in


@dataclasses.dataclass(frozen=True)
class Prepared:
    """Indexes of a job's data sets by name, what was counted while making them, and the resolved
    frame policy that they were made under."""

    paths: Mapping[str, Path]
    summaries: Mapping[str, dict[str, Any]]
    frame_policy: dict[str, Any]

    def stores(self) -> dict[str, ExampleStore]:
        """The prepared examples by data set."""
        return {name: ExampleStore.open(path) for name, path in self.paths.items()}


def prepare_all(run: Run, check: Callable[[DatasetSpec, ExampleStore], None]) -> None:
    """The prepare job: every data set, and a table on the log of what became of them and of how
    full rows will be. What was left out for reasons that may be gone is looked at again.

    check: called with every benchmark; raises what is wrong with its questions.
    Raises TooManyBad where more of a set than `config.data.max_bad_fraction` cannot be used. A
    training is not stopped by a handful; here a person looks, and small sets count too. Raises
    WorkdirInUse where another job works there.
    """
    with working_in(run.workdir, "prepare"):
        training = prepare_training(run, retry=True)
        benchmarks = prepare_benchmarks(run, training.frame_policy, retry=True)
        found = [
            (each.paths[name], summary)
            for each in (training, benchmarks)
            for name, summary in each.summaries.items()
        ]
        if is_first():
            logging.info("prepared:\n%s", "\n".join(report_lines(dict(found))))
            if stores := training.stores():
                log_fill(run, batch_plan(run, stores, batch_rows=1))
        stores = benchmarks.stores()
        for dataset in run.benchmarks:
            check(dataset, stores[dataset.name])
        for path, summary in found:
            bad = BadFraction(run.config.data.max_bad_fraction, quarantine_of(path), handful=0)
            bad.add(sum(summary["quarantined"].values()), summary["examples"])


def prepare_training(run: Run, retry: bool = False) -> Prepared:
    """Prepares every training set that the mixture takes part of; none for a config of benchmarks
    alone. retry: see `index.prepare`."""
    alone = run.config.data.benchmarks and not run.config.data.train
    sets = [] if alone else run.training_sets
    return _prepare(run, sets, resolve_frame_policy(run), retry)


def prepare_benchmarks(run: Run, frame_policy: Mapping[str, Any], retry: bool = False) -> Prepared:
    """Prepares every benchmark under a resolved frame policy. retry: see `index.prepare`."""
    return _prepare(run, run.benchmarks, frame_policy, retry)


def resolve_frame_policy(run: Run) -> dict[str, Any]:
    """`config.frames` as a spec that stands on its own.

    Two kinds need work. Learned ones have their file read, by one process. What a question alone
    draws from under random_matched are its `of` policy's budgets on the training sets; a data set
    is dealt its own, see `_for_dataset`. Raises PredictorError for a file that cannot be used.
    """
    spec = run.config.frames.to_dict()
    if frame_budget.names_predictor(spec):
        spec = first_finds(lambda: frame_budget.with_predictors(spec), "read the frame predictor")

    def budgets(spec: Mapping[str, Any]) -> np.ndarray:
        prepared = _prepare(run, run.training_sets, dict(spec))
        return np.concatenate([store.clips() for store in prepared.stores().values()])

    return frame_budget.resolve_spec(spec, budgets)


def frame_tools(run: Run, frame_policy: Mapping[str, Any]) -> Tools:
    """The models that a frame policy asks for, if it does. Raises ConfigError."""
    if not frame_budget.needs_model(frame_policy):
        return Tools()
    if run.config.data.prepare_processes:
        raise ConfigError(
            f"config.data.prepare_processes = {run.config.data.prepare_processes}: a frame policy "
            "that asks a model works in threads (config.data.workers); set it to 0"
        )
    return frame_models.tools(run)


def ensure_made_sets(run: Run) -> None:
    """Generates what the config asks for of `MADE_SETS`, or finds it there. Raises ConfigError
    where they would lie at an address, PackageError where a package of emoji cannot be had."""
    for name, folder in MADE_SETS.items():
        if not (options := run.config.data[name].to_dict()):
            continue
        place = located(folder, run.data_root)
        if is_remote(place):
            raise ConfigError(
                f"config.data.{name} is made in a folder, but config.data.root = "
                f"{run.config.data.root!r} is an address: name a folder, or empty {name}"
            )
        with naming(place):
            _MAKERS[name](place, options)


def _make_demo_world(folder: str, sizes: dict[str, int]) -> None:
    from demo_world import generate_world  # one data set among others: most runs have their own

    total = sum(count for name, count in sizes.items() if name != "seed")
    with Progress("demo world", total=total, unit="files") as progress:
        generate_world(folder, **sizes, progress=lambda done, _: progress.reach(done))


def _make_emoji_world(folder: str, options: dict[str, Any]) -> None:
    from emoji_world import generate_emoji_world

    generate_emoji_world(folder, **options)


_MAKERS: dict[str, Callable[[str, dict[str, Any]], None]] = {
    "demo_world": _make_demo_world,
    "emoji_world": _make_emoji_world,
}


def _prepare(
    run: Run, datasets: Sequence[DatasetSpec], frame_policy: Mapping[str, Any], retry: bool = False
) -> Prepared:
    policies = {each.name: _for_dataset(run, each, frame_policy) for each in datasets}
    # Of several processes one reads and hashes the annotations; the others hear of the indexes.
    found = first_finds(
        lambda: _prepared_here(run, datasets, policies, retry),
        f"prepare {', '.join(policies) or 'nothing'}",
        patience=run.config.train.watchdog_seconds,
        in_files=True,
    )
    paths = {name: run.index_dir / file for name, (file, _) in found.items()}
    summaries = {name: summary for name, (_, summary) in found.items()}
    return Prepared(paths, summaries, dict(frame_policy))


def _prepared_here(
    run: Run,
    datasets: Sequence[DatasetSpec],
    policies: Mapping[str, Mapping[str, Any]],
    retry: bool,
) -> dict[str, tuple[str, dict[str, Any]]]:
    """The file in `run.index_dir` and the summary of each data set. policies: by data set."""
    ensure_made_sets(run)
    data, found = run.config.data, {}
    for dataset in datasets:
        _check_start(dataset, run.data_root)
        policy = policies[dataset.name]
        path, summary = prepare(
            dataset,
            run.index_spec(policy, frame_tools(run, policy)),
            run.index_dir,
            workers=data.prepare_processes or data.workers,
            processes=data.prepare_processes > 0,
            decoder=run.decoder,
            max_bad_fraction=data.max_bad_fraction,
            retry=retry,
        )
        found[dataset.name] = (path.name, summary)
    return found


def _for_dataset(
    run: Run, dataset: DatasetSpec, frame_policy: Mapping[str, Any]
) -> Mapping[str, Any]:
    """The policy that a data set is prepared under: a control deals out the budgets that the policy
    it controls for has there, so that both cost the same in every data set."""
    if frame_policy["kind"] not in frame_budget.CONTROLS or not frame_policy.get("of"):
        return frame_policy
    prepared = _prepare(run, [dataset], frame_policy["of"])
    clips = list(prepared.stores()[dataset.name].budgeted())
    # A set of pictures has nothing to deal out.
    return (
        frame_budget.deal(frame_policy, clips) if any(c.frames > 1 for c in clips) else frame_policy
    )


def _check_start(dataset: DatasetSpec, root: str) -> None:
    """Raises ConfigError for a relative path that leads somewhere from where the command was typed,
    and nowhere from the root, where relative paths start."""
    section = "train" if dataset.mode == "train" else "benchmarks"
    for key, place in (("annotations", dataset.annotations), ("media_root", dataset.media_root)):
        path = Path(place)
        if is_remote(place) or path.exists() or not path.is_relative_to(root):
            continue
        if (meant := path.relative_to(root).absolute()).exists():
            raise ConfigError(
                f"config.data.{section}.{dataset.name}.{key}: there is no {place}; relative paths "
                f"start at config.data.root, by default the workdir: name {meant}"
            )
