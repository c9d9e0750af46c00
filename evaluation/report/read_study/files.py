"""Reads a study directory: cells, their training logs and evaluations, the index summary."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evaluation.records import ResultError, read_object
from evaluation.report.read_study import older
from evaluation.report.read_study.policies import FramePolicy
from evaluation.report.read_study.study import Evaluation, Model, Study
from evaluation.results import (
    PREDICTIONS_FILE,
    BenchmarkResult,
    Prediction,
    read_controls,
    read_predictions,
)
from evaluation.study_files import (
    CELL_FILE,
    DIAGNOSTICS_FILE,
    INDEX_SUMMARY_FILE,
    Cell,
    IndexSummary,
)


def read_study(study_dir: str | Path) -> Study:
    """Reads what the study has left so far.

    Missing pieces become entries of `problems`. Raises ResultError if there are no cells, and for
    a file that is there but cannot be read.
    """
    study_dir = Path(study_dir).absolute()
    folders = sorted(path for path in study_dir.glob("cells/*") if path.is_dir())
    if not folders:
        raise ResultError(
            f"{study_dir}/cells: no cells; is this a study's directory? Runs are compared with "
            "--job=report --workdir=NEW --run=FOLDER --run=FOLDER, once they are evaluated"
        )
    problems: list[str] = []
    specs: dict[str, Mapping[str, Any]] = {}
    evaluations = {folder: read_evaluations(folder, specs, problems) for folder in folders}
    models = [
        Model(
            cell,
            _policy(cell.frame_policy, folder / CELL_FILE) if cell.frame_policy else None,
            read_training(folder / "train.jsonl"),
            found,
        )
        for folder, found in evaluations.items()
        if (cell := _read_cell(folder, specs, problems))
    ]
    models.sort(
        key=lambda m: (
            not m.is_base,
            m.policy.order if m.policy else (),
            *(m.cell.strategy, m.cell.seed),
        )
    )
    path = study_dir / INDEX_SUMMARY_FILE
    summary = _read_index_summary(path, specs)
    budgets = {_policy(budget.frame_policy, path): budget for budget in summary.budgets}
    path = study_dir / DIAGNOSTICS_FILE
    diagnostics = read_object(path) if path.exists() else {}
    named = (study_dir.name, tuple(models), summary.datasets, budgets, tuple(problems))
    return Study(*named, diagnostics)


def _read_cell(folder: Path, specs: older.Specs, problems: list[str]) -> Cell | None:
    path = folder / CELL_FILE
    if not path.exists():
        problems.append(f"{folder.name}: {CELL_FILE} is missing, so the cell is not shown")
        return None
    found = read_object(path)
    record = older.cell_record(found, specs)
    if record is None:
        problems.append(
            f"{folder.name}: {CELL_FILE} has the label {found['frames']!r} of a frame policy that "
            "no result file describes, so the cell is not shown"
        )
        return None
    return Cell.from_record(record, path)


def _read_index_summary(path: Path, specs: older.Specs) -> IndexSummary:
    if not path.exists():
        return IndexSummary({}, ())
    return IndexSummary.from_record(older.index_record(read_object(path), specs), path)


def read_evaluations(
    cell: Path, specs: dict[str, Mapping[str, Any]], problems: list[str]
) -> dict[FramePolicy, Evaluation]:
    """Evaluations of a cell or a run by policy; `specs` gets what their folders' labels mean."""
    found: dict[FramePolicy, Evaluation] = {}
    for folder in sorted(path for path in cell.glob("eval/*") if path.is_dir()):
        results = {path.stem: BenchmarkResult.load(path) for path in sorted(folder.glob("*.json"))}
        predictions = _read_predictions(folder, cell.name, results, problems)
        for name, result in results.items():
            specs[folder.name] = result.provenance.frame_policy
            policy = _policy(specs[folder.name], folder / f"{name}.json")
            evaluation = found.setdefault(policy, Evaluation({}, {}))
            found[policy] = Evaluation(
                {**evaluation.results, name: result},
                {**evaluation.predictions, name: predictions[name]},
                {**evaluation.controls, name: read_controls(folder, name)},
            )
    return found


def _policy(spec: Mapping[str, Any], path: Path) -> FramePolicy:
    try:
        return FramePolicy.of(spec)
    except ValueError as error:
        raise ResultError(f"{path}: {error}") from error


def _read_predictions(
    folder: Path, cell: str, results: Mapping[str, BenchmarkResult], problems: list[str]
) -> dict[str, dict[str, Prediction]]:
    """By benchmark, then by id; none for a benchmark where they are not those of its result."""
    predictions: dict[str, dict[str, Prediction]] = {name: {} for name in results}
    path = folder / PREDICTIONS_FILE
    if path.exists():
        for row in read_predictions(path):
            predictions.setdefault(row.benchmark, {})[row.id] = row
    for name, result in results.items():
        rows = predictions[name].values()
        mean = sum(row.score for row in rows) / len(rows) if rows else float("nan")
        if len(rows) != result.n or abs(mean - result.score) > 1e-6:
            problems.append(
                f"{cell}, {folder.name}: {PREDICTIONS_FILE} has {len(rows)} questions of {name} "
                f"where {name}.json says {result.n}, so differences have no interval"
            )
            predictions[name] = {}
    return predictions


def read_training(path: Path) -> tuple[Mapping[str, Any], ...]:
    """Rows of train.jsonl by step; none without the file. Raises ResultError naming a bad line."""
    if not path.exists():
        return ()
    rows: dict[int, Mapping[str, Any]] = {}
    lines = path.read_bytes().splitlines()
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
            # A step has a row of its training and may have one of its evaluation. A resumed run
            # writes a step again: what it says last counts.
            step = int(row["step"])
            rows[step] = {**rows.get(step, {}), **row}
        except (ValueError, KeyError, TypeError) as error:
            # A run that is writing, or was killed while writing, leaves its last line unfinished.
            if number < len(lines):
                raise ResultError(f"{path}, line {number}: not a training record") from error
    return tuple(rows[step] for step in sorted(rows))
