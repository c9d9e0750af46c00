"""Rows that several devices share: what goes into which of a row's slices.

Positions and patches of a row are cut into as many equal, contiguous slices as devices share it
(the 'context' axis of a mesh). A tower looks at one temporal grid at a time, so that no grid may
lie on two slices; a language model looks back over whole examples, so that their order decides how
much of that falls to each slice.
"""

import itertools
from typing import Any

import numpy as np

_ROUNDS = 16  # of exchanging two examples
_TRIED = 48  # longest examples, which are exchanged: the others hardly count


def patches_needed(patches: Any, largest: Any, slices: int) -> Any:
    """Patches of a row in which grids of so many patches surely have room, in any order.

    patches, largest: of the row, and of its largest grid; numbers or arrays. A grid that does not
    fit into what is left of a slice goes to the next one, so that every slice but the last loses
    less than the largest grid.
    """
    return patches + (slices - 1) * largest


def grid_places(sizes: np.ndarray, row_patches: int, slices: int) -> np.ndarray:
    """Where each grid begins: int64[g], ascending.

    sizes: int[g], patches of the grids in their order. Raises ValueError where they have no room,
    which they have where `patches_needed` is at most row_patches.
    """
    width = row_patches // slices
    places, here = [], 0
    for size in sizes.tolist():
        if here % width + size > width:
            here = (here // width + 1) * width
        places.append(here)
        here += size
        if size > width or here > row_patches:
            raise ValueError(
                f"grids of {sizes.tolist()} patches do not fit into {slices} slices of {width}: "
                "prepare the index again with this config.mesh.context"
            )
    return np.array(places, np.int64)


def deal_grids(row: dict[str, Any], slices: int, patches_per_unit: int) -> None:
    """Moves the grids of a built row, which stand one behind the other, so that none lies on two
    slices; what the text shows is renumbered.

    row: fields of `Batch` without the axis B.
    """
    frames = row["patch_frames"]
    sizes = np.bincount(frames)[1:]
    if not len(sizes):
        return
    before = np.cumsum(sizes) - sizes
    shifts = grid_places(sizes, len(frames), slices) - before
    # The shift is that of the slice: few runs, moved to the right from the last one on.
    starts = np.flatnonzero(np.diff(shifts, prepend=-1))
    ends = np.append(before[starts[1:]], sizes.sum())
    for start, end in reversed(list(zip(starts, ends, strict=True))):
        first, shift = before[start], shifts[start]
        for name in ("patches", "patch_coords", "patch_frames", "patch_windows"):
            row[name][first + shift : end + shift] = row[name][first:end]
            row[name][first : min(end, first + shift)] = 0
    units = np.repeat(shifts, sizes)[::patches_per_unit] // patches_per_unit
    index = row["visual_index"]
    row["visual_index"] = np.where(index < 0, index, index + units[index]).astype(index.dtype)


def balanced_order(lengths: np.ndarray, row_tokens: int, slices: int) -> np.ndarray:
    """An order of a row's examples, int64[k], in which slices have about equal attention work.

    lengths: int[k], positions of the examples. A position's work is the positions that it looks at:
    those of its example up to itself. Beginning with long and short ones in turn, the exchange of
    two examples that helps most is made, as long as one does. Integers alone: equal orders
    everywhere. A row that is one example cannot be balanced: its last slice has (2·slices − 1) /
    slices times the mean.
    """
    lengths = np.asarray(lengths, np.int64)
    falling = np.argsort(-lengths, kind="stable")
    order = np.empty_like(falling)
    half = -(-len(falling) // 2)
    order[0::2], order[1::2] = falling[:half], falling[half:][::-1]
    pairs = np.array(list(itertools.combinations(range(len(order)), 2)), np.int64).reshape(-1, 2)
    longest = np.zeros(len(order), bool)
    longest[falling[:_TRIED]] = True
    best = slice_work(lengths[order], row_tokens, slices).max()
    for _ in range(_ROUNDS):
        tried = pairs[longest[order[pairs]].all(axis=1)]
        if not len(tried):
            break
        orders = np.repeat(order[None], len(tried), axis=0)
        everyone = np.arange(len(tried))
        orders[everyone, tried[:, 0]] = order[tried[:, 1]]
        orders[everyone, tried[:, 1]] = order[tried[:, 0]]
        most = slice_work(lengths[orders], row_tokens, slices).max(axis=-1)
        if most.min() >= best:
            break
        best, order = most.min(), orders[most.argmin()]
    return order


def slice_work(lengths: np.ndarray, row_tokens: int, slices: int) -> np.ndarray:
    """Pairs of positions that look at each other in each slice of rows: int64[…, slices].

    lengths: int[…, k], positions of the examples of each row, in their order.
    """
    starts = np.cumsum(lengths, axis=-1) - lengths
    borders = row_tokens * np.arange(slices + 1) // slices
    passed = np.clip(borders[:, None] - starts[..., None, :], 0, lengths[..., None, :])
    return np.diff((passed * (passed + 1) // 2).sum(axis=-1), axis=-1)
