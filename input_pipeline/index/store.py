"""The prepared examples of a data set as an Arrow file: written in pieces, read by memory map."""

import os
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from input_pipeline.examples import Example
from input_pipeline.layout.example_layout import ExampleLayout

SCHEMA = pa.schema(
    {
        "id": pa.string(),
        "source": pa.string(),
        "example": pa.string(),  # JSON
        "layout": pa.string(),  # JSON
        "tokens": pa.int64(),
        "patches": pa.int64(),
        "visual_tokens": pa.int64(),
        "most_visual_tokens": pa.int64(),  # if every clip had the policy's largest budget
        "frames": pa.int64(),  # the largest budget among the example's videos, 0 without video
        "why": pa.string(),
        "shrunk": pa.string(),
    }
)


class ExampleStore:
    """Random access to prepared examples, which stay on disk.

    store[i] → (Example, ExampleLayout); `tokens`, `patches`, `visual_tokens`, `most_visual_tokens`,
    `budgets`: int64[n] columns, which are in memory. A store of files can be pickled: it is opened
    again.
    """

    def __init__(self, table: pa.Table, paths: Sequence[Path] = ()):
        self._table, self._paths = table, tuple(paths)
        self.tokens = self._column("tokens")
        self.patches = self._column("patches")
        self.visual_tokens = self._column("visual_tokens")
        self.most_visual_tokens = self._column("most_visual_tokens")
        self.budgets = self._column("frames")

    @classmethod
    def open(cls, *paths: Path) -> "ExampleStore":
        """Opens index files written by `prepare`, one after another, without reading them."""
        return cls(pa.concat_tables([_mapped(path) for path in paths]), paths)

    @classmethod
    def concatenate(cls, stores: Sequence["ExampleStore"]) -> "ExampleStore":
        """All examples of several stores, one store after another."""
        paths = [path for store in stores for path in store._paths]
        on_disk = all(store._paths for store in stores)
        return cls(pa.concat_tables([s._table for s in stores]), paths if on_disk else ())

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

    def shrunk_counts(self) -> dict[str, int]:
        """How many examples had to give up pixels or frames, by `ExampleLayout.shrunk`."""
        counts = self._table["shrunk"].value_counts().to_pylist()
        return {count["values"]: count["counts"] for count in counts if count["values"]}

    def _column(self, name: str) -> np.ndarray:
        return self._table[name].to_numpy()

    def __reduce__(self):
        if self._paths:
            return ExampleStore.open, self._paths
        return ExampleStore, (self._table,)


def write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes one piece of an index, whole or not at all."""
    table = pa.Table.from_pylist(list(rows), SCHEMA)
    write_atomically(path, lambda partial: _write(partial, table.to_batches()))


def join(path: Path, pieces: Sequence[Path]) -> None:
    """Writes an index from its pieces, of which one at a time is in memory."""
    batches = (batch for piece in pieces for batch in _mapped(piece).to_batches())
    write_atomically(path, lambda partial: _write(partial, batches))


def count_rows(path: Path) -> int:
    """The number of rows of an index or a piece of one."""
    return _mapped(path).num_rows


def table_of(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Rows in memory, as `write_rows` writes them."""
    return pa.Table.from_pylist(list(rows), SCHEMA)


def write_atomically(path: Path, write: Callable[[Path], Any]) -> None:
    """Calls `write` with another name in the same folder and then gives the file its own."""
    own = f"{socket.gethostname()}.{os.getpid()}"  # in containers the numbers alone may be equal
    partial = path.with_name(f".{path.name}.{own}.partial")
    write(partial)
    os.replace(partial, path)


def _write(path: Path, batches: Iterable[pa.RecordBatch]) -> None:
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, SCHEMA) as writer:
        for batch in batches:
            writer.write_batch(batch)


def _mapped(path: Path) -> pa.Table:
    return pa.ipc.open_file(pa.memory_map(str(path))).read_all()
