"""The study: a base model, then one fine-tuned model for each frame policy × remedy × seed, all
evaluated.

Every cell has its own folder under <workdir>/cells and is finished when its last result file is
there, so an interrupted study goes on where it stopped: finished cells are skipped, a half-trained
one resumes from its checkpoint. What stands there must have been made with this config: a folder of
other settings is refused by name, before anything is trained.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import logging
from ml_collections import ConfigDict

from evaluation import cell_config
from evaluation.benchmarks import write_official
from evaluation.diagnostics.measure import diagnose
from evaluation.evaluate import evaluate_checkpoint, evaluate_model
from evaluation.records import read_object
from evaluation.report import print_summary, read_folder, write_report
from evaluation.results import BenchmarkResult, evaluation_folder
from evaluation.study_files import CELL_FILE, DIAGNOSTICS_FILE, Budget, Cell, IndexSummary
from input_pipeline.frame_budget import canonical_spec, spec_hash, spec_label
from input_pipeline.progress import Progress
from vsft_jax.config import Run, as_json, check_before_study
from vsft_jax.errors import ConfigError
from vsft_jax.inference import load_model
from vsft_jax.prepare import ensure_demo_world, prepare_training, resolve_frame_policy
from vsft_jax.train import train
from vsft_jax.workdir_lock import working_in

Spec = Mapping[str, Any]  # of a frame policy: resolved and canonical


@dataclasses.dataclass(frozen=True)
class Planned:
    """A cell and the config that it is made with.

    trained: not for a released model, which is evaluated as it is. asked: the policies that it is
    evaluated under. model_of: the cell whose model it is, asked in another way; None for its own.
    """

    cell: Cell
    config: ConfigDict
    asked: tuple[Spec, ...]
    trained: bool = True
    model_of: Cell | None = None


def run_study(run: Run) -> Path:
    """Trains and evaluates every cell that is not finished, then writes the report.

    Returns the path of report.html. Raises ConfigError if two entries of `config.study.frames`
    mean the same policy, or if the workdir holds cells of another config, and WorkdirInUse where
    another job works there.
    """
    write_official(run)
    check_before_study(run)
    with working_in(run.workdir, "study"):
        return _run_study(run)


def _run_study(run: Run) -> Path:
    workdir, config = run.workdir, _shared_paths(run)
    ensure_demo_world(run)
    policies = _policies(config, workdir)
    planned = plan_cells(config, workdir, policies)
    check_unchanged(workdir, planned)
    _index_summary(config, workdir, policies).save(workdir)
    lacking = [(each, _missing(workdir, each)) for each in planned]
    logging.info(
        "%d cells: %d models to train, %d evaluations to make, each under one frame policy",
        len(planned),
        sum(bool(missing) and each.trained and not each.model_of for each, missing in lacking),
        sum(len(missing) for _, missing in lacking),
    )
    done = sum(not missing for _, missing in lacking)
    with Progress("study", len(planned), unit="cells", done=done) as progress:
        for number, each in enumerate(planned, 1):
            logging.info("── cell %d of %d: %s ──", number, len(planned), each.cell.name)
            folder = cell_folder(workdir, each.cell)
            each.cell.save(folder)
            missing = _missing(workdir, each)
            if missing and each.trained and not each.model_of:
                train(Run(each.config, folder))
            for policy, config in missing:
                if each.model_of:
                    model = load_model(Run(config, cell_folder(workdir, each.model_of)))
                    evaluate_model(Run(config, folder), model, policy)
                else:
                    evaluate_checkpoint(Run(config, folder), policy)
            if missing:
                progress.advance()
            if number == 1:
                _diagnose(run, workdir, planned)
    study = read_folder(workdir)
    report = write_report(study, workdir)
    print_summary(study)
    logging.info("report: %s", report)
    return report


def _diagnose(run: Run, workdir: Path, planned: Sequence[Planned]) -> None:
    """Gradients of the base on pictures and clips, before anything is tuned; once."""
    study, file = run.config.study, workdir / DIAGNOSTICS_FILE
    tuned = [each for each in planned if each.cell.role == "sft"]
    if study.diagnose and tuned and not file.exists():
        folder = workdir / "diagnostics"
        diagnose(Run(tuned[0].config, folder), study.diagnose, study.infer_frames, file)


def plan_cells(config: ConfigDict, workdir: Path, policies: Sequence[Spec]) -> list[Planned]:
    """One base model, then every policy with every seed, all policies of a seed together.

    The base is trained by `config.study.base`; where that is empty and there is a
    `config.model.path`, it is the released model. config: the study's. policies: resolved specs
    with labels of their own.
    """
    released = bool(config.model.path) and not config.study.base
    base = _base(config)
    counts = [canonical_spec({"kind": "fixed", "frames": n}) for n in config.study.infer_frames]
    first = _planned("base", base, policy=None, start=None, trained=not released)
    cells = [dataclasses.replace(first, asked=_once([*policies, *counts]))]
    for seed in config.study.seeds:
        for policy in policies:
            for remedy in _remedies(config, policy):
                tuned = _with_frames(config, policy)
                with tuned.unlocked():
                    tuned.update(config.study.remedies.get(remedy, ConfigDict()))
                tuned.seed = seed
                if not released:
                    tuned.train.init_from = str(cell_folder(workdir, cells[0].cell))
                name = "-".join(filter(None, [spec_label(policy), remedy, f"seed{seed}"]))
                each = _planned(name, tuned, policy, start=cells[0].cell, remedy=remedy)
                # A model with a remedy is asked under its own policy alone.
                asked = _once([policy] if remedy else [policy, *counts])
                cells.append(dataclasses.replace(each, asked=asked, model_of=_same(cells, each)))
    return cells


def _remedies(config: ConfigDict, policy: Spec) -> list[str]:
    """Names of the remedies that a policy is combined with, "" for none of them first."""
    with_remedies = not config.study.remedies_of or spec_label(policy) in config.study.remedies_of
    return ["", *(config.study.remedies if with_remedies else ())]


def _same(cells: Sequence[Planned], each: Planned) -> Cell | None:
    """The cell before it that has the same model: a remedy of evaluation alone trains nothing."""
    own = [other for other in cells if other.model_of is None]
    return next((o.cell for o in own if o.cell.config_hash == each.cell.config_hash), None)


def _once(policies: Sequence[Spec]) -> tuple[Spec, ...]:
    """Each policy once, in order."""
    return tuple({spec_hash(policy): policy for policy in reversed(policies)}.values())[::-1]


def check_unchanged(workdir: Path, planned: Sequence[Planned]) -> None:
    """Raises ConfigError naming the folders under <workdir>/cells that were made with other
    settings than those planned, the config keys that differ, and what to do."""
    changed: dict[Path, list[str]] = {}
    for each in planned:
        folder = cell_folder(workdir, each.cell)
        if (folder / CELL_FILE).exists():
            changed |= _changes(folder, each)
    if changed:
        differences = dict.fromkeys(text for changes in changed.values() for text in changes)
        folders = ", ".join(str(folder.relative_to(workdir)) for folder in changed)
        raise ConfigError(
            f"{workdir} holds what was made with other settings: {'; '.join(differences)}. Go on "
            f"with those, take another workdir, or remove {folders} to make them anew"
        )


def cell_folder(workdir: Path, cell: Cell) -> Path:
    """Where a cell's checkpoints and results are."""
    return workdir / "cells" / cell.name


