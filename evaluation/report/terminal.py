"""The study's result as a table in the terminal."""

import math

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from evaluation.report import compare, tables
from evaluation.report.headline import findings, headline
from evaluation.report.read_study import Study
from evaluation.report.wording import BELOW_CHANCE, NOT_FINISHED, Strong, gain_text, percent


def print_summary(study: Study, console: Console | None = None) -> None:
    """Prints the headline, the findings and the table of scores of a study or of runs.

    A row holds one kind of benchmark, so that names and numbers fit into 80 columns; a longer name
    goes on in the next line. What is beyond noise has a star as well as weight, because a file has
    no bold letters.
    """
    console = console or Console()
    console.print()
    console.print(escape(headline(study)), style="bold")
    for finding in findings(study):
        console.print(escape(finding))
    console.print()
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    table.add_column("frame policy", overflow="fold")
    for header in ("frames", "on", "base → tuned", "change"):
        table.add_column(header, justify="left" if header == "on" else "right", no_wrap=True)
    below = []
    for group in compare.groups(study):
        frames = compare.mean_frames(group.shown)
        names = [escape(group.label), "–" if math.isnan(frames) else f"{frames:.1f}"]
        for modality in compare.modalities(study):
            which = compare.of_modality(study, modality)
            if not which.benchmarks:
                continue
            scores = (
                compare.score(study, shown, which)
                for shown in (compare.base_shown(study, group), group.shown)
            )
            change = gain_text(compare.gain(study, group.shown, which))
            ends = " → ".join(percent(s.mean) if s else "?" for s in scores)
            table.add_row(*names, modality, ends, _starred(change))
            names = ["", ""]
            if (base := compare.base_below_chance(study, group, which)) is not None:
                level = f"{percent(base)} % against {percent(compare.chance(study, which))} %"
                below.append(f"{group.label}: {BELOW_CHANCE} on {modality}, {level}")
    for row in tables.score_table(study).rows if compare.alone(study) else ():
        for i, modality in enumerate(compare.modalities(study)):
            names = ["", ""] if i else [escape(row[0]), row[1]]
            table.add_row(*names, modality, row[2 + 3 * i], "")
    console.print(table)
    console.print(f"Questions: {tables.asked(study)}.")
    console.print("Scores in percent; changes in points with 95 % intervals; * is beyond noise.")
    if smallest := tables.smallest_changes(study):
        console.print(smallest)
    for line in below:
        console.print(escape(line), style="yellow")
    for row in tables.status_table(study).rows:
        if row[-1].startswith(NOT_FINISHED):
            console.print(f"{escape(row[0])}: {escape(row[-1])}", style="yellow")


def _starred(text: str) -> str:
    return f"[bold]{escape(text)} *[/bold]" if isinstance(text, Strong) else f"{escape(text)}  "
