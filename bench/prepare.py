"""What `--job=prepare` takes, records a second, by what is known from before:

    python -m bench.prepare [--files 5000 200000] [--records 200000] [--workers 2] [--processes]

The records are synthetic conversations in LLaVA's form, in turn about clips, pictures and nothing.
The files are a few tiny clips and pictures under many names (hard links), so that each is opened,
probed and looked up by itself. Tokenizer and layout are Qwen2.5-VL's, the policy reads the
instruction and decodes nothing (decoding has a benchmark of its own).

    python -m bench.prepare --probes 5000 50000 200000

times instead what finding a known probe costs in tables of so many files.
"""

import argparse
import contextlib
import dataclasses
import itertools
import json
import os
import resource
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from absl import logging

from input_pipeline.examples import MediaRef
from input_pipeline.index import DatasetSpec, IndexSpec, prepare
from input_pipeline.index.probe_cache import Probe, ProbeCache, remove_damaged
from input_pipeline.media import EvenTimes, MediaInfo
from tests.input_pipeline.media_fixtures import write_clip
from tests.parity.qwen_files import write_tokenizer
from vsft_jax.models.qwen2_5_vl.layout import Layout

# Frames and (width, height) of the clips, 25 frames a second.
CLIPS = tuple(zip((8, 30, 75, 150, 250, 500), ((96, 64), (128, 96), (64, 96)) * 2, strict=True))
PICTURES = ((64, 48), (96, 96), (80, 120))  # (width, height)
QUESTIONS = (
    "What colour is the bus?",
    "Who is in the video?",
    "Which way do the bikes go?",
    "What happens after the rabbit wakes up?",
    "Describe what can be seen in detail.",
    "How many people go by?\nA. One\nB. Two\nC. Three\nD. Four",
)
ANSWERS = (
    "Red.",
    "A man and a rabbit, which sits in front of its burrow.",
    "Bikes go by in a street. Then a rabbit comes out of its burrow, stretches in the sun and "
    "looks around. In the end a man talks in a moving car, and the camera follows it for a while.",
)
UNIT = 28 * 28
_IN_A_FOLDER = 1000


