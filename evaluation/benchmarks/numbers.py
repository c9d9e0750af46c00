"""Pieces of official numbers: shares of right answers, in percent.

All of them count an answer `times`: in a bootstrap that is an array, and so is the number.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np

from evaluation.benchmarks.question import Answered, Metrics, Value


def percent(
    answers: Sequence[Answered], of: Callable[[Answered], float] = lambda a: a.score
) -> Value:
    """The mean of their scores, or of another part of them, in percent."""
    return 100 * ratio(total(answers, of), total(answers))


def total(answers: Sequence[Answered], of: Callable[[Answered], float] = lambda a: 1.0) -> Value:
    """The sum over the answers, each as often as it counts; of nothing else their number."""
    found: Value = 0.0
    for each in answers:
        if part := of(each):
            found = found + part * each.times
    return found


def ratio(part: Value, whole: Value) -> Value:
    """part / whole; nan where whole is 0, as in a draw that has no question of a rare task."""
    part, whole = np.broadcast_arrays(np.asarray(part, float), np.asarray(whole, float))
    found = np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole != 0)
    return found if found.ndim else float(found)


def mean(values: Sequence[Value]) -> Value:
    """Of several numbers; those that a draw does not have are no part of its mean."""
    stacked = np.stack(np.broadcast_arrays(*values))
    return ratio(np.nansum(stacked, axis=0), np.sum(~np.isnan(stacked), axis=0))


def clusters(answers: Sequence[Answered]) -> list[list[Answered]]:
    """The answers by what they hang together by."""
    return list(grouped(answers, lambda a: a.cluster).values())


def grouped(
    answers: Sequence[Answered], key: Callable[[Answered], str]
) -> dict[str, list[Answered]]:
    """The answers by a name, in the order in which the names are first met."""
    found: dict[str, list[Answered]] = defaultdict(list)
    for each in answers:
        found[key(each)].append(each)
    return dict(found)


def all_right(groups: Sequence[Sequence[Answered]]) -> Value:
    """The share of clusters with all questions right, in percent."""
    right = total([g[0] for g in groups if all(a.score == 1 for a in g)])
    return 100 * ratio(right, total([g[0] for g in groups]))


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
