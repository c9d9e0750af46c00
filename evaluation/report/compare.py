"""Scores of models and their gains over the base, with intervals, over one or several seeds."""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np

from evaluation.report.read_study import Evaluation, FramePolicy, Model, Study
from evaluation.results import BenchmarkResult, Part, Prediction, clusters
from evaluation.statistics import (
    Interval,
    Sample,
    bootstrap_mean,
    mean_interval,
    seeds_interval,
    smallest_difference,
)

PLANE = ("image", "video")  # what fine-tuning on video is about
MODALITIES = (*PLANE, "text")  # what questions are asked about
HELD_TEXT = "held_text"


@dataclasses.dataclass(frozen=True)
class Shown:
    """A model shown the frames of a policy: what is compared."""

    model: Model
    policy: FramePolicy


@dataclasses.dataclass(frozen=True)
class Group:
    """Fine-tuned models that differ only by seed: one point of the trade-off.

    label: its name for print, which no other group has.
    """

    label: str
    policy: FramePolicy
    strategy: str
    models: tuple[Model, ...]

    @property
    def shown(self) -> list[Shown]:
        """Each model under the policy that it was trained with."""
        return [Shown(model, self.policy) for model in self.models]


@dataclasses.dataclass(frozen=True)
class Slice:
    """Which questions: benchmarks that count equally; of one task, or shown with so many frames."""

    benchmarks: tuple[str, ...]
    task: str | None = None
    frames: int | None = None


def groups(study: Study) -> list[Group]:
    """The study's fine-tuned models by strategy and frame policy, in the order of policies."""
    members: dict[tuple[str, FramePolicy], list[Model]] = {}
    for model in study.models:
        if model.policy:
            members.setdefault((model.cell.strategy, model.policy), []).append(model)
    several = len({strategy for strategy, _ in members}) > 1
    return [
        Group(_name(study.label(policy), strategy, several), policy, strategy, tuple(models))
        for (strategy, policy), models in sorted(
            members.items(), key=lambda item: (item[0][1].order, item[0][1].key, item[0][0])
        )
    ]


def _name(policy: str, strategy: str, several: bool) -> str:
    return f"{policy} + {strategy}" if several and strategy != "full" else policy


def by_remedy(study: Study) -> tuple[list[Group], list[Group]]:
    """Groups without a remedy, and with one: those whose policy has a group of the full model."""
    found = groups(study)
    whole = {group.policy for group in found if group.strategy == "full"}
    plain = [g for g in found if g.strategy == "full" or g.policy not in whole]
    return plain, [group for group in found if group not in plain]


def of_modality(study: Study, modality: str) -> Slice:
    """All benchmarks of one of `MODALITIES`, or of held texts; may be none."""
    return Slice(tuple(b for b, m in study.benchmarks.items() if m == modality))


def modalities(study: Study) -> tuple[str, ...]:
    """Those that scores are shown of: images and videos, and text where it was asked about."""
    return MODALITIES if "text" in study.benchmarks.values() else PLANE


def asked_benchmarks(study: Study) -> list[str]:
    """The benchmarks that ask questions."""
    return [name for name, modality in study.benchmarks.items() if modality != HELD_TEXT]


def tasks(study: Study, benchmark: str) -> list[str]:
    """Names of a benchmark's tasks."""
    results = _results(study, benchmark)
    return sorted({task for result in results for task in result.by_task})


def base_of(study: Study, model: Model) -> Model | None:
    """The base model that a model was fine-tuned from, possibly through others.

    start "base" means the study's only base model. None if it has not been made yet.
    """
    by_name = {m.cell.name: m for m in study.models}
    only = [m for m in study.models if m.is_base]
    seen: set[str] = set()
    while not model.is_base:
        seen.add(model.cell.name)
        following = by_name.get(model.cell.start)
        if following is None and model.cell.start == "base" and len(only) == 1:
            following = only[0]
        if following is None or following.cell.name in seen:
            return None
        model = following
    return model


def result_of(study: Study, shown: Shown, benchmark: str) -> BenchmarkResult | None:
    """A model's result on a benchmark under a frame policy, None if it is not there yet."""
    evaluation = _evaluation(study, shown, benchmark)
    return evaluation.results[benchmark] if evaluation else None


