"""What a benchmark is, one question of it, and one question that was answered."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from input_pipeline.errors import UserError
from input_pipeline.examples import MediaKind

if TYPE_CHECKING:
    from evaluation.benchmarks.source import Source

Metrics = dict[str, float]


class BenchmarkError(UserError):
    """An official benchmark cannot be read; the message names what is missing and where to get
    it."""


@dataclasses.dataclass(frozen=True)
class Medium:
    """An image or video of a question.

    name: as the official files have it. path: its address, see `MediaRef.path`; None where it is
    not there. start_s, end_s: the clip that is asked about.
    """

    kind: MediaKind
    name: str
    path: str | None
    start_s: float | None = None
    end_s: float | None = None


@dataclasses.dataclass(frozen=True)
class Question:
    """One question as it is put to the model and scored.

    id: unique in its benchmark. content: texts and media in reading order. task: the group that has
    a score of its own. format, answer, choices, chance: see `scoring.score`. cluster: names what
    questions hang together by, mostly their image or video. facts: whatever else scoring or
    `aggregate` needs; JSON values.
    """

    id: str
    content: tuple[str | Medium, ...]
    task: str
    format: str
    answer: str
    chance: float
    cluster: str
    choices: Mapping[str, str] = dataclasses.field(default_factory=dict)
    facts: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def missing(self) -> tuple[str, ...]:
        """Names of its media that are not there."""
        return tuple(m.name for m in self.content if isinstance(m, Medium) and m.path is None)


@dataclasses.dataclass(frozen=True)
class Answered:
    """A question's part in the official number. score: 0..1. text: what the model said."""

    id: str
    task: str
    cluster: str
    score: float
    answer: str
    text: str
    facts: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Benchmark:
    """An official benchmark: where its files come from and how they are read.

    name: as in the config. repositories: names on the Hugging Face hub, any of which is accepted,
    the one to fetch first. rows: questions of the published set, by what `read` yields with the
    default options. files: what must be there, for people. read: official files and options →
    questions. aggregate: answers → the official numbers, in the units that are official. options:
    their allowed values, the default first. withdrawn: tasks whose media the publisher took back:
    without all of them the task is left out.
    """

    name: str
    title: str
    modality: Literal["image", "video"]
    repositories: tuple[str, ...]
    rows: int
    files: str
    read: Callable[["Source", Mapping[str, Any]], Iterator[Question]]
    aggregate: Callable[[Sequence[Answered]], Metrics]
    options: Mapping[str, tuple[Any, ...]] = dataclasses.field(default_factory=dict)
    withdrawn: frozenset[str] = frozenset()

    @property
    def folder(self) -> str:
        """The folder's name that is proposed."""
        return self.repositories[0].rpartition("/")[2]
