"""Batches in the order of the steps, built ahead by threads.

Which examples share a row is decided elsewhere; here step k's batch follows from k alone, so
training resumes at any step on any number of processes.
"""

import functools
from collections.abc import Callable, Generator, Sequence
from typing import Any

import grain
import numpy as np

from input_pipeline.batches.batch import Batch, RowShape, stack_rows
from input_pipeline.batches.rows import Item, Mode, build_row
from input_pipeline.index import ExampleStore
from input_pipeline.layout import VisionLayout
from input_pipeline.media import Decoder
from input_pipeline.text import ChatTokenizer

Row = Sequence[int] | np.ndarray  # its examples, as positions in a store
RowsAtStep = Callable[[int], Sequence[Row]]


def make_batches(
    store: ExampleStore | Sequence[Item],
    rows_at: RowsAtStep,
    chat: ChatTokenizer,
    rules: VisionLayout,
    shape: RowShape,
    *,
    steps: int,
    start_step: int = 0,
    mode: Mode = "train",
    decoder: Decoder | None = None,
    threads: int = 8,
) -> Generator[Batch, None, None]:
    """The batches of steps start_step, start_step + 1, …, steps - 1, in order.

    rows_at: step -> the rows this process loads, equally many at every step; each row lists
    positions in `store`. decoder: None decodes in the threads. Rows are built by `threads` threads,
    up to two steps or two rows a thread ahead; the result does not depend on it. Close the iterator
    (or use it up) to end the threads.

    Raises what `build_row` raises.
    """
    if start_step >= steps:
        return
    rows_per_step = len(rows_at(start_step))
    source = _PlannedRows(rows_at, rows_per_step, steps)
    decoder = decoder or Decoder()

    def build(members: Row) -> dict[str, Any]:
        return build_row([store[int(i)] for i in members], chat, rules, shape, mode, decoder)

    rows = grain.MapDataset.source(source).slice(slice(start_step * rows_per_step, None)).map(build)
    batches = rows.to_iter_dataset(
        grain.ReadOptions(num_threads=threads, prefetch_buffer_size=2 * max(rows_per_step, threads))
    ).batch(rows_per_step, batch_fn=stack_rows)
    iterator = iter(batches)
    try:
        yield from iterator
    finally:
        iterator.close()


def listed_rows(
    rows: Sequence[Row], batch_rows: int, places: Sequence[int] | np.ndarray
) -> RowsAtStep:
    """Batches a fixed list of rows: step -> this process's rows, of `batch_rows` over all.

    places: which of a batch's rows the process takes. The last step is filled up with empty rows,
    so that ceil(len(rows) / batch_rows) steps cover the list.
    """

    def rows_at(step: int) -> Sequence[Row]:
        wanted = [step * batch_rows + int(place) for place in places]
        return [rows[place] if place < len(rows) else () for place in wanted]

    return rows_at


class _PlannedRows:
    """The rows of all steps as one sequence: place k holds row k mod R of step k div R."""

    def __init__(self, rows_at: RowsAtStep, rows_per_step: int, steps: int):
        self._rows_at = functools.lru_cache(maxsize=64)(rows_at)
        self._rows_per_step = rows_per_step
        self._steps = steps

    def __len__(self) -> int:
        return self._steps * self._rows_per_step

    def __getitem__(self, place: int) -> Row:
        step, row = divmod(int(place), self._rows_per_step)
        rows = self._rows_at(step)
        if len(rows) != self._rows_per_step:
            raise ValueError(
                f"step {step} has {len(rows)} rows, the steps before have {self._rows_per_step}"
            )
        return rows[row]
