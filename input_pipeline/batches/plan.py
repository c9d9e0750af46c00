"""Which rows make up step k: epochs of a mixture, packed, and shared out to the hosts."""

import dataclasses
import threading
from collections.abc import Mapping, Sequence

import numpy as np

from input_pipeline.batches.mixture import epoch_order
from input_pipeline.batches.packing import WINDOW, PackPlan, balanced_patches, pack


def spread_by_cost(costs: Sequence[int]) -> np.ndarray:
    """An order, int64[n], in which contiguous shares of equal length cost about the same.

    The items by falling cost go to the places 0, n/2, n/4, 3n/4, … (the bit-reversed count): every
    half, quarter, … of the places then holds every second, fourth, … of the sorted items.
    """
    by_cost = np.argsort(-np.asarray(costs, np.int64), kind="stable")
    bits = max(len(costs) - 1, 1).bit_length()
    reversed_count = [int(f"{i:0{bits}b}"[::-1], 2) for i in range(1 << bits)]
    places = np.array([place for place in reversed_count if place < len(costs)], np.int64)
    order = np.empty(len(costs), np.int64)
    order[places] = by_cost
    return order


@dataclasses.dataclass(frozen=True)
class SourceSizes:
    """What the index knows of one source: tokens int[n] and patches int[n] of each of its rows."""

    tokens: np.ndarray
    patches: np.ndarray


@dataclasses.dataclass(frozen=True)
class PackedRow:
    """One row of a batch.

    source_index: int32[k]  position of each example's source in the mapping given to BatchPlan
    row_index:    int64[k]  its row in that source's index
    examples:     int64[k]  its position when all sources stand one after the other in that order
    """

    epoch: int
    row: int
    source_index: np.ndarray
    row_index: np.ndarray
    examples: np.ndarray


@dataclasses.dataclass(frozen=True)
class _Epoch:
    source_index: np.ndarray
    row_index: np.ndarray
    examples: np.ndarray
    pack: PackPlan


class BatchPlan:
    """Which examples each step trains on: a pure function of (sizes, weights, seed, limits).

    The rows of epoch 0, then those of epoch 1, … form one endless list, and step k takes places
    k*B … k*B + B - 1 of it (B = batch_rows). Nothing is dropped: where an epoch's rows run out
    inside a batch, the first rows of the next epoch complete it. There is no iterator to save; a
    run resumes at step k on any number of hosts.

    Inside a step the rows are ordered so that contiguous shares of them hold about equally many
    patches: however many hosts divide a step, none has to decode all the long clips.

    An epoch is planned when first asked for (about two seconds for a million examples), and the two
    used last are kept. To find step k, the epochs before it are planned once, for their number of
    rows.
    """

    def __init__(
        self,
        sources: Mapping[str, SourceSizes],
        weights: Mapping[str, float],
        *,
        batch_rows: int,
        seed: int,
        max_tokens: int,
        max_patches: int,
        window: int = WINDOW,
        max_examples: int | None = None,
    ):
        if batch_rows < 1:
            raise ValueError(f"batch_rows must be >= 1, got {batch_rows}")
        self.batch_rows = batch_rows
        self._sizes = {name: len(source.tokens) for name, source in sources.items()}
        self._starts = np.cumsum([0, *self._sizes.values()])
        self._tokens = np.concatenate([np.asarray(s.tokens, np.int64) for s in sources.values()])
        self._patches = np.concatenate([np.asarray(s.patches, np.int64) for s in sources.values()])
        self._weights = dict(weights)
        self._seed = seed
        self._limits = {
            "max_tokens": max_tokens,
            "max_patches": max_patches,
            "window": window,
            "max_examples": max_examples,
        }
        self._epochs: dict[int, _Epoch] = {}
        self._ends: list[int] = []  # rows of epochs 0 … e together, for the epochs planned so far
        self._lock = threading.Lock()  # reader threads start together: plan once, not once each

    def __getstate__(self) -> dict:
        return {k: v for k, v in self.__dict__.items() if k != "_lock"}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state, _lock=threading.Lock())

    def pack_plan(self, epoch: int) -> PackPlan:
        """The packing of one epoch, for its fill statistics."""
        with self._lock:
            return self._planned(epoch).pack

    def balanced_patches(self, multiple: int) -> int:
        """See `packing.balanced_patches`, of the first epoch's examples."""
        with self._lock:
            examples = self._planned(0).examples
        tokens, patches = self._tokens[examples], self._patches[examples]
        return balanced_patches(tokens, patches, self._limits["max_tokens"], multiple)

    def steps(self, epochs: int) -> int:
        """The fewest steps after which every row of the first `epochs` epochs has been used."""
        with self._lock:
            for epoch in range(len(self._ends), epochs):
                self._planned(epoch)
            return -(-self._ends[epochs - 1] // self.batch_rows) if epochs else 0

    def row_at(self, place: int) -> PackedRow:
        """The row at `place` (0, 1, 2, …) of the endless list of rows."""
        if place < 0:
            raise IndexError(f"row place must be >= 0, got {place}")
        with self._lock:
            epoch = int(np.searchsorted(self._ends, place, side="right"))
            planned = self._planned(epoch)
            while self._ends[epoch] <= place:
                epoch += 1
                planned = self._planned(epoch)
            row = place - (self._ends[epoch - 1] if epoch else 0)
        members = planned.pack.row(row)
        return PackedRow(
            epoch,
            row,
            planned.source_index[members],
            planned.row_index[members],
            planned.examples[members],
        )

    def rows_for_step(self, step: int) -> list[PackedRow]:
        """The B rows of global step `step` (0, 1, 2, …), all processes together."""
        if step < 0:
            raise IndexError(f"step must be >= 0, got {step}")
        rows = [self.row_at(step * self.batch_rows + b) for b in range(self.batch_rows)]
        return [rows[b] for b in spread_by_cost([self._patches[r.examples].sum() for r in rows])]

    def local_rows(self, step: int, places: Sequence[int]) -> list[np.ndarray]:
        """What one process loads for a step: the rows at these places of it, each as
        `PackedRow.examples`."""
        rows = self.rows_for_step(step)
        return [rows[place].examples for place in places]

    def _planned(self, epoch: int) -> _Epoch:
        """Call with the lock held."""
        for earlier in range(len(self._ends), epoch):
            self._planned(earlier)
        if epoch in self._epochs:
            self._epochs[epoch] = self._epochs.pop(epoch)  # now the one used last
            return self._epochs[epoch]
        source_index, row_index = epoch_order(self._sizes, self._weights, self._seed, epoch)
        examples = self._starts[source_index] + row_index
        plan = pack(
            self._tokens[examples],
            self._patches[examples],
            seed=self._seed + epoch,
            **self._limits,
        )
        self._epochs[epoch] = _Epoch(source_index, row_index, examples, plan)
        while len(self._epochs) > 2:
            del self._epochs[next(iter(self._epochs))]
        if epoch == len(self._ends):
            self._ends.append((self._ends[-1] if self._ends else 0) + plan.rows)
        return self._epochs[epoch]
