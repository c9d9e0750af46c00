"""Pieces of official numbers: shares of right answers, in percent."""

from collections import defaultdict
from collections.abc import Callable, Sequence

from evaluation.benchmarks.question import Answered, Metrics


def percent(answers: Sequence[Answered]) -> float:
    """Mean score of one or more questions, in percent."""
    return 100 * mean([each.score for each in answers])


def mean(values: Sequence[float]) -> float:
    """Of one or more values."""
    return sum(values) / len(values)


def grouped(
    answers: Sequence[Answered], key: Callable[[Answered], str]
) -> dict[str, list[Answered]]:
    """The answers by a name, in the order in which the names are first met."""
    found: dict[str, list[Answered]] = defaultdict(list)
    for each in answers:
        found[key(each)].append(each)
    return dict(found)


def percent_by(answers: Sequence[Answered], key: Callable[[Answered], str]) -> Metrics:
    """`percent` of each group, by the group's name in small letters with underscores."""
    return {plain(name): percent(group) for name, group in sorted(grouped(answers, key).items())}


def by_task(answers: Sequence[Answered]) -> Metrics:
    """Accuracy, and that of each task."""
    return {"accuracy": percent(answers)} | percent_by(answers, lambda a: a.task)


def mean_over_tasks(answers: Sequence[Answered]) -> Metrics:
    """The mean over tasks of their accuracies, of how many tasks, and each of them."""
    tasks = percent_by(answers, lambda a: a.task)
    return {"mean_over_tasks": mean(list(tasks.values())), "tasks": float(len(tasks))} | tasks


def plain(name: str) -> str:
    """ "Attribute Change" → "attribute_change"."""
    return "_".join("".join(c if c.isalnum() else " " for c in name).split()).lower()