def _changes(folder: Path, planned: Planned) -> dict[Path, list[str]]:
    """What differs, by the part of a cell's folder that would have to go."""
    now = planned.cell
    record = read_object(folder / CELL_FILE)
    if "config_hash" not in record:
        return {folder: [f"the {CELL_FILE} of an earlier version does not hold its settings"]}
    before = Cell.from_record(record, folder / CELL_FILE)
    if changes := cell_config.model_changes(before, now):
        return {folder: changes}
    results = sorted(folder.glob("eval/*/*.json"))
    if results and (changes := cell_config.answer_changes(before, now)):
        return {folder / "eval": changes}
    folders = {evaluation_folder(folder, policy): policy for policy in planned.asked}
    found = {}
    for path in results:
        if policy := folders.get(path.parent):
            made_with = BenchmarkResult.load(path).provenance.frame_policy
            if changes := cell_config.policy_changes(made_with, policy):
                found[path.parent] = changes
    return found


def _missing(workdir: Path, each: Planned) -> list[tuple[Spec, ConfigDict]]:
    """The evaluations that a cell lacks: under which policy, with which config."""
    asked = each.asked
    # A frame policy does not reach images, so they are evaluated under the first one only.
    configs = [each.config] + [_without_images(each.config)] * (len(asked) - 1)
    return [
        (policy, config)
        for policy, config in zip(asked, configs, strict=True)
        if not _evaluated(cell_folder(workdir, each.cell), config, policy)
    ]


