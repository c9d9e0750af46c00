"""Comparisons as tables of at most 80 columns."""

import math
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from evaluation.compare.comparison import Change, Comparison
from evaluation.report.wording import percent, signed, signed_range, task_name

_SURE = 0.05
_LEAST = 0.001  # a smaller p is not spelt out
_READING = """\
Scores in percent; changes in points with 95 % intervals, drawing clips and
pictures with all of their questions. * over all: the interval excludes zero;
* of a task: p is below 0.05 after Holm's correction. p keeps a clip's questions
together; of right-or-wrong answers, one a clip, it is McNemar's exact test."""


def print_comparisons(comparisons: Sequence[Comparison], console: Console | None = None) -> None:
    """Prints for each benchmark what changed over all questions and by task, how sure that is, the
    smallest difference that could be seen, and what else differs between the two."""
    console = console or Console()
    for each in comparisons:
        console.print()
        console.print(escape(_headline(each)), style="bold")
        table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
        table.add_column("task", overflow="fold")
        for header in ("n", "base → this", "change, points", "p", "p (Holm)"):
            table.add_column(header, justify="right", no_wrap=True)
        table.add_row(*_cells("all", each.total, each.total.difference.excludes_zero, holm=False))
        for change in each.tasks if len(each.tasks) > 1 else ():
            table.add_row(*_cells(task_name(change.task), change, change.holm < _SURE))
        console.print(table)
        for line in _notes(each):
            console.print(escape(line))
        for line in each.unlike:
            console.print(escape(f"not alike: {line}"), style="yellow")
        for line in each.software:
            console.print(escape(f"versions: {line}"))
    console.print()
    console.print(_READING)


def _headline(each: Comparison) -> str:
    under = each.frames
    if each.base_frames != each.frames:
        under += f", the base under {each.base_frames}"
    total = each.total
    return f"{each.benchmark} under {under}: {total.n:,} questions about {total.clusters:,} media"


def _cells(name: str, change: Change, sure: bool, holm: bool = True) -> list[str]:
    interval = change.difference
    text = f"{signed(interval.mean)} ({signed_range(interval)})"
    return [
        escape(name),
        f"{change.n:,}",
        f"{percent(change.base)} → {percent(change.score)}",
        f"[bold]{escape(text)} *[/bold]" if sure else f"{escape(text)}  ",
        _p(change.p),
        _p(change.holm) if holm else "",
    ]


def _p(value: float) -> str:
    return f"< {_LEAST}" if value < _LEAST else f"{value:.3f}"


def _notes(each: Comparison) -> list[str]:
    total = each.total
    lines = [
        f"{total.gained} questions gained, {total.lost} lost; McNemar's exact test of them one by "
        f"one: p {_p(total.mcnemar) if total.mcnemar < _LEAST else '= ' + _p(total.mcnemar)}."
    ]
    if not math.isnan(each.smallest):
        lines.append(
            f"Smallest true difference that these questions show (80 % power, 5 % level): "
            f"{percent(each.smallest)} points."
        )
    if each.unpaired:
        lines.append(f"{each.unpaired} questions that only one of the two answered are left out.")
    for name, (here, base) in each.official.items():
        lines.append(f"official {name}: {base:.4g} → {here:.4g}")
    return lines
