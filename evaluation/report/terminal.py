"""The study's result as a table in the terminal."""

import math
from pathlib import Path

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from evaluation.report import compare, tables
from evaluation.report.headline import headline
from evaluation.report.read_study import read_study
from evaluation.report.wording import NOT_FINISHED, Strong, gain_text, percent


def print_summary(study_dir: str | Path, console: Console | None = None) -> None:
    """Prints the headline and the table of scores of a study directory."""
    console = console or Console()
    study = read_study(study_dir)
    console.print()
    console.print(escape(headline(study)), style="bold")
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("frame policy")
    for header in ("frames", "image", "change", "video", "change"):
        table.add_column(header, justify="right", no_wrap=True)
    for group in compare.groups(study):
        frames = compare.mean_frames(group.shown)
        cells = ["–" if math.isnan(frames) else f"{frames:.1f}"]
        for modality in compare.MODALITIES:
            which = compare.of_modality(study, modality)
            scores = (
                compare.score(study, shown, which)
                for shown in (compare.base_shown(study, group), group.shown)
            )
            cells.append(" → ".join(percent(s.mean) if s else "?" for s in scores))
            cells.append(gain_text(compare.gain(study, group.shown, which)))
        table.add_row(escape(group.label), *(_styled(text) for text in cells))
    console.print(table)
    console.print("Scores: base → tuned, %. Changes: points, 95 % interval; bold is beyond noise.")
    for row in tables.status_table(study).rows:
        if row[-1].startswith(NOT_FINISHED):
            console.print(f"{escape(row[0])}: {escape(row[-1])}", style="yellow")


def _styled(text: str) -> str:
    return f"[bold]{escape(text)}[/bold]" if isinstance(text, Strong) else escape(text)
