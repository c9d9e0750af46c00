"""How long it takes to get N frames of a clip, against other ways to do it, in one command:

    python -m bench.decode [--long] [--quick] [--frames 8 16 32 64] [--gop 30 250] [--clips FOLDER]

Makes its clips (720p H.264 of 60 s, with --long also of 20 min), and prints for each a table of
wall and CPU time, the ratio to this repository's time, and how many of the frames were the wanted
ones by the numbers burnt into them. `bench/requirements.txt` has the other packages; what is
missing is left out by name.

N frames are one from each of N equal parts of the clip, at three places in the parts (a grid with
the clip's two ends happens to lie just behind key frames, which flatters seeking). Opening the file
and resizing to 448 x 252 is included, the file is in the page cache. All methods take turns, so a
change in the machine's load reaches all of them.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import cv2

from bench.decode_clips import FPS, make_clip, read_number
from bench.decode_methods import OURS, Method, methods

PHASES = (1 / 6, 1 / 2, 5 / 6)


class Timing(NamedTuple):
    """One call. wall_s, cpu_s: seconds. exact, wanted: frames."""

    wall_s: float
    cpu_s: float
    exact: int
    wanted: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--long", action="store_true", help="a clip of 20 minutes as well")
    parser.add_argument("--quick", action="store_true", help="one place in the parts, not three")
    parser.add_argument("--frames", type=int, nargs="+", default=[8, 16, 32, 64], metavar="N")
    parser.add_argument("--gop", type=int, nargs="+", default=[30, 250])
    parser.add_argument("--clips", type=Path, default=Path(tempfile.gettempdir()) / "decode-bench")
    options = parser.parse_args()
    cv2.setNumThreads(1)  # resizing is not what is compared
    print(f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f} at the start")
    lengths = (60, 1200) if options.long else (60,)
    found = methods(str(make_clip(options.clips, lengths[0], options.gop[0])))
    for seconds in lengths:
        for gop in options.gop:
            clip = make_clip(options.clips, seconds, gop)
            print(f"\n{clip.name}: {seconds} s, a key frame every {gop} frames\n")
            phases = PHASES[:1] if options.quick else PHASES
            timings = measure(clip, seconds * FPS, found, options.frames, phases)
            print_table(timings, options.frames)


def measure(
    clip: Path,
    length: int,
    found: Sequence[Method],
    counts: Sequence[int],
    phases: Sequence[float],
) -> dict[tuple[str, str], dict[int, list[Timing]]]:
    """(method, how it was run) -> number of frames -> timings over the phases."""
    timings = defaultdict(lambda: defaultdict(list))
    for count in counts:
        for phase in phases:
            indices = [int((i + phase) * length / count) for i in range(count)]
            for method in found:
                wanted = indices
                if method.own_indices:
                    wanted = [round(i * (length - 1) / (count - 1)) for i in range(count)]
                for threads in method.threads:
                    how = f"{threads} thread" + "s" * (threads > 1) if threads else "as it comes"
                    timings[method.name, how][count].append(timed(method, clip, wanted, threads))
            how = "1 thread, two clips side by side, per clip"
            timings[OURS.name, how][count].append(side_by_side(clip, indices))
    return timings


def timed(method: Method, clip: Path, wanted: Sequence[int], threads: int) -> Timing:
    """One call of a method, in this process."""
    wall, cpu = time.perf_counter(), time.process_time()
    frames = method.frames(str(clip), wanted, threads)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    exact = sum(read_number(frame) == i for frame, i in zip(frames, wanted, strict=True))
    return Timing(wall, cpu, exact, len(wanted))


def side_by_side(clip: Path, wanted: Sequence[int]) -> Timing:
    """Two calls of ours in two threads, as the loader makes them; times are halved."""
    wall, cpu = time.perf_counter(), time.process_time()
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda _: OURS.frames(str(clip), wanted, 1), range(2)))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    exact = sum(read_number(frame) == i for frame, i in zip(both[0], wanted, strict=True))
    return Timing(wall / 2, cpu / 2, exact, len(wanted))


def print_table(
    timings: dict[tuple[str, str], dict[int, list[Timing]]], counts: Sequence[int]
) -> None:
    """Markdown: for each N wall ms / CPU ms and the ratio of wall times to ours with 1 thread."""
    titles = [f"N = {count}: wall / CPU ms (× ours)" for count in counts]
    print(f"| method | threads | {' | '.join(titles)} | exact frames |")
    print("|---" * (len(counts) + 3) + "|")
    base = {n: _mean(timings[OURS.name, "1 thread"][n], "wall_s") for n in counts}
    for (name, how), cells in timings.items():
        texts = []
        for n in counts:
            wall, cpu = (_mean(cells[n], field) for field in ("wall_s", "cpu_s"))
            texts.append(f"{1e3 * wall:.0f} / {1e3 * cpu:.0f} ({wall / base[n]:.2f})")
        every = [timing for n in counts for timing in cells[n]]
        exact, wanted = sum(t.exact for t in every), sum(t.wanted for t in every)
        verdict = f"{exact}/{wanted}" + ("" if exact == wanted else " **wrong frames**")
        print(f"| {name} | {how} | {' | '.join(texts)} | {verdict} |", flush=True)


def _mean(timings: Sequence[Timing], field: str) -> float:
    return statistics.mean(getattr(timing, field) for timing in timings)


if __name__ == "__main__":
    main()
