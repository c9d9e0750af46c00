"""Packing: which examples share a row."""

import dataclasses
import math

import numpy as np

from input_pipeline.batches.mixture import stable_permutation
from input_pipeline.batches.slices import patches_needed

PATCH_SLACK = 1.03  # see `balanced_patches`
_WINDOWS_AT_ONCE = 64  # keeps the working arrays (windows × open rows) inside a core's cache


@dataclasses.dataclass(frozen=True)
class PackPlan:
    """Rows of examples in CSR form: row r holds members[offsets[r] : offsets[r + 1]].

    offsets:     int64[r + 1]
    members:     int64[n]   from `pack`, positions in the order that was packed, ascending in a row
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
        """The members of row r: int64[k]."""
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
    window: int,
    seed: int = 0,
    largest: np.ndarray | None = None,
    slices: int = 1,
) -> PackPlan:
    """Packs examples into rows that hold at most max_tokens tokens and max_patches patches.

    tokens, patches: int[n], what each example takes, in the (already shuffled) order to pack.
    window:          examples are packed with others of their own window only: consecutive runs of
                     this many, so that the order of training stays the shuffled one on the large.
                     Fill gains little beyond a few thousand.
    seed:            orders the rows of a window, which would come out sorted by size otherwise.
    largest:         int[n], patches of each example's largest grid, for rows of several slices: see
                     `slices.patches_needed`.

    Best-fit decreasing on two resources: a window's examples, largest first (by the larger of its
    two shares of a row), go where they leave the least room (sum of the two remaining shares) among
    the rows they fit into, or open a new row. Integer arithmetic only: equal plans everywhere.
    Raises ValueError naming the first example that does not fit into an empty row.
    """
    tokens, patches = np.asarray(tokens, np.int64), np.asarray(patches, np.int64)
    spare = np.zeros_like(patches)
    if slices > 1 and largest is not None:
        spare = patches_needed(0, np.asarray(largest, np.int64), slices)
    _check(tokens, patches, spare, max_tokens, max_patches, window)
    row_of = _assign(tokens, patches, spare, max_tokens, max_patches, window)
    row_of = _shuffle_rows(row_of, window, seed)
    members = np.argsort(row_of, kind="stable")
    counts = np.bincount(row_of) if len(row_of) else np.zeros(0, np.int64)
    return PackPlan(
        offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        members=members,
        row_tokens=_sum_by_row(row_of, tokens),
        row_patches=_sum_by_row(row_of, patches),
        max_tokens=max_tokens,
        max_patches=max_patches,
    )


def balanced_patches(
    tokens: np.ndarray, patches: np.ndarray, max_tokens: int, multiple: int = 1
) -> int:
    """The patches for which rows of `max_tokens` tokens run out of both at about the same time.

    tokens, patches: int[n], what each example takes. multiple: the result is a multiple of it and,
    for long rows, of 1024, the side of a block of attention scores on TPU. It lies PATCH_SLACK
    above the corpus's own proportion, because what the language model computes on should be full
    first. 0 for a corpus without media.
    """
    tokens, patches = np.asarray(tokens, np.int64), np.asarray(patches, np.int64)
    if not patches.sum():
        return 0
    wanted = PATCH_SLACK * max_tokens * patches.sum() / tokens.sum()
    # For shorter rows a step of 1024 would be too coarse.
    step = math.lcm(multiple, 1024) if wanted > 16 * 1024 else multiple
    return max(math.ceil(wanted / step) * step, -(-int(patches.max()) // step) * step)


def _check(
    tokens: np.ndarray,
    patches: np.ndarray,
    spare: np.ndarray,
    max_tokens: int,
    max_patches: int,
    window: int,
) -> None:
    if tokens.ndim != 1 or tokens.shape != patches.shape:
        raise ValueError(
            f"packing: tokens and patches must be int[n] of one length, got {tokens.shape} and "
            f"{patches.shape}"
        )
    if max_patches < 0:
        raise ValueError(f"packing: max_patches must be >= 0, got {max_patches}")
    for name, value in (("max_tokens", max_tokens), ("window", window)):
        if value < 1:
            raise ValueError(f"packing: {name} must be >= 1, got {value}")
    bad = (tokens < 1) | (patches < 0)
    if bad.any():
        i = int(bad.argmax())
        raise ValueError(
            f"packing: the example at position {i} has {tokens[i]} tokens and {patches[i]} "
            "patches; tokens must be >= 1 and patches >= 0"
        )
    too_large = (tokens > max_tokens) | (patches + spare > max_patches)
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
    spare: np.ndarray,
    max_tokens: int,
    max_patches: int,
    window: int,
) -> np.ndarray:
    """Row of each example, int64[n]; a window's rows are numbered after those of the one before.

    spare: int64[n], patches that must stay free in the row that an example is in.
    """
    n = len(tokens)
    windows = -(-n // window)
    # The last window is filled up with examples of size 0, which are given no row.
    padded = np.zeros((3, windows * window), np.int64)
    padded[:, :n] = tokens, patches, spare
    by_window = padded.reshape(3, windows, window)
    row_of = np.zeros((windows, window), np.int64)
    rows_before = 0
    for first in range(0, windows, _WINDOWS_AT_ONCE):
        block = slice(first, min(first + _WINDOWS_AT_ONCE, windows))
        t, p, free = by_window[:, block]
        local, opened = _best_fit(t, p, free, max_tokens, max_patches)
        starts = rows_before + np.concatenate([[0], np.cumsum(opened)])
        row_of[block] = local + starts[:-1, None]
        rows_before = starts[-1]
    return row_of.reshape(-1)[:n]


def _best_fit(
    tokens: np.ndarray, patches: np.ndarray, spare: np.ndarray, max_tokens: int, max_patches: int
) -> tuple[np.ndarray, np.ndarray]:
    """Best-fit decreasing of W windows side by side: tokens, patches, spare int64[W, S].

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
    kept_free = np.zeros((count, size + 1), np.int64)
    room = np.full((count, size + 1), max_tokens * token_scale + max_patches * patch_scale)
    opened = np.zeros(count, np.int64)
    row_of = np.zeros((count, size), np.int64)
    everyone = np.arange(count)
    no_room = np.iinfo(np.int64).max
    needs_spare = bool(spare.any())
    for s in range(size):
        t, p = sorted_tokens[:, s], sorted_patches[:, s]
        reach = int(opened.max()) + 1
        left = patch_room[:, :reach] - p[:, None]
        fits = (token_room[:, :reach] >= t[:, None]) & (left >= 0)
        if needs_spare:
            free = spare[everyone, order[:, s]]
            fits &= left >= np.maximum(kept_free[:, :reach], free[:, None])
        row = np.where(fits, room[:, :reach], no_room).argmin(axis=1)
        row_of[everyone, order[:, s]] = row
        real = t > 0
        where, row, t, p = everyone[real], row[real], t[real], p[real]
        token_room[where, row] -= t
        patch_room[where, row] -= p
        if needs_spare:
            kept_free[where, row] = np.maximum(kept_free[where, row], free[real])
        room[where, row] -= t * token_scale + p * patch_scale
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
