"""The study's result as a table in the terminal."""

from pathlib import Path

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from evaluation.report import tables
from evaluation.report.headline import headline
from evaluation.report.study import read_study
from evaluation.report.wording import NOT_FINISHED, Strong


def print_summary(study_dir: str | Path, console: Console | None = None) -> None:
    """Prints the headline and the table of scores of a study directory."""
    console = console or Console()
    study = read_study(study_dir)
    content = tables.score_table(study)
    console.print()
    console.print(escape(headline(study)), style="bold")
    table = Table(title=content.title, box=box.SIMPLE_HEAD, title_justify="left", caption=None)
    for number, header in enumerate(content.headers):
        table.add_column(header, justify="left" if number == 0 else "right")
    for row in content.rows:
        table.add_row(*(_styled(text) for text in row))
    console.print(table)
    for row in tables.status_table(study).rows:
        if row[-1].startswith(NOT_FINISHED):
            console.print(f"{escape(row[0])}: {escape(row[-1])}", style="yellow")


def _styled(text: str) -> str:
    return f"[bold]{escape(text)}[/bold]" if isinstance(text, Strong) else escape(text)
