"""What a benchmark is: whose files, how they are read, how its numbers are made."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from evaluation.benchmarks.question import Answered, Metrics, Question
from evaluation.benchmarks.source import Source


@dataclasses.dataclass(frozen=True)
class Compat:
    """What lmms-eval prints of the same answers.

    score: an output and the question's meta → what it is worth there, see `scoring.compat`.
    aggregate: of answers with those scores. numbers: which of its numbers are kept, all of them
    where none is named.
    """

    score: Callable[[str, Mapping[str, Any]], float | None]
    aggregate: Callable[[Sequence[Answered]], Metrics]
    numbers: tuple[str, ...] = ()

    def rescored(self, answers: Sequence[Answered]) -> list[Answered]:
        """The answers with these scores, without those that it leaves out."""
        found = []
        for each in answers:
            meta = {"answer": each.answer, "choices": each.choices, **each.facts}
            if (score := self.score(each.text, meta)) is not None:
                found.append(dataclasses.replace(each, score=score))
        return found

    def metrics(self, answers: Sequence[Answered]) -> Metrics:
        """The numbers of `rescored` answers, "compat_" before their names."""
        return {
            f"compat_{name}": value
            for name, value in self.aggregate(answers).items()
            if name in self.numbers or not self.numbers
        }


@dataclasses.dataclass(frozen=True)
class Benchmark:
    """An official benchmark: where its files come from and how they are read.

    name: as in the config. repositories: names on the Hugging Face hub, any of which is accepted,
    the one to fetch first. rows: questions of the published set, by what `read` yields with the
    default options. files: what must be there, for people. read: official files and options →
    questions. aggregate: answers → the official numbers, in the units that are official. compat:
    what others print, where they ask it too. options: their allowed values, the default first.
    withdrawn: tasks whose media the publisher took back: without all of them the task is left out.
    """

    name: str
    title: str
    modality: Literal["image", "video", "text"]
    repositories: tuple[str, ...]
    rows: int
    files: str
    read: Callable[[Source, Mapping[str, Any]], Iterator[Question]]
    aggregate: Callable[[Sequence[Answered]], Metrics]
    compat: Compat | None = None
    options: Mapping[str, tuple[Any, ...]] = dataclasses.field(default_factory=dict)
    withdrawn: frozenset[str] = frozenset()

    @property
    def folder(self) -> str:
        """The folder's name that is proposed."""
        return self.repositories[0].rpartition("/")[2]

    def how_to_fetch(self, folder: Path) -> str:
        """What to fetch to where, on one line."""
        return (
            f"fetch {self.files}: hf download --repo-type dataset {self.repositories[0]} "
            f"--local-dir {folder}"
        )
