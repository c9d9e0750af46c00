"""A model against a base, question by question, with intervals and p-values."""

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging

from evaluation.compare.settings import other_software, unlike
from evaluation.records import ResultError
from evaluation.report.read_study import Evaluation, FramePolicy, read_evaluations
from evaluation.results import BenchmarkResult, Prediction, clusters, evaluation_folder
from evaluation.statistics import (
    Interval,
    Sample,
    holm,
    mcnemar,
    paired_difference,
    paired_p_value,
    smallest_difference,
)
from input_pipeline.files import write_atomically

COMPARISON_FILE = "comparison.json"


@dataclasses.dataclass(frozen=True)
class Change:
    """Score minus the base's on the questions that both answered, over all tasks ("") or one.

    clusters: the clips and pictures that they are about. score, base: means, 0..1. difference: by a
    paired bootstrap over clusters. gained, lost: questions that scored more and less than the
    base's. mcnemar: exact p-value of that split, as if questions were independent. p: the same with
    a cluster's questions kept together, `paired_p_value`. holm: p corrected for the number of
    tasks; of all questions, p.
    """

    task: str
    n: int
    clusters: int
    score: float
    base: float
    difference: Interval
    gained: int
    lost: int
    mcnemar: float
    p: float
    holm: float


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Two models on one benchmark.

    frames, base_frames: labels of the policies they were asked under. unlike: what was not the same
    besides the model, in words; software: likewise, what may matter. unpaired: questions that one
    of them alone answered, which are left out. smallest: the smallest true difference that
    questions like these show, see `smallest_difference`. official: its numbers, {name: (here, of
    the base)}.
    """

    benchmark: str
    frames: str
    base_frames: str
    unlike: Sequence[str]
    software: Sequence[str]
    total: Change
    tasks: Sequence[Change]
    unpaired: int
    smallest: float
    official: Mapping[str, tuple[float, float]]


def compare_folders(
    run: str | Path, base: str | Path, *, even_unlike: bool = False
) -> list[Comparison]:
    """A run's results against another one's, for each benchmark that both have.

    run, base: folders of runs, or of one evaluation (<run>/eval/<policy>). Under each frame policy
    that both were asked under; what no policy reaches, such as pictures, under any; else under the
    only one that either has.
    Raises ResultError for a folder without results or answers, where there is nothing to compare,
    and unless `even_unlike` where the two were not asked alike, naming every difference.
    """
    evaluations, others = _evaluations(Path(run)), _evaluations(Path(base))
    found = [
        _compare(
            _side(evaluations[policy], name, run), _side(others[under], name, base), policy, under
        )
        for name in sorted(_benchmarks(evaluations))
        for policy, under in _matches(_having(evaluations, name), _having(others, name), name)
    ]
    if not found:
        both = [", ".join(sorted(_benchmarks(each))) for each in (evaluations, others)]
        raise ResultError(
            f"{run} has results of {both[0]}, {base} of {both[1]}: there is nothing to compare"
        )
    differing = {each.benchmark: each.unlike for each in found if each.unlike}
    if differing and not even_unlike:
        lines = dict.fromkeys(line for lines in differing.values() for line in lines)
        raise ResultError(
            f"{run} and {base} were not asked alike ({', '.join(differing)}):\n"
            f"{'; '.join(lines)}\n"
            "evaluate one of them anew like the other, or add --even-unlike to see what this and "
            "the models make together"
        )
    return found


def save(comparisons: Sequence[Comparison], path: str | Path) -> None:
    """Writes comparisons as a JSON list; what is not a number is null."""
    records = [_plain(dataclasses.asdict(each)) for each in comparisons]
    write_atomically(path, json.dumps(records, indent=1, ensure_ascii=False, allow_nan=False))


def _evaluations(folder: Path) -> dict[FramePolicy, Evaluation]:
    folder = folder.absolute()
    one = folder.parent.name == "eval" and not (folder / "eval").is_dir()
    run = folder.parent.parent if one else folder
    found = read_evaluations(run, {}, [])
    if one:
        found = {p: each for p, each in found.items() if evaluation_folder(run, p.spec) == folder}
    if not found:
        raise ResultError(
            f"{folder}: no results; evaluate the run first: vsft --workdir={run} --job=evaluate"
        )
    return found


def _having(
    evaluations: Mapping[FramePolicy, Evaluation], benchmark: str
) -> dict[FramePolicy, BenchmarkResult]:
    return {p: e.results[benchmark] for p, e in evaluations.items() if benchmark in e.results}


def _matches(
    results: Mapping[FramePolicy, BenchmarkResult],
    of_base: Mapping[FramePolicy, BenchmarkResult],
    benchmark: str,
) -> list[tuple[FramePolicy, FramePolicy]]:
    """The policies under which a benchmark's results are compared; none where one side lacks it."""
    if not of_base:
        return []
    first = [(next(iter(results)), next(iter(of_base)))]
    if next(iter(results.values())).modality != "video":
        return first
    if same := [(policy, policy) for policy in results if policy in of_base]:
        for policy in results.keys() - of_base.keys():
            logging.info("%s: the base was not asked under %s", benchmark, policy.label)
        return same
    if len(results) == len(of_base) == 1:
        return first
    labels = [", ".join(policy.label for policy in each) for each in (results, of_base)]
    raise ResultError(
        f"{benchmark} was asked under {labels[0]}, of the base under {labels[1]}: name the folders "
        "of two evaluations, <run>/eval/<policy>"
    )


