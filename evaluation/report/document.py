"""What a report consists of, before it is written as HTML or Markdown."""

import dataclasses
from collections.abc import Callable, Sequence

from matplotlib.figure import Figure as Plot

from evaluation.report.figures.style import Theme


@dataclasses.dataclass(frozen=True)
class Figure:
    """name: file name without .png. text: what a reader who cannot see it should know."""

    name: str
    text: str
    draw: Callable[[Theme], Plot]


@dataclasses.dataclass(frozen=True)
class Table:
    """The first column holds words, the others are set as numbers unless named in `words`."""

    headers: Sequence[str]
    rows: Sequence[Sequence[str]]
    title: str = ""
    words: Sequence[str] = ()


@dataclasses.dataclass(frozen=True)
class Picture:
    """jpeg: a small picture. text: what stands below it."""

    jpeg: bytes
    text: str


@dataclasses.dataclass(frozen=True)
class Cards:
    """A table whose rows are too long for a line: HTML sets each as a card. The first column is its
    heading, the second its text. pictures: those of each row, in HTML alone."""

    headers: Sequence[str]
    rows: Sequence[Sequence[str]]
    title: str
    pictures: Sequence[Sequence[Picture]]


@dataclasses.dataclass(frozen=True)
class Section:
    """One part of the report, in reading order: explanation, figures, tables, cards, notes."""

    title: str
    text: str
    figures: Sequence[Figure] = ()
    tables: Sequence[Table] = ()
    notes: Sequence[str] = ()
    cards: Sequence[Cards] = ()


@dataclasses.dataclass(frozen=True)
class Document:
    """headline: one sentence. findings: the next ones. sections: the evidence."""

    title: str
    headline: str
    findings: Sequence[str]
    sections: Sequence[Section]
