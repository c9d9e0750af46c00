"""How long it takes to get N frames of a clip, against other ways to do it, in one command:

    python -m bench.decode [--minutes 1 20] [--quick] [--frames 8 16 32 64] [--gop 30 250]
    python -m bench.decode --cells [--only VP9]

Makes its clips (720p H.264, a minute and 20 times the same minute), and prints for each a table of
wall and CPU time, the ratio to this repository's time with as many threads, and how many of the
frames were the wanted ones by the numbers burnt into them. `bench/requirements.txt` has the other
packages; what is missing is left out by name. With --cells: VP9, AV1, HEVC in 4K, clips of ten
frames, an hour, 8K shrunk far below, each method with one thread, and the next best pair by pair.

N frames are one from each of N equal parts of the clip, at three places in the parts (a grid with
the clip's two ends happens to lie just behind key frames, which flatters seeking). Opening the file
and resizing to 448 x 252 is included, the file is in the page cache. All methods take turns, so a
change in the machine's load reaches all of them.
"""

import argparse
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import cv2

from bench.decode.cells import CELLS, print_cells
from bench.decode.clips import MINUTE, make_clip
from bench.decode.methods import Method, methods
from bench.decode.timing import measure, print_table, print_verdict

PHASES = (1 / 6, 1 / 2, 5 / 6)


def main() -> None:
    """Makes the clips, times every method on each and prints tables and verdicts."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=int, nargs="+", default=[1, 20], help="of the clips")
    parser.add_argument("--quick", action="store_true", help="one place in the parts, not three")
    parser.add_argument("--frames", type=int, nargs="+", default=[8, 16, 32, 64], metavar="N")
    parser.add_argument("--gop", type=int, nargs="+", default=[30, 250])
    parser.add_argument("--clips", type=Path, default=Path(tempfile.gettempdir()) / "decode-bench")
    parser.add_argument("--cells", action="store_true", help="other codecs, lengths and sizes")
    parser.add_argument("--only", default="", help="those cells that have this in their name")
    options = parser.parse_args()
    cv2.setNumThreads(1)  # resizing is not what is compared
    print(f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f} at the start")
    found = methods(str(make_clip(options.clips, 1, options.gop[0])))
    if options.cells:
        wanted = [cell for cell in CELLS if options.only in cell.what]
        return print_cells(wanted, options.clips, alone(found))
    for minutes in options.minutes:
        for gop in options.gop:
            clip = make_clip(options.clips, minutes, gop)
            print(f"\n{clip.name}: {60 * minutes} s, a key frame every {gop} frames\n")
            phases = PHASES[:1] if options.quick else PHASES
            timings = measure(clip, minutes * MINUTE, found, options.frames, phases)
            print_table(timings, options.frames)
            print_verdict(timings, options.frames)


def alone(found: Sequence[Method]) -> list[Method]:
    """The methods that seek the frames that they are told, with one thread each."""
    return [
        method._replace(threads=(1,))
        for method in found
        if not (method.own_indices or method.in_order)
    ]


if __name__ == "__main__":
    main()
