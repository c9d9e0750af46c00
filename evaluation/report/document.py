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
class Section:
    """One part of the report, in reading order: explanation, figures, tables, notes."""

    title: str
    text: str
    figures: Sequence[Figure] = ()
    tables: Sequence[Table] = ()
    notes: Sequence[str] = ()


@dataclasses.dataclass(frozen=True)
class Document:
    """headline: one sentence. findings: the next ones. sections: the evidence."""

    title: str
    headline: str
    findings: Sequence[str]
    sections: Sequence[Section]
