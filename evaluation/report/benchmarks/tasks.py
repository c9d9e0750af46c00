"""Which tasks changed, corrected for how many there are."""

from collections import defaultdict

import numpy as np

from evaluation.report import compare
from evaluation.report.compare import Group, Shown, Slice
from evaluation.report.document import Table
from evaluation.report.read_study import Study
from evaluation.report.wording import Strong, of_questions, signed, task_name
from evaluation.results import clusters
from evaluation.statistics import Sample, holm, paired_p_value

_SURE = 0.05
_LEAST = 0.001  # a smaller p is not spelt out


def task_tables(study: Study) -> list[Table]:
    """Of each benchmark with several tasks the change of each over the base, with its p-value by
    Holm's correction for these tasks; strong below 0.05. None without a comparison.

    Of several seeds a question's change is the mean: p is for these models, not for other seeds.
    """
    tables = []
    for benchmark in compare.asked_benchmarks(study):
        tasks = compare.tasks(study, benchmark)
        columns = {
            group.label: _changes(study, group, benchmark) for group in compare.groups(study)
        }
        columns = {label: found for label, found in columns.items() if found}
        if len(tasks) < 2 or not columns:
            continue
        rows = []
        for task in tasks:
            n = of_questions(*compare.questions(study, Slice((benchmark,), task)))
            cells = [found.get(task, "–") for found in columns.values()]
            rows.append([f"{task_name(task)}, {n}", *cells])
        tables.append(Table(["task", *columns], rows, f"{benchmark}, {len(tasks)} tasks"))
    return tables


def _changes(study: Study, group: Group, benchmark: str) -> dict[str, str]:
    """By task; none where the group or its base is not finished."""
    by_task = _differences(study, group, benchmark)
    names = sorted(by_task)
    corrected = holm([paired_p_value(by_task[name]) for name in names])
    found = {}
    for name, p in zip(names, corrected, strict=True):
        said = f"< {_LEAST}" if p < _LEAST else f"{p:.3f}"
        text = f"{signed(float(by_task[name].scores.mean()))} (p {said})"
        found[name] = Strong(text) if p < _SURE else text
    return found


def _differences(study: Study, group: Group, benchmark: str) -> dict[str, Sample]:
    """By task, each question's score minus the base's, the mean over seeds."""
    pairs = []
    for tuned in compare.finished(study, group.shown, Slice((benchmark,))):
        base = compare.base_of(study, tuned.model)
        if base:
            both = tuned, Shown(base, tuned.policy)
            answers = [compare.answers(study, each, benchmark) for each in both]
            pairs += [answers] if all(answers) else []
    if not pairs:
        return {}
    shared = sorted(set.intersection(*(set(answers) for pair in pairs for answers in pair)))
    members = defaultdict(list)
    for name in shared:
        members[pairs[0][0][name].task].append(name)
    return {
        task: Sample(
            np.mean([[one[i].score - other[i].score for i in ids] for one, other in pairs], axis=0),
            clusters(pairs[0][0][i] for i in ids),
        )
        for task, ids in members.items()
    }
