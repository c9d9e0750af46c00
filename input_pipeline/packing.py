"""Packing as a plan: which examples share a row, and which rows make up step k."""

import dataclasses
import threading
from collections.abc import Mapping

import numpy as np

from input_pipeline.mixture import epoch_order, stable_permutation

WINDOW = 4096  # examples whose order packing may change; fill gains little beyond it
_WINDOWS_AT_ONCE = 64  # keeps the working arrays (windows × open rows) inside a core's cache


@dataclasses.dataclass(frozen=True)
class PackPlan:
    """Rows of examples in CSR form: row r holds members[offsets[r] : offsets[r + 1]].

    offsets:     int64[r + 1]
    members:     int64[n]   positions in the order that was packed, ascending within a row
    row_tokens:  int64[r]   text positions in use, of max_tokens
    row_patches: int64[r]   vision patches in use, of max_patches
    """

    offsets: np.ndarray
    members: np.ndarray
    row_tokens: np.ndarray
    row_patches: np.ndarray
    max_tokens: int
    max_patches: int

    @property
    def rows(self) -> int:
        return len(self.offsets) - 1

    def row(self, r: int) -> np.ndarray:
        """The examples of row r: int64[k], positions in the order that was packed."""
        if not 0 <= r < self.rows:
            raise IndexError(f"row {r} of a plan of {self.rows} rows")
        return self.members[self.offsets[r] : self.offsets[r + 1]]

    @property
    def token_fill(self) -> float:
        """Share of all text positions that hold a token, 0..1 (0 for an empty plan)."""
        return float(self.row_tokens.sum() / max(self.rows * self.max_tokens, 1))

    @property
    def patch_fill(self) -> float:
        """Share of all patch places that hold a patch, 0..1 (0 for an empty plan)."""
        return float(self.row_patches.sum() / max(self.rows * self.max_patches, 1))

    @property
    def examples_per_row(self) -> float:
        return len(self.members) / max(self.rows, 1)


def pack(
    tokens: np.ndarray,
    patches: np.ndarray,
    *,
    max_tokens: int,
    max_patches: int,
    window: int = WINDOW,
    max_examples: int | None = None,
    seed: int = 0,
) -> PackPlan:
    """Packs examples into rows that hold at most max_tokens tokens and max_patches patches.

    tokens, patches: int[n], what each example takes, in the (already shuffled) order to pack.
    window:          examples are packed with others of their own window only: consecutive runs of
                     this many, so that the order of training stays the shuffled one on the large.
    max_examples:    most examples a row may hold; 1 keeps every example alone, in the given order.
    seed:            orders the rows of a window, which would come out sorted by size otherwise.

    Best-fit decreasing on two resources: a window's examples, largest first (by the larger of its
    two shares of a row), go where they leave the least room (sum of the two remaining shares) among
    the rows they fit into, or open a new row. Integer arithmetic only: equal plans everywhere.
    Raises ValueError naming the first example that does not fit into an empty row.
    """
    tokens, patches = np.asarray(tokens, np.int64), np.asarray(patches, np.int64)
    _check(tokens, patches, max_tokens, max_patches, window, max_examples)
    n = len(tokens)
    if max_examples == 1:
        row_of = np.arange(n)
    else:
        row_of = _assign(tokens, patches, max_tokens, max_patches, window, max_examples or n)
        row_of = _shuffle_rows(row_of, window, seed)
    members = np.argsort(row_of, kind="stable")
    counts = np.bincount(row_of) if n else np.zeros(0, np.int64)
    return PackPlan(
        offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        members=members,
        row_tokens=_sum_by_row(row_of, tokens),
        row_patches=_sum_by_row(row_of, patches),
        max_tokens=max_tokens,
        max_patches=max_patches,
    )


def _check(
    tokens: np.ndarray,
    patches: np.ndarray,
    max_tokens: int,
    max_patches: int,
    window: int,
    max_examples: int | None,
) -> None:
    if tokens.ndim != 1 or tokens.shape != patches.shape:
        raise ValueError(
            f"packing: tokens and patches must be int[n] of one length, got {tokens.shape} and "
            f"{patches.shape}"
        )
    if max_patches < 0:
        raise ValueError(f"packing: max_patches must be >= 0, got {max_patches}")
    limits = {"max_tokens": max_tokens, "window": window}
    if max_examples is not None:
        limits["max_examples"] = max_examples
    for name, value in limits.items():
        if value < 1:
            raise ValueError(f"packing: {name} must be >= 1, got {value}")
    bad = (tokens < 1) | (patches < 0)
    if bad.any():
        i = int(bad.argmax())
        raise ValueError(
            f"packing: the example at position {i} has {tokens[i]} tokens and {patches[i]} "
            "patches; tokens must be >= 1 and patches >= 0"
        )
    too_large = (tokens > max_tokens) | (patches > max_patches)
    if too_large.any():
        i = int(too_large.argmax())
        raise ValueError(
            f"packing: the example at position {i} has {tokens[i]} tokens and {patches[i]} "
            f"patches, more than a row holds: max_tokens {max_tokens}, max_patches {max_patches}; "
            "lay it out with the limits of the rows it goes into"
        )


