"""What became of data sets that were prepared, as a table for a person: 80 columns."""

import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from input_pipeline.index.left_out import left_out
from input_pipeline.index.quarantine import quarantine_of

WIDTH = 80
_NAME = 30  # columns, at most


def report_lines(prepared: Mapping[Path, Mapping[str, Any]]) -> Iterator[str]:
    """The lines for index files and their summaries: counts by data set; what was left out, with
    the first case and the remedy of each reason; what stood out.

    Only a path may make a line longer than WIDTH: it stays whole, to be copied.
    """
    width = min(max([len("data set"), *(len(s["dataset"]) for s in prepared.values())]), _NAME)
    heads = "".join(f"{head:>10}" for head in ("examples", "kept", "left out", "shrunk"))
    yield f"{'data set':{width}}  {'mode':8}{heads}"
    for summary in prepared.values():
        name = summary["dataset"]
        name = name if len(name) <= width else f"{name[: width - 1]}…"
        counts = (summary["examples"], summary["kept"], _missing(summary), _shrunk(summary))
        numbers = "".join(f"{count:10,}" for count in counts)
        yield f"{name:{width}}  {summary['mode']:8}{numbers}"
    for path, summary in prepared.items():
        yield from _left_out_lines(path, summary)
        if summary["notes"]:
            yield f"\nwhat stood out in {summary['dataset']}:"
            for note in summary["notes"]:
                yield from _wrapped(note, first="  ")


def _left_out_lines(path: Path, summary: Mapping[str, Any]) -> Iterator[str]:
    if not (missing := _missing(summary)):
        return
    yield f"\nleft out of {summary['dataset']}: {missing:,} of {summary['examples']:,}"
    for each in left_out(path):
        yield from _wrapped(f"{each.meaning} ({each.first.reason})", first=f"{each.count:7,}  ")
        yield from _wrapped(each.example, first="         first: ")
        yield from _wrapped(each.remedy, first="         remedy: ")
    yield f"  all of them: {quarantine_of(path)}"


def _missing(summary: Mapping[str, Any]) -> int:
    return summary["examples"] - summary["kept"]


def _shrunk(summary: Mapping[str, Any]) -> int:
    return sum(summary["shrunk"].values())


def _wrapped(text: str, *, first: str) -> list[str]:
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=first,
        subsequent_indent=" " * min(len(first), 11),
        break_long_words=False,
        break_on_hyphens=False,
    )