def main() -> None:
    """Prepares a data set again and again, with ever more known from before, and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--files", type=int, nargs="+", default=[5_000, 20_000])
    parser.add_argument(
        "--records", type=int, help="of a data set; 0: one for each file", default=0
    )
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--processes", action="store_true", help="processes in place of threads")
    parser.add_argument("--folder", type=Path, help="a folder to work in, which is emptied")
    parser.add_argument("--probes", type=int, nargs="+", help="look-ups in tables of so many files")
    options = parser.parse_args()
    logging.set_verbosity(logging.ERROR)
    print(f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f} at the start\n")
    if options.probes:
        print("| files | CPU µs a look-up, five times | CPU s to check the table |\n|---|---|---|")
        for files in options.probes:
            with tempfile.TemporaryDirectory(dir=options.folder) as folder:
                each, check_s = look_ups(Path(folder) / "probes.sqlite", files)
                times = ", ".join(f"{time_us:.1f}" for time_us in each)
                print(f"| {files:,} | {times} | {check_s:.2f} |", flush=True)
        return
    print("| files | records | known from before | wall s | CPU s | records/s | records/CPU s |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for files in options.files:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            corpus = Corpus(Path(folder), files, options.records or files)
            for known, spent in steps(corpus, options.workers, options.processes):
                print_row(corpus, known, spent)


@dataclasses.dataclass
class Spent:
    """Seconds on the clock, and of processors, those of other processes included."""

    wall: float = 0.0
    cpu: float = 0.0


def print_row(corpus: "Corpus", known: str, spent: Spent) -> None:
    """One line of the Markdown table."""
    rates = (corpus.records / max(seconds, 1e-9) for seconds in (spent.wall, spent.cpu))
    print(
        f"| {corpus.files:,} | {corpus.records:,} | {known} | {spent.wall:.1f} | {spent.cpu:.1f} | "
        + " | ".join(f"{rate:,.0f}" for rate in rates)
        + " |",
        flush=True,
    )


class Corpus:
    """A data set in a folder. files: names of media. records: conversations about them."""

    def __init__(self, folder: Path, files: int, records: int):
        self.folder, self.files, self.records = folder, files, records
        self.tokenizer = write_tokenizer(folder / "tokenizer")
        self._names = list(_linked(folder / "media", files))
        self.write_annotations("")

    @property
    def dataset(self) -> DatasetSpec:
        return DatasetSpec("bench", str(self.folder / "train.jsonl"), str(self.folder / "media"))

    def write_annotations(self, note: str) -> None:
        """note: stands in every record, so that the file is another one."""
        with open(self.folder / "train.jsonl", "w", encoding="utf-8") as file:
            for i in range(self.records):
                file.write(json.dumps(self._record(i, note)) + "\n")

    def _record(self, i: int, note: str) -> dict[str, Any]:
        # Neighbours are about one file, as in most mixtures.
        name = self._names[i * self.files // self.records]
        kind = "video" if name.endswith(".mp4") else "image"
        asked = f"{QUESTIONS[i % len(QUESTIONS)]} Number {i} of them."
        said = ANSWERS[i // 7 % len(ANSWERS)]
        talk = [{"from": "human", "value": f"<{kind}>\n{asked}"}, {"from": "gpt", "value": said}]
        return {"id": f"r{i}", kind: name, "conversations": talk, "note": note}


def _linked(root: Path, count: int) -> Iterator[str]:
    """Makes `count` media below `root` and gives their paths from there."""
    originals = root / "originals"
    originals.mkdir(parents=True)
    for i, (frames, size) in enumerate(CLIPS):
        write_clip(originals / f"{i}.mp4", frames, size=size)
    for i, (width, height) in enumerate(PICTURES):
        cv2.imwrite(str(originals / f"{i}.jpg"), np.full((height, width, 3), 90, np.uint8))
    for i, original in zip(range(count), itertools.cycle(sorted(originals.iterdir()))):
        name = f"{i // _IN_A_FOLDER:04d}/{i:07d}{original.suffix}"
        (root / name).parent.mkdir(exist_ok=True)
        os.link(original, root / name)
        yield name


def steps(corpus: Corpus, workers: int, processes: bool) -> Iterator[tuple[str, Spent]]:
    """(what was known before, what it took) of one preparation after the other."""
    few, many = ({"kind": "instruction", "candidates": each} for each in ([2, 4, 8], [4, 8, 16]))
    small = Layout(image_max_pixels=256 * UNIT, video_total_pixels=512 * UNIT)
    large = dataclasses.replace(small, image_max_pixels=1024 * UNIT)
    spec = IndexSpec(str(corpus.tokenizer), small, few, max_tokens=8192, max_patches=32_768)

    def spent(spec: IndexSpec) -> Spent:
        with _timed() as found:
            index_dir = corpus.folder / "index"
            _, summary = prepare(
                corpus.dataset, spec, index_dir, workers=workers, processes=processes
            )
        assert summary["kept"] == corpus.records, summary
        return found

    yield "nothing", spent(spec)
    yield "all of it", spent(spec)
    yield "all but the frame budget", spent(dataclasses.replace(spec, frame_policy=many))
    yield "all but the resolution", spent(dataclasses.replace(spec, layout=large))
    corpus.write_annotations("another")
    yield "the media alone", spent(spec)
    shutil.rmtree(corpus.folder / "index")


def look_ups(path: Path, files: int) -> tuple[list[float], float]:
    """CPU microseconds of a look-up in a new table of clips, of five runs of neighbours, and CPU
    seconds of finding the table undamaged."""
    refs = [MediaRef("video", f"/media/{i // _IN_A_FOLDER:04d}/{i:07d}.mp4") for i in range(files)]
    infos = (
        MediaInfo("video", 640, 360, EvenTimes(100 + i % 7000, 1, 30), 3.3 + i % 7000 / 30)
        for i in itertools.count()
    )
    each, run = [], min(files, 4000)
    with ProbeCache(path) as cache:
        cache.put(Probe(ref, "stamp", info) for ref, info in zip(refs, infos, strict=False))
        for start in np.linspace(0, files - run, 5).astype(int):
            cpu = _cpu()
            found = [cache.get(ref, "stamp") for ref in refs[start : start + run]]
            each.append((_cpu() - cpu) / run * 1e6)
            assert None not in found
    cpu = _cpu()
    remove_damaged(path)
    return each, _cpu() - cpu


@contextlib.contextmanager
def _timed() -> Iterator[Spent]:
    found, wall, cpu = Spent(), time.perf_counter(), _cpu()
    yield found
    found.wall, found.cpu = time.perf_counter() - wall, _cpu() - cpu


def _cpu() -> float:
    """Of this process and those that it waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


if __name__ == "__main__":
    main()
