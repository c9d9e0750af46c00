"""The study: a base model, then one fine-tuned model for each frame policy × remedy × seed, all
evaluated.

Every cell has its own folder under <workdir>/cells and is finished when its last result file is
there, so an interrupted study goes on where it stopped: finished cells are skipped, a half-trained
one resumes from its checkpoint. What stands there must have been made with this config: a folder of
other settings is refused by name, before anything is trained.

Several machines share a study by its cells: each is given some (`run_study` with `only`), and
whoever runs the study when they are done finds nothing left but the report.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import logging
from ml_collections import ConfigDict

from evaluation.benchmarks import write_official
from evaluation.diagnostics.measure import diagnose
from evaluation.evaluate import evaluate_checkpoint, evaluate_model
from evaluation.report import print_summary, read_folder, write_report
from evaluation.study import (
    Lot,
    Planned,
    Spec,
    base_of,
    cell_folder,
    check_unchanged,
    chosen,
    cost_lines,
    costs_of,
    frame_policies,
    lacking,
    lots_of,
    plan_cells,
    shared_paths,
    with_frames,
)
from evaluation.study_files import DIAGNOSTICS_FILE, Budget, IndexSummary
from input_pipeline.progress import Progress
from vsft_jax.checkpoints import home, steps_of
from vsft_jax.config import Run, check_before_study
from vsft_jax.errors import ConfigError
from vsft_jax.inference import load_model
from vsft_jax.prepare import ensure_made_sets, prepare_training
from vsft_jax.processes import first_finds, is_first
from vsft_jax.train import train
from vsft_jax.workdir_lock import working_in


def run_study(run: Run, only: Sequence[str] = ()) -> Path:
    """Trains and evaluates every cell that is not finished, then writes the report.

    only: names of the cells to do here, beside others that are done elsewhere at the same time; the
    report then holds what is there. By default all.

    Returns the path of report.html. Raises ConfigError if two entries of `config.study.frames`
    mean the same policy, if the workdir holds cells of another config, or if a cell is to be done
    whose start is not trained, and WorkdirInUse where another job works there.
    """
    write_official(run)
    check_before_study(run)
    with _alone(run.workdir, only):
        planned = _plan(run)
        _do(run, planned, chosen(planned, only))
        report = run.workdir / "report.html"
        if is_first():
            study = read_folder(run.workdir)
            report = write_report(study, run.workdir)
            print_summary(study)
            logging.info("report: %s", report)
        return report


def what_is_left(run: Run) -> list[Lot]:
    """Prepares a study's data, logs what its training takes, and trains nothing.

    Returns what is left to do, in lots that `run_study` may be given on several machines at the
    same time. Raises as `run_study` does.
    """
    write_official(run)
    check_before_study(run)
    with working_in(run.workdir, "study"):
        planned = _plan(run)
        return lots_of(planned, [each for each in planned if lacking(run.workdir, each)])


@contextlib.contextmanager
def _alone(workdir: Path, only: Sequence[str]) -> Iterator[None]:
    """Nobody else works on the study, or with `only` on a cell, whose training and evaluation take
    its folder for themselves."""
    if only:
        yield
    else:
        with working_in(workdir, "study"):
            yield


def _plan(run: Run) -> list[Planned]:
    """All cells, with the data of their training prepared. Logs what they take."""
    workdir, config = run.workdir, shared_paths(run)
    ensure_made_sets(run)
    policies = frame_policies(config, workdir)
    planned = plan_cells(config, workdir, policies)
    check_unchanged(workdir, planned)
    summary = _index_summary(config, workdir, policies)
    if is_first():
        summary.save(workdir)
    undone = {each.cell.name: lacking(workdir, each) for each in planned}
    to_train = [each for each in planned if each.trains and undone[each.cell.name]]
    logging.info(
        "%d cells: %d models to train, %d evaluations to make, each under one frame policy\n%s",
        len(planned),
        len(to_train),
        sum(map(len, undone.values())),
        "\n".join(cost_lines(costs_of(workdir, to_train))),
    )
    return planned


def _do(run: Run, planned: Sequence[Planned], here: Sequence[Planned]) -> None:
    """Trains and asks what is not finished of the cells that are done here."""
    workdir = run.workdir
    _check_starts(workdir, planned, here)
    done = sum(not lacking(workdir, each) for each in here)
    with Progress("study", len(here), unit="cells", done=done) as progress:
        for number, each in enumerate(here, 1):
            logging.info("── cell %d of %d: %s ──", number, len(here), each.cell.name)
            folder = cell_folder(workdir, each.cell)
            left = lacking(workdir, each)
            if is_first():
                each.cell.save(folder)
            if left and each.trains:
                train(Run(each.config, folder))
            for policy, config in left:
                if each.model_of:
                    model = load_model(Run(config, cell_folder(workdir, each.model_of)))
                    evaluate_model(Run(config, folder), model, policy)
                else:
                    evaluate_checkpoint(Run(config, folder), policy)
            if left:
                progress.advance()
            if each.cell.role == "base":
                _diagnose(run, planned)


def _check_starts(workdir: Path, planned: Sequence[Planned], here: Sequence[Planned]) -> None:
    """Raises ConfigError where a cell starts from, or asks, a model that is neither trained yet nor
    to be trained here."""
    there = {each.cell.name: each for each in planned if each not in here}
    for each in here:
        needs = each.model_of.name if each.model_of else each.cell.start
        other = there.get(needs)
        if other and other.trains and not steps_of(home(cell_folder(workdir, other.cell))):
            raise ConfigError(
                f"--cell={each.cell.name} needs the model of cell {needs}, which is not trained "
                f"yet: run --job=study --cell={needs} before it"
            )


def _diagnose(run: Run, planned: Sequence[Planned]) -> None:
    """Gradients of the base on pictures and clips, before anything is tuned; once."""
    study, file = run.config.study, run.workdir / DIAGNOSTICS_FILE
    tuned = [each for each in planned if each.cell.role == "sft"]
    if study.diagnose and tuned and not first_finds(file.exists):
        folder = run.workdir / "diagnostics"
        diagnose(Run(tuned[0].config, folder), study.diagnose, study.infer_frames, file)


def _index_summary(config: ConfigDict, workdir: Path, policies: Sequence[Spec]) -> IndexSummary:
    """Counts of every training set, and what each policy spends on it, for the report."""
    datasets: dict[str, Any] = {}
    budgets = []
    for policy in policies:
        summaries = prepare_training(Run(with_frames(config, policy), workdir)).summaries
        videos = [s for s in summaries.values() if s["histogram"]]
        datasets |= summaries
        budgets.append(
            Budget(
                frame_policy=policy,
                histogram=_sum_counts(s["histogram"] for s in videos),
                visual_tokens=sum(s["visual_tokens"] for s in videos),
                examples=[e for s in videos for e in s["budget_examples"]],
            )
        )
    base = base_of(config)
    datasets |= prepare_training(Run(base, workdir)).summaries
    return IndexSummary(datasets, budgets)


def _sum_counts(histograms: Iterator[Mapping[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for histogram in histograms:
        for frames, count in histogram.items():
            total[frames] = total.get(frames, 0) + count
    return dict(sorted(total.items(), key=lambda item: int(item[0])))
