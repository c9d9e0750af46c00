"""Examples a second from files to batches that a device can take, against a PyTorch DataLoader:

    python -m bench.pipeline [--workers 2] [--rounds 3] [--folder FOLDER]

Both decode the same frames of the same clips at the same size, tokenise the same conversations, and
give batches of the same examples, with as many worker processes. The other side is what a user of
PyTorch writes: a data set that calls qwen-vl-utils and transformers' processor for each example, in
a DataLoader that concatenates them. The two take turns. The first batches are not counted, so that
starting the workers is not either.
"""

import argparse
import itertools
import os
import statistics
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from absl import logging

from bench.pipeline.corpus import ROW_PATCHES, ROW_TOKENS, Corpus
from bench.pipeline.torch_loader import torch_batches
from input_pipeline.batches import Batch, BatchPlan, RowShape, SourceSizes, make_batches
from input_pipeline.media import Decoder
from input_pipeline.text import ChatTokenizer


def main() -> None:
    """Lets the two sides take turns and prints the rates and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "pipe-bench")
    options = parser.parse_args()
    logging.set_verbosity(logging.INFO)
    print(f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f} at the start")
    corpus = Corpus(options.folder)
    rows = planned_rows(corpus)
    print(f"{len(corpus.store)} examples in {len(rows)} batches of one packed row")
    ratios = []
    for _ in range(options.rounds):
        here = rate(ours(corpus, rows, options.workers), rows, options.workers)
        there = rate(torch_batches(corpus, rows, options.workers), rows, options.workers)
        ratios.append(here / there)
        print(
            f"this repository {here:.2f} examples/s, DataLoader with qwen-vl-utils {there:.2f}: "
            f"{ratios[-1]:.2f} times as many",
            flush=True,
        )
    print(f"median of {len(ratios)} rounds: {statistics.median(ratios):.2f} times as many")


def planned_rows(corpus: Corpus) -> list[list[int]]:
    """The examples of each row of one epoch."""
    sizes = {"bench": SourceSizes(corpus.store.tokens, corpus.store.patches)}
    limits = {"max_tokens": ROW_TOKENS, "max_patches": ROW_PATCHES, "window": 4096}
    plan = BatchPlan(sizes, {"bench": 1.0}, batch_rows=1, seed=0, **limits)
    return [plan.local_rows(step, [0])[0].tolist() for step in range(plan.pack_plan(0).rows)]


def rate(batches: Iterable[object], rows: Sequence[Sequence[int]], workers: int) -> float:
    """Examples a second once every worker has given two batches."""
    given = iter(batches)
    for _ in itertools.islice(given, 2 * workers):
        pass
    start = time.perf_counter()
    for _ in given:
        pass
    return sum(map(len, rows[2 * workers :])) / (time.perf_counter() - start)


def ours(corpus: Corpus, rows: Sequence[Sequence[int]], workers: int) -> Iterator[Batch]:
    """The batches of `make_batches`."""
    decoder = Decoder(processes=workers)
    yield from make_batches(
        corpus.store,
        lambda step: [rows[step]],
        ChatTokenizer.load(corpus.tokenizer, corpus.layout.media_tokens),
        corpus.layout,
        RowShape(ROW_TOKENS, ROW_PATCHES),
        steps=len(rows),
        decoder=decoder,
        threads=workers,
    )
    decoder.close()


if __name__ == "__main__":
    main()