def _planned(
    name: str,
    config: ConfigDict,
    policy: Spec | None,
    start: Cell | None,
    trained: bool = True,
    remedy: str = "",
) -> Planned:
    values = as_json(config)
    if start:  # another base makes another model, wherever the base lies
        values["train"]["init_from"] = f"{start.name}~{start.config_hash}"
    decides = cell_config.deciding(values, policy or config.frames.to_dict())
    cell = Cell(
        name=name,
        role="sft" if start else "base",
        start=start.name if start else ("scratch" if trained else "released"),
        strategy=remedy or cell_config.strategy(values),
        seed=config.seed,
        frame_policy=policy,
        config=decides,
        config_hash=cell_config.config_hash(decides),
    )
    return Planned(cell, config, (), trained)


def _policies(config: ConfigDict, workdir: Path) -> list[Spec]:
    """The resolved frame-budget specs of `config.study.frames`."""
    found: dict[str, Spec] = {}
    for entry, spec in config.study.frames.items():
        study = Run(_with_frames(config, spec.to_dict()), workdir)
        resolved = canonical_spec(resolve_frame_policy(study))
        same = [name for name, other in found.items() if spec_hash(other) == spec_hash(resolved)]
        label = spec_label(resolved)
        if same or label in found:
            raise ConfigError(
                f"config.study.frames.{entry} is the same policy as, or has the label of, "
                f"{(same or [label])[0]}: change or remove one"
            )
        found[label] = resolved
    return list(found.values())


def _shared_paths(run: Run) -> ConfigDict:
    """The config for cells, which have workdirs of their own: data and indexes stay where the
    study has them."""
    shared = run.config.copy_and_resolve_references()
    shared.data.root = run.data_root
    shared.data.index_dir = str(run.index_dir)
    return shared


def _copy(config: ConfigDict) -> ConfigDict:
    return config.copy_and_resolve_references()


def _base(config: ConfigDict) -> ConfigDict:
    """The config of the base model. A frame policy is a value: a new one takes the old one's
    place."""
    changes = config.study.base.to_dict()
    frames = changes.pop("frames", config.frames.to_dict())
    base = _with_frames(config, frames)
    base.update(changes)
    return base


def _with_frames(config: ConfigDict, spec: Spec) -> ConfigDict:
    changed = _copy(config)
    with changed.unlocked():
        changed.frames = ConfigDict(dict(spec))
    return changed


def _without_images(config: ConfigDict) -> ConfigDict:
    config = _copy(config)
    with config.unlocked():
        for name, entry in list(config.data.benchmarks.items()):
            if entry.modality == "image":
                del config.data.benchmarks[name]
    return config


def _evaluated(folder: Path, config: ConfigDict, policy: Spec) -> bool:
    results = evaluation_folder(folder, policy)
    return all((results / f"{name}.json").exists() for name in config.data.benchmarks)


def _index_summary(config: ConfigDict, workdir: Path, policies: Sequence[Spec]) -> IndexSummary:
    """Counts of every training set, and what each policy spends on it, for the report."""
    datasets: dict[str, Any] = {}
    budgets = []
    for policy in policies:
        summaries = prepare_training(Run(_with_frames(config, policy), workdir)).summaries
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
    base = _base(config)
    datasets |= prepare_training(Run(base, workdir)).summaries
    return IndexSummary(datasets, budgets)


def _sum_counts(histograms: Iterator[Mapping[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for histogram in histograms:
        for frames, count in histogram.items():
            total[frames] = total.get(frames, 0) + count
    return dict(sorted(total.items(), key=lambda item: int(item[0])))
