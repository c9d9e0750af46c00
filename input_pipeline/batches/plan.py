"""Which rows make up step k: epochs of a mixture, packed, and shared out to the hosts."""

import dataclasses
import threading
from collections.abc import Mapping, Sequence

import numpy as np

from input_pipeline.batches.fill import fuller_rows
from input_pipeline.batches.mixture import epoch_order
from input_pipeline.batches.packing import PackPlan, pack
from input_pipeline.batches.slices import balanced_order


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
    """What the index knows of one source: tokens int[n] and patches int[n] of each of its rows, and
    for rows of several slices the patches of its largest grid."""

    tokens: np.ndarray
    patches: np.ndarray
    largest_grids: np.ndarray | None = None


def _largest_grids(source: SourceSizes) -> np.ndarray:
    """Of each row; all of its patches where it is not known."""
    return source.patches if source.largest_grids is None else source.largest_grids


class BatchPlan:
    """Which examples each step trains on: a pure function of (sizes, weights, seed, limits).

    An example is named by its position when all sources stand one after the other, in the order of
    the mapping. The rows of epoch 0, then those of epoch 1, … form one endless list, and step k
    takes places k*B … k*B + B - 1 of it (B = batch_rows). Nothing is dropped: where an epoch's rows
    run out inside a batch, the first rows of the next epoch complete it. There is no iterator to
    save; a run resumes at step k on any number of hosts.

    Inside a step the rows are ordered so that contiguous shares of them hold about equally many
    patches: however many hosts divide a step, none has to decode all the long clips. Inside a row
    of several slices the examples are ordered so that these have about equal attention work.

    An epoch is planned when first asked for (about two seconds for a million examples), and the two
    used last are kept. To find step k, the epochs before it are planned once, for their number of
    rows. window: see `packing.pack`.
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
        window: int,
        slices: int = 1,
    ):
        if batch_rows < 1:
            raise ValueError(f"batch_rows must be >= 1, got {batch_rows}")
        self.batch_rows = batch_rows
        self._sizes = {name: len(source.tokens) for name, source in sources.items()}
        self._starts = np.cumsum([0, *self._sizes.values()])
        self._tokens = np.concatenate([np.asarray(s.tokens, np.int64) for s in sources.values()])
        self._patches = np.concatenate([np.asarray(s.patches, np.int64) for s in sources.values()])
        self._largest = np.concatenate(
            [np.asarray(_largest_grids(s), np.int64) for s in sources.values()]
        )
        self._weights = dict(weights)
        self._seed = seed
        self._limits = {"max_tokens": max_tokens, "max_patches": max_patches, "window": window}
        self._slices = slices
        self._epochs: dict[int, PackPlan] = {}
        self._ends: list[int] = []  # rows of epochs 0 … e together, for the epochs planned so far
        self._lock = threading.Lock()  # reader threads start together: plan once, not once each

    def pack_plan(self, epoch: int) -> PackPlan:
        """The packing of one epoch; its members are examples of the plan."""
        with self._lock:
            return self._planned(epoch)

    def fuller_rows(self, multiple: int) -> list[PackPlan]:
        """See `fill.fuller_rows`, of the first epoch's examples."""
        planned = self.pack_plan(0)
        examples = planned.members
        return fuller_rows(
            self._tokens[examples],
            self._patches[examples],
            planned,
            multiple=multiple,
            window=self._limits["window"],
        )

    def rows_for_step(self, step: int) -> list[np.ndarray]:
        """The examples, int64[k], of each of the B rows of global step `step` (0, 1, 2, …), all
        processes together."""
        if step < 0:
            raise IndexError(f"step must be >= 0, got {step}")
        first = step * self.batch_rows
        rows = [self._row_at(place) for place in range(first, first + self.batch_rows)]
        return [rows[b] for b in spread_by_cost([self._patches[row].sum() for row in rows])]

    def local_rows(self, step: int, places: Sequence[int] | np.ndarray) -> list[np.ndarray]:
        """What one process loads for a step: the rows at these places of it."""
        rows = self.rows_for_step(step)
        return [self._balanced(rows[place]) for place in places]

    def _balanced(self, row: np.ndarray) -> np.ndarray:
        if self._slices == 1:
            return row
        return row[balanced_order(self._tokens[row], self._limits["max_tokens"], self._slices)]

    def _row_at(self, place: int) -> np.ndarray:
        """The row at `place` (0, 1, 2, …) of the endless list of rows."""
        with self._lock:
            epoch = int(np.searchsorted(self._ends, place, side="right"))
            planned = self._planned(epoch)
            while self._ends[epoch] <= place:
                epoch += 1
                planned = self._planned(epoch)
            return planned.row(place - (self._ends[epoch - 1] if epoch else 0))

    def _planned(self, epoch: int) -> PackPlan:
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
            largest=self._largest[examples],
            slices=self._slices,
            **self._limits,
        )
        self._epochs[epoch] = dataclasses.replace(plan, members=examples[plan.members])
        while len(self._epochs) > 2:
            del self._epochs[next(iter(self._epochs))]
        if epoch == len(self._ends):
            self._ends.append((self._ends[-1] if self._ends else 0) + plan.rows)
        return self._epochs[epoch]
