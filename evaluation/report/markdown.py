"""Writes a report as Markdown, with the figures beside it."""

from collections.abc import Sequence

from evaluation.report.document import Document, Table
from evaluation.report.wording import Strong


def to_markdown(document: Document) -> str:
    """The report as GitHub-flavoured Markdown that refers to <figure name>.png."""
    lines = [f"# {_escaped(document.title)}", "", f"**{_escaped(document.headline)}**", ""]
    lines += [f"- {_escaped(finding)}" for finding in document.findings]
    for section in document.sections:
        lines += ["", f"## {_escaped(section.title)}", "", _escaped(section.text)]
        for figure in section.figures:
            lines += ["", f"![{_escaped(figure.text)}]({figure.name}.png)"]
        for table in section.tables:
            lines += ["", *_table(table)]
        for cards in section.cards:
            table = Table(cards.headers, cards.rows, cards.title, words=cards.headers)
            lines += ["", *_table(table)]
        if section.notes:
            lines += ["", *(f"- {_escaped(note)}" for note in section.notes)]
    return "\n".join(lines) + "\n"


def _table(table: Table) -> list[str]:
    lines = [f"{_escaped(table.title)}:", ""] if table.title else []
    left = [i == 0 or header in table.words for i, header in enumerate(table.headers)]
    lines.append(_row(table.headers))
    lines.append("|" + "|".join(" :-- " if words else " --: " for words in left) + "|")
    return lines + [_row(row) for row in table.rows]


def _row(cells: Sequence[str]) -> str:
    shown = [f"**{_escaped(c)}**" if isinstance(c, Strong) else _escaped(c) for c in cells]
    return "| " + " | ".join(shown) + " |"


def _escaped(text: str) -> str:
    """Text that Markdown shows as it is: no tags, no emphasis, no cell ends, one line."""
    text = " ".join(str(text).split()).replace("\\", "\\\\")
    for mark in "|*`[]":
        text = text.replace(mark, f"\\{mark}")
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