def answers(study: Study, shown: Shown, benchmark: str) -> Mapping[str, Prediction]:
    """A model's answers to a benchmark under a frame policy, by question; none if not there."""
    evaluation = _evaluation(study, shown, benchmark)
    return evaluation.predictions[benchmark] if evaluation else {}


def alone(study: Study) -> list[Shown]:
    """The models to show where nothing is fine-tuned from them; none if there is a comparison."""
    if groups(study):
        return []
    return [Shown(model, policy) for model in study.models for policy in model.evaluations]


def finished(study: Study, shown: Sequence[Shown], which: Slice) -> list[Shown]:
    """Those that have every result of the slice."""
    return [
        each
        for each in shown
        if which.benchmarks and len(_parts(study, each, which)) == len(which.benchmarks)
    ]


def score(study: Study, shown: Sequence[Shown], which: Slice) -> Interval | None:
    """Mean score (0..1) of the finished ones among models that differ by seed; None if none is.
    Of held texts, here and in what follows, it is in bits a byte, which are better where fewer."""
    found = _interval(study, [(each, None) for each in finished(study, shown, which)], which)
    if found is None or math.isnan(found.low) or _in_bits(study, which):
        return found
    # A t interval knows no bounds, a score does.
    return dataclasses.replace(found, low=max(found.low, 0.0), high=min(found.high, 1.0))


def gain(study: Study, shown: Sequence[Shown], which: Slice) -> Interval | None:
    """Score minus the base model's on the same questions under the same frame policy.

    Over the models that are finished and whose base is; None if there are none.
    """
    pairs = []
    for tuned in finished(study, shown, which):
        model = base_of(study, tuned.model)
        base = Shown(model, tuned.policy) if model else None
        if base and finished(study, [base], which):
            pairs.append((tuned, base))
    return _interval(study, pairs, which)


def smallest_change(study: Study, which: Slice) -> float:
    """The smallest true change that any group's gain would show with 80 % power at the 5 % level,
    see `smallest_difference`; nan where no gain has an interval."""
    gains = [gain(study, group.shown, which) for group in groups(study)]
    found = [smallest_difference(each) for each in gains if each]
    return max((each for each in found if not math.isnan(each)), default=math.nan)


def contrast(study: Study, first: Group, second: Group, which: Slice) -> Interval | None:
    """Score of one group minus another's, each under its own frame policy, paired by seed."""
    others = {each.model.cell.seed: each for each in finished(study, second.shown, which)}
    pairs = [
        (each, others[each.model.cell.seed])
        for each in finished(study, first.shown, which)
        if each.model.cell.seed in others
    ]
    return _interval(study, pairs, which)


def chance(study: Study, which: Slice) -> float:
    """The score that guessing gets; nan if nothing was evaluated."""
    levels = [parts[0].chance for parts in _asked(study, which)]
    return float(np.mean(levels)) if levels else math.nan


def questions(study: Study, which: Slice) -> tuple[int, int]:
    """How many questions of the slice any model answered at least and at most; 0, 0 if none.

    They differ where media of some could not be decoded.
    """
    counts = [[part.n for part in parts] for parts in _asked(study, which)]
    return sum(map(min, counts)), sum(map(max, counts))


def _asked(study: Study, which: Slice) -> list[list[Part | BenchmarkResult]]:
    """What any model answered of the slice's benchmarks or task: one list a benchmark."""
    found = []
    for name in which.benchmarks:
        results = _results(study, name)
        parts = [r.by_task.get(which.task) if which.task else r for r in results]
        found.append([part for part in parts if part])
    return [parts for parts in found if parts]


def base_below_chance(study: Study, group: Group, which: Slice) -> float | None:
    """The score of a group's base where it is less than guessing gets; None where it is not.

    A gain over such a base is in part a gain of the form of an answer.
    """
    base = score(study, base_shown(study, group), which)
    return base.mean if base and base.mean < chance(study, which) else None


def frame_counts(study: Study, shown: Sequence[Shown]) -> list[Slice]:
    """Slices of the video questions by the number of frames that were shown, ascending."""
    found: dict[int, set[str]] = {}
    for each in shown:
        for name in of_modality(study, "video").benchmarks:
            result = result_of(study, each, name)
            for frames in result.by_frames if result else ():
                found.setdefault(int(frames), set()).add(name)
    return [Slice(tuple(sorted(found[frames])), frames=frames) for frames in sorted(found)]


