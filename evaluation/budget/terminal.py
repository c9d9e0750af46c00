"""A predictor and what it is held against, as a table of at most 80 columns."""

from collections.abc import Iterator

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from evaluation.budget.held_out import SPLITS, Against, Judged, Row
from evaluation.budget.labels import Labels
from evaluation.report.wording import percent, signed, signed_range, within_noise
from evaluation.statistics import Interval

_READING = """\
Frames: shown on average. Regret: points that the largest count scores more, with
a 95 % interval over clips. Too few: % of questions given less than from where the
answer does not change. Over dealt: points over the same budgets dealt to any
questions, on average; in kind: to questions of the same kind. * excludes zero."""


def print_judged(labels: Labels, judged: Judged, console: Console | None = None) -> None:
    """Prints what was needed, each policy's row, and predictors at other policies' frames."""
    console = console or Console()
    about = labels.about
    console.print()
    console.print(
        f"{about['questions']:,} questions about {about['clips']:,} clips; needed: "
        + ", ".join(f"{count} frames {n:,}" for count, n in about["needed"].items()),
        style="bold",
    )
    for why, n in labels.left_out.items():
        console.print(escape(f"left out: {n:,}, {why}"))
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
    table.add_column("budgets", overflow="fold")
    for header in ("frames", "regret, points", "too few", "over dealt", "in kind"):
        table.add_column(header, justify="right", no_wrap=True)
    for row in judged.rows:
        table.add_row(*_cells(row))
    console.print(table)
    for line in _lines(judged):
        console.print(escape(line))
    console.print()
    console.print(_READING)


def _cells(row: Row) -> list[str]:
    regret = row.fit.regret
    over = (row.over_dealt, row.over_dealt_in_kind)
    return [
        escape(row.name),
        f"{row.fit.frames:.1f}",
        f"{signed(regret.mean)} ({signed_range(regret)})",
        percent(row.fit.shares[0]),
        *(signed(each.mean) + "*" * each.excludes_zero if each else "–" for each in over),
    ]


def _lines(judged: Judged) -> Iterator[str]:
    for split, told in judged.told.items():
        yield (
            f"{SPLITS[split]}: {told.cross_entropy:.3f} nats a label, by their shares alone "
            f"{told.of_shares:.3f}"
        )
    for each in judged.against:
        yield against_line(each)


def against_line(each: Against) -> str:
    """One comparison at equal frames in words."""
    return (
        f"{SPLITS[each.split]}, at {each.frames:.2f} frames against {each.other} at "
        f"{each.other_frames:.2f}: {_points(each.difference)}"
    )


def _points(difference: Interval) -> str:
    noise = ", within noise" if within_noise(difference) else ""
    return f"{signed(difference.mean)} points ({signed_range(difference)}){noise}"
