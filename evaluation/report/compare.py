"""Scores of models and their gains over the base, with intervals, over one or several seeds."""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np

from evaluation.report.read_study import Cell, Evaluation, Study, policy_order
from evaluation.results import BenchmarkResult, Part
from evaluation.statistics import Interval, mean_interval, seeds_interval

MODALITIES = ("image", "video")
Run = tuple[Cell, str]  # a model and the frame policy that it is evaluated under


@dataclasses.dataclass(frozen=True)
class Group:
    """Fine-tuned models that differ only by seed: one point of the trade-off."""

    label: str
    frames: str
    strategy: str
    cells: tuple[Cell, ...]

    @property
    def runs(self) -> list[Run]:
        """Each model under the policy that it was trained with."""
        return [(cell, self.frames) for cell in self.cells]


@dataclasses.dataclass(frozen=True)
class Slice:
    """Which questions: benchmarks that count equally; of one task, or shown with so many frames."""

    benchmarks: tuple[str, ...]
    task: str | None = None
    frames: int | None = None


def groups(study: Study) -> list[Group]:
    """The study's fine-tuned models by strategy and frame policy, in the order of policies."""
    members: dict[tuple[str, str], list[Cell]] = {}
    for cell in study.cells:
        if cell.role == "sft":
            members.setdefault((cell.strategy, cell.frames or "no policy"), []).append(cell)
    several = len({strategy for strategy, _ in members}) > 1
    return [
        Group(
            f"{frames} + {strategy}" if several and strategy != "full" else frames,
            frames,
            strategy,
            tuple(cells),
        )
        for (strategy, frames), cells in sorted(
            members.items(), key=lambda item: (policy_order(item[0][1]), item[0][0])
        )
    ]


def of_modality(study: Study, modality: str) -> Slice:
    """All benchmarks of "image" or "video"; may be none."""
    return Slice(tuple(b for b, m in study.benchmarks.items() if m == modality))


def tasks(study: Study, benchmark: str) -> list[str]:
    """Names of a benchmark's tasks."""
    results = _results(study, benchmark)
    return sorted({task for result in results for task in result.by_task})


def base_of(study: Study, cell: Cell) -> Cell | None:
    """The base model that a cell was fine-tuned from, possibly through other cells.

    start "base" means the study's only base model. None if it has not been made yet.
    """
    by_name = {c.name: c for c in study.cells}
    only = [c for c in study.cells if c.role == "base"]
    seen: set[str] = set()
    while cell.role != "base":
        seen.add(cell.name)
        following = by_name.get(cell.start)
        if following is None and cell.start == "base" and len(only) == 1:
            following = only[0]
        if following is None or following.name in seen:
            return None
        cell = following
    return cell


def result_of(study: Study, run: Run, benchmark: str) -> BenchmarkResult | None:
    """A model's result on a benchmark under a frame policy, None if it is not there yet."""
    evaluation = _evaluation(study, run, benchmark)
    return evaluation.results[benchmark] if evaluation else None


def finished(study: Study, runs: Sequence[Run], which: Slice) -> list[Run]:
    """The runs that have every result of the slice."""
    return [
        run
        for run in runs
        if which.benchmarks and all(_part(study, run, name, which) for name in which.benchmarks)
    ]


def score(study: Study, runs: Sequence[Run], which: Slice) -> Interval | None:
    """Mean score (0..1) of the finished ones among models that differ by seed; None if none is."""
    found = _interval(study, [(run, None) for run in finished(study, runs, which)], which)
    if found is None or math.isnan(found.low):
        return found
    # A t interval knows no bounds, a score does.
    return dataclasses.replace(found, low=max(found.low, 0.0), high=min(found.high, 1.0))


def gain(study: Study, runs: Sequence[Run], which: Slice) -> Interval | None:
    """Score minus the base model's on the same questions under the same frame policy.

    Over the runs that are finished and whose base is; None if there are none.
    """
    pairs = []
    for cell, label in finished(study, runs, which):
        base = base_of(study, cell)
        if base and finished(study, [(base, label)], which):
            pairs.append(((cell, label), (base, label)))
    return _interval(study, pairs, which)


def contrast(study: Study, first: Group, second: Group, which: Slice) -> Interval | None:
    """Score of one group minus another's, each under its own frame policy, paired by seed."""
    others = {run[0].seed: run for run in finished(study, second.runs, which)}
    pairs = [
        (run, others[run[0].seed])
        for run in finished(study, first.runs, which)
        if run[0].seed in others
    ]
    return _interval(study, pairs, which)


