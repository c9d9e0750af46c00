"""Reads a study directory: cells, their training logs and evaluations, the index summary."""

import dataclasses
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evaluation.results import (
    PREDICTIONS_FILE,
    BenchmarkResult,
    Prediction,
    ResultError,
    read_predictions,
)


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """One model under one frame policy. predictions: by benchmark, then by question id."""

    results: Mapping[str, BenchmarkResult]
    predictions: Mapping[str, Mapping[str, Prediction]]


@dataclasses.dataclass(frozen=True)
class Cell:
    """One trained model. evaluations: by frame-policy label. train: rows of train.jsonl."""

    name: str
    start: str
    strategy: str
    frames: str | None
    seed: int
    role: str
    train: tuple[Mapping[str, Any], ...]
    evaluations: Mapping[str, Evaluation]


@dataclasses.dataclass(frozen=True)
class Study:
    """Everything that a report is made from. problems: what was found missing or odd."""

    name: str
    cells: tuple[Cell, ...]
    index_summary: Mapping[str, Any]
    problems: tuple[str, ...]

    @property
    def benchmarks(self) -> dict[str, str]:
        """Modality of every benchmark that any model was evaluated on, images first."""
        found = {
            name: result.modality
            for cell in self.cells
            for evaluation in cell.evaluations.values()
            for name, result in evaluation.results.items()
        }
        return dict(sorted(found.items(), key=lambda item: (item[1], item[0])))

    @property
    def policies(self) -> list[str]:
        """Every frame-policy label of the study: fixed budgets by size, then the others."""
        labels = {cell.frames for cell in self.cells if cell.frames}
        for cell in self.cells:
            labels |= set(cell.evaluations)
        return sorted(labels | set(self.index_summary.get("budgets") or {}), key=policy_order)


def policy_order(label: str) -> tuple[int, float, str]:
    """Sort key: fixed budgets by their number, then hybrid and other policies, then controls."""
    fixed = re.fullmatch(r"fixed-(\d+)", label)
    if fixed:
        return 0, float(fixed[1]), label
    return (2 if label.startswith("random") else 1), float(label != "hybrid"), label


def read_study(study_dir: str | Path) -> Study:
    """Reads what the study has left so far.

    Missing pieces become entries of `problems`. Raises FileNotFoundError if there are no cells,
    and ResultError for a file that is there but cannot be read.
    """
    study_dir = Path(study_dir).absolute()
    folders = sorted(path for path in study_dir.glob("cells/*") if path.is_dir())
    if not folders:
        raise FileNotFoundError(f"{study_dir}/cells: no cells; is this a study's directory?")
    problems: list[str] = []
    cells = []
    for folder in folders:
        if (folder / "cell.json").exists():
            cells.append(_read_cell(folder, problems))
        else:
            problems.append(f"{folder.name}: cell.json is missing, so the cell is not shown")
    cells.sort(key=lambda c: (c.role != "base", policy_order(c.frames or ""), c.strategy, c.seed))
    summary_path = study_dir / "index_summary.json"
    summary = _read_json(summary_path) if summary_path.exists() else {}
    return Study(study_dir.name, tuple(cells), summary, tuple(problems))


def _read_cell(folder: Path, problems: list[str]) -> Cell:
    record = _read_json(folder / "cell.json")
    expected = {"name", "start", "strategy", "frames", "seed", "role"}
    if missing := sorted(expected - set(record)):
        raise ResultError(f"{folder / 'cell.json'}: missing {', '.join(missing)}")
    if record["role"] not in ("base", "sft"):
        raise ResultError(f"{folder / 'cell.json'}: role {record['role']!r} is not base or sft")
    evaluations = {
        path.name: _read_evaluation(path, record["name"], problems)
        for path in sorted(folder.glob("eval/*"))
        if path.is_dir()
    }
    train = _read_training(folder / "train.jsonl")
    return Cell(**{key: record[key] for key in expected}, train=train, evaluations=evaluations)


def _read_evaluation(folder: Path, cell: str, problems: list[str]) -> Evaluation:
    results = {path.stem: BenchmarkResult.load(path) for path in sorted(folder.glob("*.json"))}
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
    return Evaluation(results, predictions)


def _read_training(path: Path) -> tuple[Mapping[str, Any], ...]:
    if not path.exists():
        return ()
    rows: dict[int, Mapping[str, Any]] = {}
    lines = path.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
            rows[int(row["step"])] = row  # a resumed run writes a step again: the last one counts
        except (ValueError, KeyError, TypeError) as error:
            # A run that is writing, or was killed while writing, leaves its last line unfinished.
            if number < len(lines):
                raise ResultError(f"{path}, line {number}: not a training record") from error
    return tuple(rows[step] for step in sorted(rows))


def _read_json(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ResultError(f"{path}: not JSON: {error}") from error
    if not isinstance(record, dict):
        raise ResultError(f"{path}: expected an object, found {type(record).__name__}")
    return record
