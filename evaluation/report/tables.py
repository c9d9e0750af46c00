"""study.csv and the tables of the report."""

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from evaluation.report import compare
from evaluation.report.compare import Slice
from evaluation.report.document import Table
from evaluation.report.figures.training import losses
from evaluation.report.read_study import Cell, Study, policy_order
from evaluation.report.wording import (
    NOT_FINISHED,
    NOT_RECORDED,
    count,
    gain_text,
    listed,
    percent,
    score_text,
)

CSV_COLUMNS = (
    "cell", "role", "frames", "seed", "benchmark", "modality", "task", "score", "low", "high", "n",
    "base_score", "delta", "delta_low", "delta_high",
)  # fmt: skip


def study_csv(study: Study) -> str:
    """One row per cell × benchmark × task, task "" for all questions; scores in 0..1.

    frames is the policy of the evaluation. A row without a score is a cell that has not finished
    that benchmark.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, CSV_COLUMNS, lineterminator="\n")
    writer.writeheader()
    for cell in study.cells:
        for label in _labels(study, cell) or [""]:
            for benchmark in study.benchmarks or [""]:
                writer.writerows(_csv_rows(study, cell, label, benchmark))
    return text.getvalue()


def _labels(study: Study, cell: Cell) -> list[str]:
    """The policies that a cell is, or will be, evaluated under: its own, or all for a base."""
    expected = [cell.frames] if cell.frames else study.policies
    return sorted({*expected, *cell.evaluations}, key=policy_order)


def _csv_rows(study: Study, cell: Cell, label: str, benchmark: str) -> Iterator[dict[str, Any]]:
    result = compare.result_of(study, (cell, label), benchmark)
    row = {
        "cell": cell.name,
        "role": cell.role,
        "frames": label,
        "seed": cell.seed,
        "benchmark": benchmark,
        "modality": study.benchmarks.get(benchmark, ""),
        "task": "",
    }
    if result is None:
        yield row
        return
    base = compare.base_of(study, cell) if cell.role != "base" else None
    base_result = compare.result_of(study, (base, label), benchmark) if base else None
    for task, part in (("", result), *result.by_task.items()):
        row |= {"task": task, "score": part.score, "low": part.low, "high": part.high, "n": part.n}
        row |= dict.fromkeys(CSV_COLUMNS[-4:], "")
        base_part = (
            base_result if base_result is None or not task else base_result.by_task.get(task)
        )
        gain = compare.gain(study, [(cell, label)], Slice((benchmark,), task or None))
        if base_part and gain:
            row |= {
                "base_score": base_part.score,
                "delta": gain.mean,
                "delta_low": "" if math.isnan(gain.low) else gain.low,
                "delta_high": "" if math.isnan(gain.high) else gain.high,
            }
        yield row


def score_table(study: Study) -> Table:
    """Image and video score of the base and of each fine-tuned model, and the change."""
    rows = []
    for group in compare.groups(study):
        frames = compare.mean_frames([*group.runs, *compare.base_runs(study, group)])
        cells = [group.label, "–" if math.isnan(frames) else f"{frames:.1f}"]
        for modality in compare.MODALITIES:
            which = compare.of_modality(study, modality)
            if not which.benchmarks:
                cells += ["no benchmark"] * 3
                continue
            cells += [
                score_text(compare.score(study, compare.base_runs(study, group), which)),
                score_text(compare.score(study, group.runs, which)),
                gain_text(compare.gain(study, group.runs, which)),
            ]
        rows.append(cells)
    levels = [
        percent(compare.chance(study, compare.of_modality(study, modality)))
        for modality in compare.MODALITIES
    ]
    rows.append(["chance", "", levels[0], levels[0], "", levels[1], levels[1], ""])
    headers = ["frame policy", "frames a video"]
    headers += [f"{m}: {what}" for m in compare.MODALITIES for what in ("base", "tuned", "change")]
    return Table(headers, rows, "Scores in percent and changes in points, with 95 % intervals")


def benchmark_tables(study: Study) -> list[Table]:
    """Change by benchmark, for modalities that have more than one."""
    modalities = list(study.benchmarks.values())
    names = [b for b, modality in study.benchmarks.items() if modalities.count(modality) > 1]
    if not names:
        return []
    rows = [
        [group.label, *(gain_text(compare.gain(study, group.runs, Slice((b,)))) for b in names)]
        for group in compare.groups(study)
    ]
    headers = ["frame policy", *(f"{name} ({study.benchmarks[name]})" for name in names)]
    return [Table(headers, rows, "Change by benchmark, in points")]


def example_tables(study: Study) -> list[Table]:
    """Why each policy that varies gave an example its frames."""
    tables = []
    for label in study.policies:
        budget = (study.index_summary.get("budgets") or {}).get(label) or {}
        examples = budget.get("examples") or []
        if label.startswith("fixed-") or not examples:
            continue
        rows = [
            [str(e.get("frames", "")), _question(e.get("instruction", "")), e.get("why", "")]
            for e in examples[:6]
        ]
        headers = ["frames", "instruction", "why"]
        tables.append(Table(headers, rows, f"Examples of {label}", words=("instruction", "why")))
    return tables


def throughput_table(study: Study) -> Table:
    """Steps, loss and speed of each model's training: medians over the logged steps and seeds."""
    headers = [
        "model", "steps", "last loss", "examples/s", "tokens/s", "visual tokens/s",
        "waiting for data", "token fill", "patch fill", "gradient norm",
    ]  # fmt: skip
    rows = []
    for name, cells in _models(study):
        logged = [cell for cell in cells if cell.train]
        if not logged:
            rows.append([name, NOT_FINISHED, *[""] * 8])
            continue
        last = [loss for cell in logged for _, loss in losses(cell)[-5:]]
        rows.append(
            [
                name,
                count(max(float(cell.train[-1]["step"]) for cell in logged)),
                f"{np.median(last):.3f}" if last else NOT_RECORDED,
                count(_median(logged, "examples_per_second"), 1),
                count(_median(logged, "tokens_per_second")),
                count(_median(logged, "visual_tokens_per_second")),
                _share(_median(logged, "data_wait_fraction")),
                _share(_median(logged, "token_fill")),
                _share(_median(logged, "patch_fill")),
                count(_median(logged, "grad_norm"), 2),
            ]
        )
    return Table(headers, rows)


