"""One question of a benchmark, with its media, and one that was answered."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from input_pipeline.errors import UserError
from input_pipeline.examples import MediaKind

Value = float | np.ndarray  # a number, or one for each draw of a bootstrap
Metrics = dict[str, Value]


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
    questions hang together by, mostly their image or video. asks: of a video the question alone,
    without options and what the prompt says around it: by it frames are chosen. facts: whatever
    else scoring or `aggregate` needs; JSON values.
    """

    id: str
    content: tuple[str | Medium, ...]
    task: str
    format: str
    answer: str
    chance: float
    cluster: str
    choices: Mapping[str, str] = dataclasses.field(default_factory=dict)
    asks: str = ""
    facts: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def missing(self) -> tuple[str, ...]:
        """Names of its media that are not there."""
        return tuple(m.name for m in self.content if isinstance(m, Medium) and m.path is None)


@dataclasses.dataclass(frozen=True)
class Answered:
    """A question's part in the official number.

    score: 0..1. text: what the model said. times: how often it counts, 1 or, in the draws of
    `statistics.bootstrap_aggregate`, float[draws]; the same within a cluster.
    """

    id: str
    task: str
    cluster: str
    score: float
    answer: str
    text: str
    choices: Mapping[str, str]
    facts: Mapping[str, Any]
    times: Value = 1.0