def _benchmarks(evaluations: Mapping[FramePolicy, Evaluation]) -> set[str]:
    return {name for each in evaluations.values() for name in each.results}


@dataclasses.dataclass(frozen=True)
class _Side:
    result: BenchmarkResult
    answers: Mapping[str, Prediction]


def _side(evaluation: Evaluation, benchmark: str, where: str | Path) -> _Side:
    answers = evaluation.predictions[benchmark]
    if not answers:
        raise ResultError(
            f"{where}: the answers to {benchmark} are missing from predictions.jsonl, or are not "
            "those of its result: evaluate it again"
        )
    return _Side(evaluation.results[benchmark], answers)


def _compare(side: _Side, base: _Side, policy: FramePolicy, under: FramePolicy) -> Comparison:
    shared = sorted(side.answers.keys() & base.answers.keys())
    if not shared:
        raise ResultError(f"{side.result.benchmark}: the two have no question in common")
    pairs = [(side.answers[i], base.answers[i]) for i in shared]
    total = _change("", pairs)
    tasks = [
        _change(task, [pair for pair in pairs if pair[0].task == task])
        for task in sorted({answer.task for answer, _ in pairs})
    ]
    corrected = holm([each.p for each in tasks])
    of_base = base.result.metrics
    return Comparison(
        benchmark=side.result.benchmark,
        frames=policy.label,
        base_frames=under.label,
        unlike=unlike(side.result, base.result, pairs),
        software=other_software(side.result, base.result),
        total=total,
        tasks=[dataclasses.replace(each, holm=p) for each, p in zip(tasks, corrected, strict=True)],
        unpaired=len(side.answers.keys() ^ base.answers.keys()),
        smallest=smallest_difference(total.difference),
        official={
            name: (metric.value, of_base[name].value)
            for name, metric in side.result.metrics.items()
            if name in of_base
        },
    )


def _change(task: str, pairs: Sequence[tuple[Prediction, Prediction]]) -> Change:
    names = clusters(answer for answer, _ in pairs)
    scores = np.array([[answer.score, base.score] for answer, base in pairs]).T
    differences = scores[0] - scores[1]
    gained, lost = int((differences > 0).sum()), int((differences < 0).sum())
    p = paired_p_value(Sample(differences, names))
    return Change(
        task=task,
        n=len(pairs),
        clusters=len(set(names)),
        score=float(scores[0].mean()),
        base=float(scores[1].mean()),
        difference=paired_difference(Sample(scores[0], names), scores[1]),
        gained=gained,
        lost=lost,
        mcnemar=mcnemar(gained, lost),
        p=p,
        holm=p,
    )


def _plain(value: Any) -> Any:
    """A value as JSON can hold it."""
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and math.isnan(value) else value
