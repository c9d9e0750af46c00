"""Example questions: what the base and the fine-tuned model saw and answered to the same one."""

from collections.abc import Sequence
from typing import NamedTuple

from evaluation.report import compare
from evaluation.report.compare import Group, Shown
from evaluation.report.document import Cards, Picture
from evaluation.report.read_study import Study
from evaluation.report.thumbnails import thumbnails
from evaluation.report.wording import listed, shortened, task_name
from evaluation.results import Prediction
from input_pipeline.media import MediaError

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
_MOST_PICTURES = 200  # of a report, which they make half a megabyte larger
_LONGEST = 400  # characters of a question, which may list its options


class _Asked(NamedTuple):
    """A question with the answers of the base and of the fine-tuned model."""

    outcome: str
    before: Prediction
    after: Prediction


def question_cards(study: Study) -> tuple[list[Cards], list[str]]:
    """For each policy and video benchmark the first question of every outcome, and notes on what
    is not shown of them.

    Those of the first seed. Policies without answers of both models have none.
    """
    found, pictures = [], _Pictures()
    for group in compare.groups(study):
        for benchmark in compare.of_modality(study, "video").benchmarks:
            chosen = _chosen(_pairs(study, group, benchmark))
            if chosen:
                result = compare.result_of(study, group.shown[0], benchmark)
                root = result.provenance.media_root if result else ""
                shown = [pictures.of(asked.after, root) for asked in chosen]
                title = f"{group.label} on {benchmark}"
                found.append(Cards(HEADERS, [_row(asked) for asked in chosen], title, shown))
    return found, pictures.notes()


class _Pictures:
    """Pictures of questions until there are enough, and why some questions have none."""

    def __init__(self) -> None:
        self._left = _MOST_PICTURES
        self._unknown, self._too_many = 0, 0
        self._unreadable: dict[str, None] = {}

    def of(self, question: Prediction, media_root: str) -> list[Picture]:
        """The question's pictures; none where that is noted."""
        if question.media is None:
            self._unknown += 1
            return []
        if not self._left:
            self._too_many += 1
            return []
        try:
            found = thumbnails(question, media_root)[: self._left]
        except (MediaError, OSError) as error:
            self._unreadable[shortened(str(error))] = None
            return []
        self._left -= len(found)
        return found

    def notes(self) -> list[str]:
        """A sentence for each reason."""
        notes = []
        if self._unknown:
            notes.append(
                f"{self._unknown} questions show no frames: their evaluation was done by a version "
                "that did not record questions and media. --job=evaluate records them."
            )
        if self._unreadable:
            said = list(self._unreadable)
            more = [f"{len(said) - 3} more"] if len(said) > 3 else []
            notes.append(f"Media that could not be shown: {listed([*said[:3], *more])}.")
        if self._too_many:
            notes.append(
                f"{self._too_many} more questions show no frames: the page has "
                f"{_MOST_PICTURES} pictures."
            )
        return notes


def _pairs(study: Study, group: Group, benchmark: str) -> list[tuple[Prediction, Prediction]]:
    """Answers of the base and of the fine-tuned model to the same questions, in their order."""
    tuned = group.shown[0]
    model = compare.base_of(study, tuned.model)
    if model is None:
        return []
    after = compare.answers(study, tuned, benchmark)
    before = compare.answers(study, Shown(model, tuned.policy), benchmark)
    return [(before[i], after[i]) for i in sorted(before.keys() & after.keys())]


def _chosen(pairs: Sequence[tuple[Prediction, Prediction]]) -> list[_Asked]:
    first: dict[str, _Asked] = {}
    for before, after in pairs:
        outcome = _outcome(before.score, after.score)
        first.setdefault(outcome, _Asked(outcome, before, after))
    return [first[outcome] for outcome in _OUTCOMES if outcome in first]


def _outcome(before: float, after: float) -> str:
    if before == after:
        return "right both times" if after > 0 else "wrong both times"
    return "gained" if after > before else "lost"


def _row(asked: _Asked) -> list[str]:
    before, after = asked.before, asked.after
    frames = "–" if after.frames is None else str(after.frames)
    said = [each.prediction or "nothing" for each in (before, after)]
    return [
        *(asked.outcome, shortened(after.question or after.id, _LONGEST), task_name(after.task)),
        *(frames, after.why, after.answer, *map(shortened, said)),
    ]