def chance(study: Study, which: Slice) -> float:
    """The score that guessing gets; nan if nothing was evaluated."""
    levels = []
    for name in which.benchmarks:
        results = _results(study, name)
        parts = [r.by_task.get(which.task) if which.task else r for r in results]
        levels += [part.chance for part in parts if part][:1]
    return float(np.mean(levels)) if levels else math.nan


def frame_counts(study: Study, runs: Sequence[Run]) -> list[Slice]:
    """Slices of the video questions by the number of frames that the runs showed, ascending."""
    found: dict[int, set[str]] = {}
    for run in runs:
        for name in of_modality(study, "video").benchmarks:
            result = result_of(study, run, name)
            for frames in result.by_frames if result else ():
                found.setdefault(int(frames), set()).add(name)
    return [Slice(tuple(sorted(found[frames])), frames=frames) for frames in sorted(found)]


def base_runs(study: Study, group: Group) -> list[Run]:
    """The models that a group was fine-tuned from, under the group's policy."""
    found = {base.name: base for cell in group.cells if (base := base_of(study, cell))}
    return [(cell, group.frames) for cell in found.values()]


def mean_frames(runs: Sequence[Run]) -> float:
    """Mean number of frames shown in a video question; nan if unknown."""
    parts = [
        (int(frames), part.n)
        for cell, label in runs
        if label in cell.evaluations
        for result in cell.evaluations[label].results.values()
        for frames, part in result.by_frames.items()
    ]
    total = sum(n for _, n in parts)
    return sum(frames * n for frames, n in parts) / total if total else math.nan


def visual_tokens(runs: Sequence[Run]) -> float:
    """Mean number of visual tokens in a video question; nan if unknown."""
    counts = [
        row.visual_tokens
        for cell, label in runs
        if label in cell.evaluations
        for rows in cell.evaluations[label].predictions.values()
        for row in rows.values()
        if row.frames is not None
    ]
    return float(np.mean(counts)) if counts else math.nan


def _results(study: Study, benchmark: str) -> list[BenchmarkResult]:
    return [
        evaluation.results[benchmark]
        for cell in study.cells
        for evaluation in cell.evaluations.values()
        if benchmark in evaluation.results
    ]


def _evaluation(study: Study, run: Run, benchmark: str) -> Evaluation | None:
    cell, label = run
    candidates = [cell.evaluations[label]] if label in cell.evaluations else []
    if study.benchmarks.get(benchmark) == "image":
        # A frame policy does not reach images: any evaluation of the model has the same answers.
        candidates += list(cell.evaluations.values())
    return next((e for e in candidates if benchmark in e.results), None)


def _part(study: Study, run: Run, benchmark: str, which: Slice) -> Part | BenchmarkResult | None:
    result = result_of(study, run, benchmark)
    if result and which.task is not None:
        return result.by_task.get(which.task)
    if result and which.frames is not None:
        return result.by_frames.get(str(which.frames))
    return result


def _answers(study: Study, run: Run, benchmark: str, which: Slice) -> Mapping[str, float]:
    evaluation = _evaluation(study, run, benchmark)
    rows = evaluation.predictions[benchmark].values() if evaluation else ()
    return {
        row.id: row.score
        for row in rows
        if which.task in (None, row.task) and which.frames in (None, row.frames)
    }


def _interval(
    study: Study, pairs: Sequence[tuple[Run, Run | None]], which: Slice
) -> Interval | None:
    """Mean of run minus other (or of run alone) over the questions that all of them answered."""
    if not pairs:
        return None
    strata = []
    for name in which.benchmarks:
        tables = [
            [_answers(study, run, name, which) for run in pair if run is not None] for pair in pairs
        ]
        shared = set.intersection(*(set(answers) for table in tables for answers in table))
        ids = sorted(shared)
        strata.append(
            np.array(
                [[table[0][i] - (table[1][i] if table[1:] else 0) for i in ids] for table in tables]
            )
        )
    if any(stratum.size == 0 for stratum in strata):
        return _without_answers(study, pairs, which)
    if len(pairs) == 1 and pairs[0][1] is None:
        return mean_interval(*(stratum[0] for stratum in strata))
    return seeds_interval(*strata)


def _without_answers(
    study: Study, pairs: Sequence[tuple[Run, Run | None]], which: Slice
) -> Interval:
    """The mean from result files alone, when answers to compare question by question lack."""

    def mean(run: Run | None) -> float:
        if run is None:
            return 0.0
        return float(np.mean([_part(study, run, b, which).score for b in which.benchmarks]))

    n = sum(_part(study, pairs[0][0], b, which).n for b in which.benchmarks)
    difference = float(np.mean([mean(run) - mean(other) for run, other in pairs]))
    return Interval(difference, math.nan, math.nan, n, len(pairs))
