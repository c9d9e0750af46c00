"""The numbers of arXiv 2603.17541 beside those of the same model here.

The paper's text was not at hand: numbers are those of digests of it, and those marked so were read
off its figures, to about 0.1 points (MME: 2).
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from evaluation.report.benchmarks.official import metric_text
from evaluation.report.document import Table
from evaluation.report.read_study import Model, Study

FRAMES = (8, 16, 32, 64)
_QWEN = re.compile(r"qwen2[._]5[-_]vl[-_]7b", re.IGNORECASE)


class Told(NamedTuple):
    """One benchmark's numbers at 8, 16, 32 and 64 frames, nothing where there are none; ≈ was read
    off a figure. metric: the official number here that comes next to it."""

    benchmark: str
    metric: str
    base: str
    fixed: str
    hybrid: str = ""


QWEN_7B = (
    Told("mme", "total", "≈2360 ≈2360 ≈2360 ≈2360", "≈2296 ≈2293 ≈2299 ≈2302"),
    Told(
        *("mmstar", "accuracy"),
        base="62.07 62.07 62.07 62.07",
        fixed="61.67 62.00 62.20 62.27",
        hybrid="62.33 62.33 62.33 62.33",
    ),
    Told("mmbench", "circular", "≈87.9 ≈87.9 ≈87.9 ≈87.9", "≈87.4 ≈87.85 ≈87.8 ≈87.75"),
    Told(
        *("pope", "accuracy"),
        base="88.03 88.03 88.03 88.03",
        fixed="87.82 87.93 88.20 87.89",
        hybrid="88.20 88.20 88.20 88.20",
    ),
    Told(
        *("videomme", "accuracy"),
        base="51.19 ≈55.9 ≈60.0 ≈61.5",
        fixed="54.41 58.74 61.30 61.93",
        hybrid="54.96 58.15 61.52 60.93",
    ),
    Told(
        *("videommmu", "accuracy"),
        base="44.22 ≈48.5 ≈49.7 ≈49.8",
        fixed="47.56 50.44 51.44 51.44",
        hybrid="47.22 51.78 55.12 55.91",
    ),
    Told("mvbench", "mean_over_tasks", "≈62.7 ≈64.4 ≈66.4 ≈67.9", "≈64.6 ≈66.0 ≈66.5 ≈66.9"),
    Told("tempcompass", "mean_of_formats", "≈70.7 ≈74.3 ≈75.6 ≈75.7", "≈72.7 ≈74.35 ≈75.4 ≈75.55"),
)


def paper_table(study: Study) -> Table | None:
    """Where a model is Qwen2.5-VL-7B-Instruct, or was fine-tuned from it, and was asked one of the
    paper's benchmarks with one of its numbers of frames; None where none was."""
    rows = []
    for told in QWEN_7B:
        for model in study.models:
            rows += _rows(study, model, told)
    headers = ["benchmark", "model", "frames shown", "paper", "here"]
    return Table(headers, rows, words=("model",)) if rows else None


def _rows(study: Study, model: Model, told: Told) -> list[list[str]]:
    rows = []
    for policy, evaluation in sorted(model.evaluations.items(), key=lambda item: item[0].order):
        result = evaluation.results.get(told.benchmark)
        metric = result.metrics.get(told.metric) if result else None
        if result is None or metric is None or not _is_qwen_7b(result.provenance.config):
            continue
        trained = model.policy if result.provenance.trained_with else None
        kind = str(trained.spec["kind"]) if trained else "base"
        values = str(getattr(told, kind, "")).split()
        # Pictures have no frames: then those that the model was trained with.
        video = result.modality == "video"
        shown = policy if video else trained
        frames = shown.spec["frames"] if shown and shown.is_fixed else 0 if video else FRAMES[0]
        # A fixed number was shown what it was trained with; the hybrid rule's models any of these.
        other = video and kind == "fixed" and shown != trained
        if not values or frames not in FRAMES or other:
            continue
        rows.append(
            [
                f"{told.benchmark}, {told.metric.replace('_', ' ')}",
                model.cell.name,
                str(frames) if video else "",
                values[FRAMES.index(frames)],
                metric_text(metric),
            ]
        )
    return rows


def _is_qwen_7b(config: Mapping[str, Any]) -> bool:
    return bool(_QWEN.search(str((config.get("model") or {}).get("path") or "")))
