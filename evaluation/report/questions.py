"""Example questions: what the base and the fine-tuned model answered to the same one."""

from collections.abc import Sequence

from evaluation.report import compare
from evaluation.report.compare import Group, Shown
from evaluation.report.document import Table
from evaluation.report.read_study import Study
from evaluation.report.wording import shortened, task_name
from evaluation.results import Prediction

HEADERS = (
    "change",
    "question",
    "task",
    "frames",
    "why so many",
    "right",
    "base said",
    "tuned said",
)

_OUTCOMES = ("gained", "lost", "right both times", "wrong both times")


def question_tables(study: Study) -> list[Table]:
    """For each policy and video benchmark, the first question of every outcome.

    Those of the first seed. Policies without answers of both models have no table.
    """
    tables = []
    for group in compare.groups(study):
        for benchmark in compare.of_modality(study, "video").benchmarks:
            rows = [_row(*pair) for pair in _chosen(_pairs(study, group, benchmark))]
            if rows:
                title = f"{group.label} on {benchmark}"
                tables.append(Table(HEADERS, rows, title, words=[*HEADERS[:3], *HEADERS[4:]]))
    return tables


def _pairs(study: Study, group: Group, benchmark: str) -> list[tuple[Prediction, Prediction]]:
    """Answers of the base and of the fine-tuned model to the same questions, in their order."""
    tuned = group.shown[0]
    model = compare.base_of(study, tuned.model)
    if model is None:
        return []
    after = compare.answers(study, tuned, benchmark)
    before = compare.answers(study, Shown(model, tuned.policy), benchmark)
    return [(before[i], after[i]) for i in sorted(before.keys() & after.keys())]


def _chosen(
    pairs: Sequence[tuple[Prediction, Prediction]],
) -> list[tuple[str, Prediction, Prediction]]:
    first: dict[str, tuple[str, Prediction, Prediction]] = {}
    for before, after in pairs:
        outcome = _outcome(before.score, after.score)
        first.setdefault(outcome, (outcome, before, after))
    return [first[outcome] for outcome in _OUTCOMES if outcome in first]


def _outcome(before: float, after: float) -> str:
    if before == after:
        return "right both times" if after > 0 else "wrong both times"
    return "gained" if after > before else "lost"


def _row(outcome: str, before: Prediction, after: Prediction) -> list[str]:
    frames = "–" if after.frames is None else str(after.frames)
    said = [each.prediction or "nothing" for each in (before, after)]
    return [
        *(outcome, after.id, task_name(after.task), frames),
        *(after.why, after.answer, *map(shortened, said)),
    ]