def base_shown(study: Study, group: Group) -> list[Shown]:
    """The models that a group was fine-tuned from, under the group's policy."""
    found = {base.cell.name: base for model in group.models if (base := base_of(study, model))}
    return [Shown(model, group.policy) for model in found.values()]


def mean_frames(shown: Sequence[Shown]) -> float:
    """Mean number of frames shown in a video question; nan if unknown."""
    parts = [
        (int(frames), part.n)
        for each in shown
        if each.policy in each.model.evaluations
        for result in each.model.evaluations[each.policy].results.values()
        for frames, part in result.by_frames.items()
    ]
    total = sum(n for _, n in parts)
    return sum(frames * n for frames, n in parts) / total if total else math.nan


def _results(study: Study, benchmark: str) -> list[BenchmarkResult]:
    return [
        evaluation.results[benchmark]
        for model in study.models
        for evaluation in model.evaluations.values()
        if benchmark in evaluation.results
    ]


def _evaluation(study: Study, shown: Shown, benchmark: str) -> Evaluation | None:
    evaluations = shown.model.evaluations
    candidates = [evaluations[shown.policy]] if shown.policy in evaluations else []
    if study.benchmarks.get(benchmark) != "video":
        # A frame policy reaches clips alone: any evaluation of the model has the same answers.
        candidates += list(evaluations.values())
    return next((e for e in candidates if benchmark in e.results), None)


def _parts(study: Study, shown: Shown, which: Slice) -> list[Part | BenchmarkResult]:
    """The results of a slice that are there: one a benchmark once the model is finished."""
    found = (_part(study, shown, name, which) for name in which.benchmarks)
    return [part for part in found if part]


def _part(
    study: Study, shown: Shown, benchmark: str, which: Slice
) -> Part | BenchmarkResult | None:
    result = result_of(study, shown, benchmark)
    if result and which.task is not None:
        return result.by_task.get(which.task)
    if result and which.frames is not None:
        return result.by_frames.get(str(which.frames))
    return result


def _scores(study: Study, shown: Shown, benchmark: str, which: Slice) -> Mapping[str, float]:
    bits = _in_bits(study, which)
    return {
        row.id: -math.log2(row.score) if bits else row.score
        for row in answers(study, shown, benchmark).values()
        if which.task in (None, row.task) and which.frames in (None, row.frames)
    }


def _in_bits(study: Study, which: Slice) -> bool:
    return any(study.benchmarks.get(name) == HELD_TEXT for name in which.benchmarks)


def _interval(
    study: Study, pairs: Sequence[tuple[Shown, Shown | None]], which: Slice
) -> Interval | None:
    """Mean of one minus the other (or of one alone) over the questions that all answered, those of
    a clip or picture kept together."""
    if not pairs:
        return None
    strata: list[Sample] = []
    for name in which.benchmarks:
        tables = [
            [_scores(study, each, name, which) for each in pair if each is not None]
            for pair in pairs
        ]
        shared = set.intersection(*(set(scores) for table in tables for scores in table))
        ids = sorted(shared)
        scores = [
            [table[0][i] - (table[1][i] if table[1:] else 0) for i in ids] for table in tables
        ]
        asked = answers(study, pairs[0][0], name)
        strata.append(Sample(np.array(scores), clusters(asked[i] for i in ids)))
    if any(stratum.scores.size == 0 for stratum in strata):
        return _without_answers(study, pairs, which)
    if len(pairs) == 1 and pairs[0][1] is None:
        of_mean = bootstrap_mean if _in_bits(study, which) else mean_interval
        return of_mean(*(Sample(each.scores[0], each.clusters) for each in strata))
    return seeds_interval(*strata)


def _without_answers(
    study: Study, pairs: Sequence[tuple[Shown, Shown | None]], which: Slice
) -> Interval:
    """The mean from result files alone, when answers to compare question by question lack."""

    def mean(shown: Shown | None) -> float:
        if shown is None:
            return 0.0
        scores = np.array([part.score for part in _parts(study, shown, which)])
        return float((-np.log2(scores) if _in_bits(study, which) else scores).mean())

    n = sum(part.n for part in _parts(study, pairs[0][0], which))
    difference = float(np.mean([mean(one) - mean(other) for one, other in pairs]))
    return Interval(difference, math.nan, math.nan, n, len(pairs))
