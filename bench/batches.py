"""What a row of the built-in corpus costs the host, and how long a device waits for it:

    python -m bench.batches [--pictures 400] [--clips 250] [--step-ms 0 50 200] [--rounds 5]

The rows are those of configs/demo.py with its hybrid frame budgets, built by
`make_batches` as in training. The device is stood in for by a pause of so many milliseconds a row;
data_wait_fraction is the share of the time in which the next row was not there, as the training log
has it.
"""

import argparse
import itertools
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from absl import logging

from configs import demo
from input_pipeline.batches import Batch, device_arrays, make_batches
from input_pipeline.index import ExampleStore
from vsft_jax.config import Run
from vsft_jax.prepare import prepare_training
from vsft_jax.row_plan import batch_plan

AHEAD = 4  # rows that are not counted, while the threads start


class Took(NamedTuple):
    """Of a round. bytes: to the device. wall_s, cpu_s, waited_s: seconds."""

    rows: int
    bytes: int
    wall_s: float
    cpu_s: float
    waited_s: float


def main() -> None:
    """Builds the rows again and again, for a device of each speed, and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--pictures", type=int, default=400)
    parser.add_argument("--clips", type=int, default=250)
    parser.add_argument("--rows", type=int, default=40, help="of a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--step-ms", type=int, nargs="+", default=[0, 50, 200])
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "batch-bench")
    options = parser.parse_args()
    logging.set_verbosity(logging.ERROR)
    run = corpus(options.folder, options.pictures, options.clips)
    stores = prepare_training(run).stores()
    plan = batch_plan(run, stores, batch_rows=1)
    shape = run.row_shape
    print(
        f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f} at the start; "
        f"{sum(map(len, stores.values()))} examples, rows of {shape.tokens} tokens and "
        f"{shape.patches} patches, "
        f"{100 * plan.pack_plan(0).token_fill:.1f} % of the tokens in use\n"
    )
    print("| device, ms a row | bytes a row | host, wall / CPU ms a row | data_wait_fraction |")
    print("|---|---|---|---|")
    store = ExampleStore.concatenate(list(stores.values()))
    for pause in options.step_ms:
        found = []
        for _ in range(options.rounds):
            batches = make_batches(
                *(store, lambda step: plan.local_rows(step, [0]), run.tokenizer),
                *(run.layout, shape),
                steps=options.rows + AHEAD,
                decoder=run.decoder,
                threads=run.config.data.workers,
            )
            found.append(consume(batches, pause / 1e3))
        print_row(pause, found)


def corpus(folder: Path, pictures: int, clips: int) -> Run:
    """configs/demo.py with so many files to train on."""
    config = demo.get_config()
    few = dict.fromkeys(("val_images", "val_clips", "test_images", "test_clips"), 4)
    config.data.demo_world.update(train_images=pictures, train_clips=clips, **few)
    config.data.decoder = "threads"  # their time is then this process's
    return Run(config, folder)


def consume(batches: Iterator[Batch], pause_s: float) -> Took:
    """Takes the rows as a device would that is busy for `pause_s` with each."""
    for _ in itertools.islice(batches, AHEAD):
        pass
    rows, size, waited = 0, 0, 0.0
    start, cpu = time.perf_counter(), time.process_time()
    while True:
        asked = time.perf_counter()
        batch = next(batches, None)
        waited += time.perf_counter() - asked
        if batch is None:
            break
        rows += 1
        size += sum(np.asarray(array).nbytes for array in device_arrays(batch).values())
        time.sleep(pause_s)
    return Took(rows, size, time.perf_counter() - start, time.process_time() - cpu, waited)


def print_row(pause_ms: int, rounds: list[Took]) -> None:
    """One line of the Markdown table: medians, and the range of the fractions."""
    size = statistics.median(each.bytes / each.rows for each in rounds)
    wall, cpu = (
        1e3 * statistics.median(getattr(each, name) / each.rows for each in rounds)
        for name in ("wall_s", "cpu_s")
    )
    waits = sorted(each.waited_s / each.wall_s for each in rounds)
    fraction = f"{statistics.median(waits):.2f} ({waits[0]:.2f}–{waits[-1]:.2f})"
    print(f"| {pause_ms} | {size / 1e6:.2f} MB | {wall:.0f} / {cpu:.0f} | {fraction} |", flush=True)


if __name__ == "__main__":
    main()