def _sum_by_row(row_of: np.ndarray, values: np.ndarray) -> np.ndarray:
    # bincount sums in float64, exact below 2**53: far above any number of tokens
    return np.bincount(row_of, weights=values).astype(np.int64)


def _assign(
    tokens: np.ndarray,
    patches: np.ndarray,
    max_tokens: int,
    max_patches: int,
    window: int,
    max_examples: int,
) -> np.ndarray:
    """Row of each example, int64[n]; a window's rows are numbered after those of the one before."""
    n = len(tokens)
    windows = -(-n // window)
    # The last window is filled up with examples of size 0, which are given no row.
    padded = np.zeros((2, windows * window), np.int64)
    padded[0, :n], padded[1, :n] = tokens, patches
    padded = padded.reshape(2, windows, window)
    row_of = np.zeros((windows, window), np.int64)
    rows_before = 0
    for first in range(0, windows, _WINDOWS_AT_ONCE):
        block = slice(first, min(first + _WINDOWS_AT_ONCE, windows))
        local, opened = _best_fit(*padded[:, block], max_tokens, max_patches, max_examples)
        starts = rows_before + np.concatenate([[0], np.cumsum(opened)])
        row_of[block] = local + starts[:-1, None]
        rows_before = starts[-1]
    return row_of.reshape(-1)[:n]


def _best_fit(
    tokens: np.ndarray, patches: np.ndarray, max_tokens: int, max_patches: int, max_examples: int
) -> tuple[np.ndarray, np.ndarray]:
    """Best-fit decreasing of W windows side by side: tokens, patches int64[W, S].

    Windows do not depend on each other, so step s places the s-th largest example of every window
    at once with whole-array operations. Returns (row of each example int64[W, S], counted from 0
    in each window; rows opened int64[W]).
    """
    count, size = tokens.shape
    # Shares of a row on one integer scale, so that tokens and patches can be compared and added.
    token_scale, patch_scale = max(max_patches, 1), max_tokens
    order = np.argsort(
        -np.maximum(tokens * token_scale, patches * patch_scale), axis=1, kind="stable"
    )
    sorted_tokens = np.take_along_axis(tokens, order, 1)
    sorted_patches = np.take_along_axis(patches, order, 1)
    # A row not opened yet is simply an empty one: it has the most room, so it is taken last, and
    # the first of them before the others.
    token_room = np.full((count, size + 1), max_tokens)
    patch_room = np.full((count, size + 1), max_patches)
    room = np.full((count, size + 1), max_tokens * token_scale + max_patches * patch_scale)
    held = np.zeros((count, size + 1), np.int64)
    opened = np.zeros(count, np.int64)
    row_of = np.zeros((count, size), np.int64)
    everyone = np.arange(count)
    no_room = np.iinfo(np.int64).max
    for s in range(size):
        t, p = sorted_tokens[:, s], sorted_patches[:, s]
        reach = int(opened.max()) + 1
        fits = (token_room[:, :reach] >= t[:, None]) & (patch_room[:, :reach] >= p[:, None])
        row = np.where(fits, room[:, :reach], no_room).argmin(axis=1)
        row_of[everyone, order[:, s]] = row
        real = t > 0
        where, row, t, p = everyone[real], row[real], t[real], p[real]
        token_room[where, row] -= t
        patch_room[where, row] -= p
        room[where, row] -= t * token_scale + p * patch_scale
        held[where, row] += 1
        token_room[where, row] = np.where(
            held[where, row] >= max_examples, -1, token_room[where, row]
        )
        opened[where] = np.maximum(opened[where], row + 1)
    return row_of, opened


def _shuffle_rows(row_of: np.ndarray, window: int, seed: int) -> np.ndarray:
    """Renumbers the rows of each window in a random order fixed by the seed."""
    if not len(row_of):
        return row_of
    rows = int(row_of.max()) + 1
    window_of_row = np.zeros(rows, np.int64)
    window_of_row[row_of] = np.arange(len(row_of)) // window
    shuffled = stable_permutation(rows, [seed, 2])
    shuffled = shuffled[np.argsort(window_of_row[shuffled], kind="stable")]
    new_number = np.empty(rows, np.int64)
    new_number[shuffled] = np.arange(rows)
    return new_number[row_of]


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
        return [self.row_at(step * self.batch_rows + b) for b in range(self.batch_rows)]

    def local_rows(self, step: int, process_index: int, process_count: int) -> list[np.ndarray]:
        """What one process loads for a step: a contiguous block of its rows, of equal size on each
        process; each row as `PackedRow.examples`.

        Raises ValueError when the rows cannot be shared out equally.
        """
        if not 0 <= process_index < process_count:
            raise ValueError(f"process {process_index} of {process_count} does not exist")
        if self.batch_rows % process_count:
            raise ValueError(
                f"a batch of {self.batch_rows} rows cannot be split over {process_count} "
                "processes; make batch_rows a multiple of the number of processes"
            )
        share = self.batch_rows // process_count
        first = step * self.batch_rows + process_index * share
        return [self.row_at(first + b).examples for b in range(share)]

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
