"""What a way of decoding takes on a clip, and the tables and verdicts of several."""

import statistics
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from bench.decode.clips import MINUTE, read_number
from bench.decode.methods import OURS, Method


class Timing(NamedTuple):
    """One call. wall_s, cpu_s: seconds. exact, wanted: frames."""

    wall_s: float
    cpu_s: float
    exact: int
    wanted: int


class Run(NamedTuple):
    """A method and how many threads it was asked for; 0: as many as it takes by itself."""

    method: Method
    threads: int


# Run -> number of frames -> timings over the phases.
Timings = Mapping[Run, Mapping[int, Sequence[Timing]]]


def measure(
    clip: Path,
    length: int,
    found: Sequence[Method],
    counts: Sequence[int],
    phases: Sequence[float],
) -> Timings:
    """Times every method. One that reads a clip in order takes as long for few frames as for many,
    so it is timed for the most, and not on clips of more than a minute, where it takes long.

    length: frames of the clip. phases: places in its equal parts, as shares of one."""
    timings: dict[Run, dict[int, list[Timing]]] = defaultdict(lambda: defaultdict(list))
    for count in counts:
        for phase in phases:
            indices = [int((i + phase) * length / count) for i in range(count)]
            for method in found:
                if method.in_order and (count != counts[-1] or length > MINUTE):
                    continue
                wanted = indices
                if method.own_indices:
                    wanted = [round(i * (length - 1) / (count - 1)) for i in range(count)]
                for threads in method.threads:
                    timing = timed(method, clip, wanted, threads)
                    timings[Run(method, threads)][count].append(timing)
    return timings


def timed(method: Method, clip: Path, wanted: Sequence[int], threads: int) -> Timing:
    """One call of a method, in this process."""
    wall, cpu = time.perf_counter(), time.process_time()
    frames = method.frames(str(clip), wanted, threads)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    exact = sum(read_number(frame) == i % MINUTE for frame, i in zip(frames, wanted, strict=True))
    return Timing(wall, cpu, exact, len(wanted))


def print_table(timings: Timings, counts: Sequence[int]) -> None:
    """Markdown: for each N wall and CPU ms, and their ratios to ours."""
    titles = [f"N = {count}: wall / CPU ms (× ours)" for count in counts]
    print(f"| method | threads | {' | '.join(titles)} | exact frames |")
    print("|---" * (len(counts) + 3) + "|")
    for run, cells in timings.items():
        texts = []
        for n in counts:
            wall, cpu = means(cells[n])
            ratio = "" if run.method.ours else " ({:.2f} / {:.2f})".format(*ratios(timings, run, n))
            texts.append(f"{1e3 * wall:.0f} / {1e3 * cpu:.0f}{ratio}" if cells[n] else "")
        threads = run.threads or "its own"
        every = [timing for cell in cells.values() for timing in cell]
        verdict = f"{sum(t.exact for t in every)}/{sum(t.wanted for t in every)}"
        verdict += "" if is_exact(cells) else " **wrong frames**"
        print(f"| {run.method.name} | {threads} | {' | '.join(texts)} | {verdict} |", flush=True)


def print_verdict(timings: Timings, counts: Sequence[int]) -> None:
    """The least favourable ratio among the methods that gave the right frames."""
    for title, wants in (("any other frame-exact way", False), ("qwen-vl-utils", True)):
        cells = [
            (ratios(timings, run, n), run, n)
            for run, cells in timings.items()
            for n in counts
            if not run.method.ours and run.method.own_indices == wants
            if cells[n] and is_exact(cells)
        ]
        for place, what in enumerate(("wall", "CPU")):
            if cells:
                ratio, run, n = min(cells, key=lambda cell: cell[0][place])
                where = f"{run.method.name}, {run.threads or 'its own'} threads, N = {n}"
                print(f"{title}: {what} time at least {ratio[place]:.2f} × ours ({where})")


def ratios(timings: Timings, run: Run, n: int) -> list[float]:
    """Wall and CPU time over ours, with as many threads, for the same frames."""
    ours = next(
        cells
        for other, cells in timings.items()
        if other.method.ours
        and other.method.own_indices == run.method.own_indices
        and other.threads == (run.threads or max(OURS.threads))
    )
    if not timings[run][n]:
        return [float("nan")] * 2
    return [
        theirs / our for theirs, our in zip(means(timings[run][n]), means(ours[n]), strict=True)
    ]


def means(cell: Sequence[Timing]) -> tuple[float, float]:
    """Mean wall and CPU seconds."""
    if not cell:
        return float("nan"), float("nan")
    return statistics.mean(t.wall_s for t in cell), statistics.mean(t.cpu_s for t in cell)


def is_exact(cells: Mapping[int, Sequence[Timing]]) -> bool:
    """Whether every frame was the wanted one."""
    return all(t.exact == t.wanted for cell in cells.values() for t in cell)
