"""The prepared examples of a data set as an Arrow file: written in pieces, read by memory map."""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from input_pipeline.examples import Example
from input_pipeline.files import replacing
from input_pipeline.frame_budget import Clip
from input_pipeline.layout import ExampleLayout

SCHEMA = pa.schema(
    {
        "id": pa.string(),
        "source": pa.string(),
        "example": pa.string(),  # JSON
        "layout": pa.string(),  # JSON
        "tokens": pa.int64(),
        "patches": pa.int64(),
        "largest_grid": pa.int64(),  # patches of the largest temporal grid or tile
        "visual_tokens": pa.int64(),
        "most_visual_tokens": pa.int64(),  # if every clip had the policy's largest budget
        "frames": pa.int64(),  # the most that a video of the example shows, 0 without video
        "clip_frames": pa.list_(pa.int64()),  # of each video, all frames that it has
        "clip_budgets": pa.list_(pa.int64()),  # of each video, the frames that it shows
        "why": pa.string(),
        "shrunk": pa.string(),
    }
)


class ExampleStore:
    """Random access to prepared examples, which stay on disk.

    store[i] → (Example, ExampleLayout); `tokens`, `patches`, `largest_grids`, `visual_tokens`,
    `most_visual_tokens`, `budgets`: int64[n] columns, which are in memory.
    """

    def __init__(self, table: pa.Table):
        self._table = table
        self.tokens = self._column("tokens")
        self.patches = self._column("patches")
        self.largest_grids = self._column("largest_grid")
        self.visual_tokens = self._column("visual_tokens")
        self.most_visual_tokens = self._column("most_visual_tokens")
        self.budgets = self._column("frames")

    @classmethod
    def open(cls, path: Path) -> "ExampleStore":
        """Opens an index file written by `prepare`, without reading it."""
        return cls(_mapped(path))

    @classmethod
    def of_rows(cls, rows: Sequence[Mapping[str, Any]]) -> "ExampleStore":
        """Rows in memory, as `write_rows` writes them."""
        return cls(_table(rows))

    @classmethod
    def concatenate(cls, stores: Sequence["ExampleStore"]) -> "ExampleStore":
        """All examples of several stores, one store after another."""
        return cls(pa.concat_tables([store._table for store in stores]))

    def __len__(self) -> int:
        return self._table.num_rows

    def __getitem__(self, i: int) -> tuple[Example, ExampleLayout]:
        example = Example.from_json(self._table["example"][i].as_py())
        return example, ExampleLayout.from_json(self._table["layout"][i].as_py())

    def why(self, i: int) -> str:
        """Why the example got its frame budget; "" where there is no video."""
        return self._table["why"][i].as_py()

    def count_why(self, words: str) -> int:
        """How many examples have these words in the reason of their budget."""
        return pc.sum(pc.match_substring(self._table["why"], words)).as_py() or 0

    def clips(self) -> np.ndarray:
        """int64[C, 2]: for each clip of all examples the frames that it has, and that it shows."""
        columns = (pc.list_flatten(self._table[name]) for name in ("clip_frames", "clip_budgets"))
        return np.stack([column.to_numpy() for column in columns], axis=1)

    def budgeted(self) -> Iterator[Clip]:
        """Each clip of all examples with its question and what it shows, as `frame_budget.deal`
        takes them."""
        columns = ("id", "example", "clip_frames", "clip_budgets")
        for batch in self._table.select(columns).to_batches():
            for row in batch.to_pylist():
                if row["clip_frames"]:
                    instruction = Example.from_json(row["example"]).instruction
                    pairs = zip(row["clip_frames"], row["clip_budgets"], strict=True)
                    yield from (Clip(row["id"], instruction, *pair) for pair in pairs)

    def shrunk_counts(self) -> dict[str, int]:
        """How many examples had to give up pixels or frames, by `ExampleLayout.shrunk`."""
        counts = self._table["shrunk"].value_counts().to_pylist()
        return {count["values"]: count["counts"] for count in counts if count["values"]}

    def _column(self, name: str) -> np.ndarray:
        return self._table[name].to_numpy()


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes one piece of an index, whole or not at all."""
    write_batches(path, SCHEMA, _table(rows).to_batches())


def join(path: Path, pieces: Sequence[Path]) -> None:
    """Writes an index from its pieces, of which one at a time is in memory."""
    write_batches(path, SCHEMA, itertools.chain.from_iterable(map(read_batches, pieces)))


def count_rows(path: Path) -> int:
    """The number of rows of an index or a piece of one."""
    return _mapped(path).num_rows


def check_rows(path: Path) -> None:
    """Raises OSError or ValueError where a file is no piece of an index: cut off, or with texts
    that do not lie in it or are no UTF-8."""
    _mapped(path).validate(full=True)


def read_batches(path: Path) -> Iterable[pa.RecordBatch]:
    """The batches of a file that `write_batches` wrote, without reading them yet."""
    return _mapped(path).to_batches()


def write_batches(path: Path, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> None:
    """Writes an Arrow file, whole or not at all, with one batch at a time in memory."""
    with (
        replacing(path) as partial,
        pa.OSFile(str(partial), "wb") as file,
        pa.ipc.new_file(file, schema) as writer,
    ):
        for batch in batches:
            writer.write_batch(batch)


def _table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), SCHEMA)


def _mapped(path: Path) -> pa.Table:
    return pa.ipc.open_file(pa.memory_map(str(path))).read_all()