def data_table(study: Study) -> Table | None:
    """What became of every data set's examples while it was prepared; None if not recorded."""
    datasets = study.index_summary.get("datasets") or {}
    rows = [
        [
            name,
            count(data.get("examples")),
            count(data.get("kept")),
            count(data.get("left_out")),
            _counts(data.get("shrunk")),
            _counts(data.get("quarantined")),
        ]
        for name, data in datasets.items()
    ]
    headers = ["data set", "examples", "kept", "too long", "shrunk", "quarantined"]
    words = ("shrunk", "quarantined")
    return Table(headers, rows, "While the data was prepared", words=words) if rows else None


def masked_table(study: Study) -> Table:
    """What failed later: training examples, questions, and answers that could not be read."""
    rows = []
    for name, cells in _models(study):
        logged = (row.get("masked") for cell in cells for row in cell.train)
        counts = [masked for masked in logged if masked is not None]
        results = [
            result
            for cell in cells
            for evaluation in cell.evaluations.values()
            for result in evaluation.results.values()
        ]
        rows.append(
            [
                name,
                count(sum(counts)) if counts else NOT_RECORDED,
                count(sum(r.n + r.masked for r in results)) if results else NOT_FINISHED,
                count(sum(r.masked for r in results)) if results else "",
                count(sum(r.unparsed for r in results)) if results else "",
            ]
        )
    headers = [
        "model", "masked in training", "questions", "masked questions", "unread answers",
    ]  # fmt: skip
    return Table(headers, rows, "While models were trained and evaluated")


def status_table(study: Study) -> Table:
    """Every model of the study and how far it is."""
    rows = []
    for cell in study.cells:
        missing = [
            f"{benchmark} under {label}"
            for label in _labels(study, cell)
            for benchmark in study.benchmarks
            if compare.result_of(study, (cell, label), benchmark) is None
        ]
        if not study.benchmarks or (missing and not cell.evaluations):
            missing = ["evaluation"]
        if not cell.train:
            missing.insert(0, "training log")
        state = f"{NOT_FINISHED}: {listed(missing)}" if missing else "finished"
        rows.append([cell.name, cell.role, cell.frames or "–", str(cell.seed), cell.start, state])
    headers = ["model", "role", "frames", "seed", "starts from", "state"]
    return Table(headers, rows, words=("role", "frames", "starts from", "state"))


def _models(study: Study) -> list[tuple[str, Sequence[Cell]]]:
    """The base and every group of fine-tuned models, with the number of seeds if several."""
    found = [("base", [cell for cell in study.cells if cell.role == "base"])]
    found += [(group.label, group.cells) for group in compare.groups(study)]
    return [
        (f"{name}, {len(cells)} seeds" if len(cells) > 1 else name, cells)
        for name, cells in found
        if cells
    ]


def _median(cells: Sequence[Cell], key: str) -> float:
    values = [float(row[key]) for c in cells for row in c.train if row.get(key) is not None]
    return float(np.median(values)) if values else math.nan


def _share(value: float) -> str:
    return NOT_RECORDED if math.isnan(value) else f"{100 * value:.0f} %"


def _counts(counts: Mapping[str, int] | None) -> str:
    if counts is None:
        return NOT_RECORDED
    return ", ".join(f"{name} {n:,}" for name, n in counts.items()) or "none"


def _question(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 160 else text[:159] + "…"
