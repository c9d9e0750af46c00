"""Clips of other codecs, lengths and sizes than the 720p H.264 of the main tables."""

import os
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from bench.decode.clips import FPS, HEIGHT, WIDTH, encode, make_clip
from bench.decode.methods import Method
from bench.decode.timing import Run, Timings, is_exact, measure

PLACES = (0.1, 0.3, 0.5, 0.7, 0.9)  # in the parts: so many pairs a cell


class Cell(NamedTuple):
    """A clip and how many frames are asked of it. gop: frames from one key frame to the next."""

    what: str
    codec: str
    frames: int
    counts: tuple[int, ...]
    width: int = WIDTH
    height: int = HEIGHT
    gop: int = 250

    def clip(self, folder: Path) -> Path:
        """The clip, made once."""
        if self.frames == 3600 * FPS:
            return make_clip(folder, 60, self.gop)
        ending = "mp4" if self.codec.startswith(("libx26", "libsvt")) else "webm"
        name = f"{self.codec}_{self.frames}_{self.height}p_g{self.gop}.{ending}"
        path = folder / name
        if not path.exists():
            print(f"making {path} ...", flush=True)
            folder.mkdir(parents=True, exist_ok=True)
            encode(
                folder / f"partial_{name}",
                self.frames,
                self.gop,
                self.width,
                self.height,
                self.codec,
            )
            (folder / f"partial_{name}").rename(path)
        return path


CELLS = (
    Cell("H.264, 10 frames", "libx264", 10, (4, 8)),
    Cell("VP9, 10 frames", "libvpx-vp9", 10, (4, 8)),
    Cell("AV1, 10 frames", "libsvtav1", 10, (4, 8)),
    Cell("VP9, 20 s", "libvpx-vp9", 20 * FPS, (8, 32), gop=128),
    Cell("AV1, 20 s", "libsvtav1", 20 * FPS, (8, 32), gop=128),
    Cell("HEVC, 4K, 4 s", "libx265", 4 * FPS, (8,), 3840, 2160, gop=60),
    Cell("H.264, 8K, 1 s", "libx264", FPS, (4,), 7680, 4320, gop=15),
    Cell("H.264, an hour", "libx264", 3600 * FPS, (8, 32)),
)


def print_cells(cells: Sequence[Cell], folder: Path, found: Sequence[Method]) -> None:
    """Markdown: a line for each cell and N, with the method that took the least CPU time of those
    that gave the right frames, and the ratio of its times to ours, pair by pair."""
    print("| clip | N | ours, wall / CPU ms | next, frame-exact | wall over ours | CPU over ours |")
    print("|---" * 6 + "|")
    for cell in cells:
        clip = cell.clip(folder)
        able = [method for method in found if method.ours or _reads(method, clip, cell.frames)]
        timings = measure(clip, cell.frames, able, cell.counts, PLACES)
        for count in cell.counts:
            print(_line(cell, count, timings), flush=True)


def _reads(method: Method, clip: Path, frames: int) -> bool:
    """Whether it gives the clip's last frame. Tried in a process of its own: some crash."""
    child = os.fork()
    if child == 0:
        try:
            method.frames(str(clip), [frames - 1], 1)
            os._exit(0)
        except Exception as error:  # whatever the library raises
            reason = str(error).strip().splitlines() or [type(error).__name__]
            print(f"<!-- {clip.name}: {method.name}: {reason[0][:100]} -->", flush=True)
        finally:
            os._exit(1)
    ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if ended < 0:
        print(f"<!-- {clip.name}: {method.name}: ended by signal {-ended} -->", flush=True)
    return ended == 0


def _line(cell: Cell, count: int, timings: Timings) -> str:
    ours = {run.threads: cells[count] for run, cells in timings.items() if run.method.ours}
    alone = min(ours)

    def cpu(run: Run) -> float:
        return statistics.mean(timing.cpu_s for timing in timings[run][count])

    others = [
        run
        for run, cells in timings.items()
        if run.threads == alone and not run.method.ours and cells[count] and is_exact(cells)
    ]
    wall_s, cpu_s = (statistics.median(timing[i] for timing in ours[alone]) for i in range(2))
    start = f"| {cell.what} | {count} | {1e3 * wall_s:.0f} / {1e3 * cpu_s:.0f} |"
    if not others:
        return f"{start} none | | |"
    run = min(others, key=cpu)
    pairs = list(zip(timings[run][count], ours[alone], strict=True))
    ratios = []
    for i in range(2):
        each = sorted(theirs[i] / our[i] for theirs, our in pairs)
        ratios.append(f"{statistics.median(each):.2f} ({each[0]:.2f}–{each[-1]:.2f})")
    return f"{start} {run.method.name} | {' | '.join(ratios)} |"
