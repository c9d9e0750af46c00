"""Experts that a checkpoint holds one by one, as transformers 5 saves some models, seen as the
stacks that the tables name: gate and up side by side, [E, 2 I, D], and down, [E, D, I]."""

import re
from collections.abc import Callable, Mapping

import numpy as np

# (name of a tensor, one slice for each of its axes) -> that part of the tensor.
Read = Callable[[str, tuple[slice, ...]], np.ndarray]

_ONE = re.compile(r"(.+\.experts)\.(\d+)\.(gate|up|down)_proj\.weight")
_STACKS = {"gate_up_proj": ("gate", "up"), "down_proj": ("down",)}


def stacked(
    shapes: Mapping[str, tuple[int, ...]], read: Read
) -> tuple[dict[str, tuple[int, ...]], Read]:
    """Shapes by name, and a `read` to go with them, with stacks in place of single experts.

    read: of the names of `shapes`. Experts of which some are missing or shaped otherwise stay as
    they are.
    """
    found: dict[str, dict[str, dict[int, str]]] = {}
    for name in shapes:
        if one := _ONE.fullmatch(name):
            parts = found.setdefault(one[1], {part: {} for part in ("gate", "up", "down")})
            parts[one[3]][int(one[2])] = name
    left = dict(shapes)
    stacks: dict[str, list[list[str]]] = {}  # name -> a list of each expert's parts
    for prefix, parts in found.items():
        count = len(parts["gate"])
        whole = all(parts[part].keys() == set(range(count)) for part in parts)
        for stack, names in _STACKS.items() if whole else ():
            each = [[parts[part][number] for part in names] for number in range(count)]
            sizes = {tuple(tuple(shapes[name]) for name in one) for one in each}
            if len(sizes) > 1:
                continue
            ((rows, width), *_) = sizes.pop()
            left[f"{prefix}.{stack}"] = (count, len(names) * rows, width)
            stacks[f"{prefix}.{stack}"] = each
            for name in (name for one in each for name in one):
                del left[name]

    def read_stack(name: str, index: tuple[slice, ...]) -> np.ndarray:
        if name not in stacks:
            return read(name, index)
        experts, rows, columns = (
            slice(*part.indices(size)) for part, size in zip(index, left[name], strict=True)
        )
        return np.stack([_read_one(one, rows, columns) for one in stacks[name][experts]])

    def _read_one(names: list[str], rows: slice, columns: slice) -> np.ndarray:
        pieces, start = [], 0
        for name in names:
            size = shapes[name][0]
            first, stop = (min(max(at - start, 0), size) for at in (rows.start, rows.stop))
            if first < stop:
                pieces.append(read(name, (slice(first, stop), columns)))
            start += size
        return np.concatenate(pieces)

    return left, read_stack
