"""A predictor and what it is held against, as a table of at most 80 columns."""

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from evaluation.budget.held_out import Against, Judged, Row
from evaluation.budget.labels import Labels
from evaluation.report.wording import percent, signed, signed_range, within_noise
from evaluation.statistics import Interval

_READING = """\
Frames: shown on average. Regret: points that the largest count scores more,
with a 95 % interval over clips. Too few: % of questions that get fewer than
from where the answer does not change. Over dealt: points over the same budgets
dealt to any questions, on average; in kind: to questions of the same kind.
*: the interval excludes zero, as one in twenty does where there is nothing."""


def print_judged(labels: Labels, judged: Judged, console: Console | None = None) -> None:
    """Prints what was needed, each policy's row, and predictors at other policies' frames."""
    console = console or Console()
    about = labels.about
    console.print()
    needed = ", ".join(f"{count}: {n:,}" for count, n in about["needed"].items())
    console.print(
        f"{about['questions']:,} questions, {about['clips']:,} clips; frames needed: {needed}",
        style="bold",
    )
    for why, n in labels.left_out.items():
        console.print(escape(f"left out: {n:,}, {why}"))
    table = _table("budgets", "frames", "regret, points", "too few", "over dealt", "in kind")
    for row in judged.rows:
        table.add_row(*_cells(row))
    console.print(table)
    for split, told in judged.told.items():
        console.print(
            f"new {split}: {told.cross_entropy:.3f} nats a label, by their shares "
            f"{told.of_shares:.3f}"
        )
    console.print(_at_equal_frames(judged.against))
    console.print()
    console.print(_READING)


def _table(*headers: str) -> Table:
    first, *others = headers
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
    table.add_column(first, overflow="fold")
    for header in others:
        table.add_column(header, justify="right", no_wrap=True)
    return table


def _cells(row: Row) -> list[str]:
    over = (row.over_dealt, row.over_dealt_in_kind)
    return [
        escape(row.name),
        f"{row.fit.frames:.1f}",
        _points(row.fit.regret),
        percent(row.fit.shares[0]),
        *(signed(each.mean) + "*" * each.excludes_zero if each else "–" for each in over),
    ]


def _at_equal_frames(against: Sequence[Against]) -> Table:
    table = _table("learned, at frames of", "frames", "theirs", "score − theirs, points", "")
    for each in against:
        noise = "within noise" if within_noise(each.difference) else ""
        frames = f"{each.frames:.2f}", f"{each.other_frames:.2f}"
        name = f"new {each.split}, {each.other}"
        table.add_row(escape(name), *frames, _points(each.difference), noise)
    return table


def _points(interval: Interval) -> str:
    return f"{signed(interval.mean)} ({signed_range(interval)})"
