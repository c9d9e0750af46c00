"""The study: a base model, then one fine-tuned model for each frame policy × seed, all evaluated.

Every cell has its own folder under <workdir>/cells and is finished when its last result file is
there, so an interrupted study goes on where it stopped: finished cells are skipped, a half-trained
one resumes from its checkpoint.
"""

import dataclasses
import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from absl import logging
from ml_collections import ConfigDict

from evaluation.report import build_report, print_summary
from evaluation.results import write_atomically
from evaluation.runner import evaluate_checkpoint
from input_pipeline.frame_budget import spec_hash, spec_label
from input_pipeline.progress import duration
from vsft_jax.experiment import ensure_demo_world, prepare_training, resolve_frames
from vsft_jax.train.loop import train


@dataclasses.dataclass(frozen=True)
class Cell:
    """One model of the study. start: the cell it is fine-tuned from, or None for the base."""

    name: str
    config: ConfigDict
    label: str | None  # of its frame policy
    seed: int
    start: str | None

    def describe(self) -> dict[str, Any]:
        """What `cell.json` says."""
        return {
            "name": self.name,
            "role": "sft" if self.start else "base",
            "start": self.start or "scratch",
            "strategy": "full",
            "frames": self.label,
            "seed": self.seed,
        }


def run_study(config: ConfigDict, workdir: str | Path) -> Path:
    """Trains and evaluates every cell that is not finished, then writes the report.

    Returns the path of report.html. Raises ValueError if two entries of `config.study.frames`
    mean the same policy.
    """
    workdir = Path(workdir).absolute()
    config = _shared_paths(config, workdir)
    ensure_demo_world(config, workdir)
    policies = _policies(config, workdir)
    _write_json(workdir / "index_summary.json", _index_summary(config, workdir, policies))
    cells = list(_cells(config, workdir, policies))
    start = time.monotonic()
    for number, cell in enumerate(cells, 1):
        logging.info(
            "── cell %d of %d: %s (%s since the start) ──",
            *(number, len(cells), cell.name, duration(time.monotonic() - start)),
        )
        folder = workdir / "cells" / cell.name
        _write_json(folder / "cell.json", cell.describe())
        # The base stands beside every fine-tuned model, so it is evaluated under every policy.
        wanted = [policies[cell.label]] if cell.label else list(policies.values())
        # A frame policy does not reach images, so they are evaluated under the first one only.
        configs = [cell.config] + [_without_images(cell.config)] * (len(wanted) - 1)
        missing = [
            (spec, config)
            for spec, config in zip(wanted, configs, strict=True)
            if not _evaluated(folder, config, spec)
        ]
        if missing:
            train(cell.config, folder)
        for spec, config in missing:
            evaluate_checkpoint(config, folder, frames=spec)
    report = build_report(workdir, workdir)
    print_summary(workdir)
    logging.info("report: %s", report)
    return report


def _policies(config: ConfigDict, workdir: Path) -> dict[str, dict[str, Any]]:
    """Resolved frame-budget specs by label."""
    policies: dict[str, dict[str, Any]] = {}
    for entry, spec in config.study.frames.items():
        resolved = resolve_frames(_with_frames(config, spec.to_dict()), workdir)
        same = [name for name, other in policies.items() if spec_hash(other) == spec_hash(resolved)]
        label = spec_label(resolved)
        if same or label in policies:
            raise ValueError(
                f"config.study.frames.{entry} is the same policy as, or has the label of, "
                f"{(same or [label])[0]}: change or remove one"
            )
        policies[label] = resolved
    if not policies:
        raise ValueError("config.study.frames is empty: name at least one frame policy")
    return policies


def _cells(config: ConfigDict, workdir: Path, policies: Mapping[str, Any]) -> Iterator[Cell]:
    """One base model, then every policy with every seed, all policies of a seed together."""
    base = _copy(config)
    base.update(config.study.base)
    yield Cell("base", base, None, config.seed, None)
    for seed in config.study.seeds:
        for label, spec in policies.items():
            tuned = _with_frames(config, spec)
            tuned.seed = seed
            tuned.train.init_from = str(workdir / "cells" / "base")
            yield Cell(f"{label}-seed{seed}", tuned, label, seed, "base")


def _shared_paths(config: ConfigDict, workdir: Path) -> ConfigDict:
    """Cells have workdirs of their own; data and indexes stay with the study."""
    shared = _copy(config)
    shared.data.root = str((workdir / config.data.root).absolute())
    shared.data.index_dir = str(Path(config.data.index_dir or workdir / "index").absolute())
    return shared


def _copy(config: ConfigDict) -> ConfigDict:
    return config.copy_and_resolve_references()


def _with_frames(config: ConfigDict, spec: Mapping[str, Any]) -> ConfigDict:
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


def _evaluated(folder: Path, config: ConfigDict, spec: Mapping[str, Any]) -> bool:
    results = folder / "eval" / spec_label(spec)
    return all((results / f"{name}.json").exists() for name in config.data.benchmarks)


def _index_summary(config: ConfigDict, workdir: Path, policies: Mapping[str, Any]) -> dict:
    """Counts of every training set, and what each policy spends on it, for the report."""
    datasets: dict[str, Any] = {}
    budgets: dict[str, Any] = {}
    base = _copy(config)
    base.update(config.study.base)
    for label, spec in policies.items():
        summaries = prepare_training(_with_frames(config, spec), workdir).summaries
        videos = [s for s in summaries.values() if s["histogram"]]
        datasets |= summaries
        budgets[label] = {
            "histogram": _sum_counts(s["histogram"] for s in videos),
            "mean_frames": _weighted(videos, "mean_frames"),
            "visual_tokens": sum(s["visual_tokens"] for s in videos),
            "examples": [e for s in videos for e in s["budget_examples"]],
        }
    most = max((b["visual_tokens"] for b in budgets.values()), default=0)
    for budget in budgets.values():
        budget["saved_against_largest_fixed"] = 1 - budget["visual_tokens"] / max(most, 1)
    datasets |= prepare_training(base, workdir).summaries
    return {"datasets": datasets, "budgets": budgets}


def _sum_counts(histograms: Iterator[Mapping[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for histogram in histograms:
        for frames, count in histogram.items():
            total[frames] = total.get(frames, 0) + count
    return dict(sorted(total.items(), key=lambda item: int(item[0])))


def _weighted(summaries: list[Mapping[str, Any]], key: str) -> float:
    counts = [sum(s["histogram"].values()) for s in summaries]
    return sum(s[key] * n for s, n in zip(summaries, counts, strict=True)) / max(sum(counts), 1)


def _write_json(path: Path, record: Mapping[str, Any]) -> None:
    write_atomically(path, json.dumps(record, indent=1, ensure_ascii=False))
