"""A `Study` of run folders that no study made: whatever was trained and evaluated one by one."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from evaluation.records import ResultError
from evaluation.report.read_study.files import read_evaluations, read_study, read_training
from evaluation.report.read_study.policies import FramePolicy
from evaluation.report.read_study.study import Evaluation, Model, Study
from evaluation.study_files import Cell


def read_folder(folder: str | Path) -> Study:
    """The study of a folder that is a study's, a run's, or holds runs' folders.

    Raises as `read_study` and `compare_runs` do.
    """
    folder = Path(folder).absolute()
    if not (folder / "cells").is_dir():
        if (folder / "eval").is_dir():
            return compare_runs([folder])
        if runs := sorted(path.parent for path in folder.glob("*/eval") if path.is_dir()):
            return compare_runs(runs)
    return read_study(folder)


def compare_runs(folders: Sequence[str | Path], base: str | Path | None = None) -> Study:
    """A study of runs that have results under eval/: each of them against one base.

    base: one of `folders`; by default the one that is called "base", else the first. A run counts
    under the frame policy that it was trained with, or its first evaluation's, and has a change
    where the base was evaluated under the same one. Raises ResultError for a folder without
    results, a base that is not among the folders, or a file that cannot be read.
    """
    paths = list(dict.fromkeys(Path(folder).absolute() for folder in folders))
    if not paths:
        raise ResultError("no run folders to compare")
    if base is None:
        chosen = next((path for path in paths if path.name == "base"), paths[0])
    else:
        chosen = Path(base).absolute()
    if chosen not in paths:
        raise ResultError(f"{base}: the base is not among the runs to compare")
    together = Path(os.path.commonpath([path.parent for path in paths]))
    problems: list[str] = []
    ordered = [chosen, *(path for path in paths if path != chosen)]
    names = [path.relative_to(together).as_posix() for path in ordered]
    models = [
        _model(path, name, None if path == chosen else names[0], problems)
        for path, name in zip(ordered, names, strict=True)
    ]
    name = together.name if len(paths) > 1 else chosen.name
    return Study(name, tuple(models), {}, {}, tuple(problems))


def _model(folder: Path, name: str, start: str | None, problems: list[str]) -> Model:
    """start: name of the base; None for the base itself."""
    evaluations = read_evaluations(folder, {}, problems)
    if not evaluations:
        raise ResultError(
            f"{folder}/eval: no results; evaluate the run first: "
            f"vsft --workdir={folder} --job=evaluate"
        )
    policy = _trained_with(evaluations) if start else None
    cell = Cell(
        name,
        role="sft" if start else "base",
        start=start or "scratch",
        # Each run is a group of its own: what else differs between them is not known here.
        strategy=name,
        seed=0,
        frame_policy=policy.spec if policy else None,
        config={},
        config_hash="",
    )
    return Model(cell, policy, read_training(folder / "train.jsonl"), evaluations)


def _trained_with(evaluations: Mapping[FramePolicy, Evaluation]) -> FramePolicy:
    for policy, evaluation in evaluations.items():
        labels = {result.provenance.trained_with for result in evaluation.results.values()}
        if policy.label in labels:
            return policy
    return next(iter(evaluations))
