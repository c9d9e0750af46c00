"""Reads an official benchmark in a folder, and answers its questions."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from evaluation.benchmarks.catalogue import BENCHMARKS
from evaluation.benchmarks.question import Answered, Metrics, Question
from evaluation.benchmarks.source import Source
from evaluation.scoring import score


def read(name: str, folder: Path, **options: Any) -> list[Question]:
    """Its questions, with the default of each option that is not given."""
    benchmark = BENCHMARKS[name]
    source = Source(benchmark.title, "", [folder], folder / ".kept")
    chosen = {key: allowed[0] for key, allowed in benchmark.options.items()} | options
    return list(benchmark.read(source, chosen))


def text_of(question: Question) -> str:
    """What is asked, media left out."""
    return "".join(part for part in question.content if isinstance(part, str))


def answered(questions: list[Question], say: Callable[[Question], str]) -> list[Answered]:
    """What `say` says to each question, scored."""
    found = []
    for q in questions:
        said = say(q)
        scored = score(q.format, said, {"answer": q.answer, "choices": q.choices, **q.facts})
        found.append(
            Answered(q.id, q.task, q.cluster, scored.score, q.answer, said, q.choices, q.facts)
        )
    return found


def numbers(name: str, questions: list[Question], say: Callable[[Question], str]) -> Metrics:
    """The official numbers of what `say` says to each question."""
    return BENCHMARKS[name].aggregate(answered(questions, say))


def right(question: Question) -> str:
    """The right answer."""
    return question.answer
