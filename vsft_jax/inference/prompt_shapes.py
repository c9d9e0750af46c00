"""Which row shapes to run prompts in: little padding, few compilations, few part-filled batches."""

from collections import defaultdict

import numpy as np

from input_pipeline.batches.rows import RowShape

_MOST_SHAPES = 8  # each is compiled once, which takes as long as many batches
_SMALLEST = 64  # positions or patches of the smallest row shape
# A patch's way through the tower, in text positions: Qwen2.5-VL-7B's tower has 0.67 billion
# parameters beside the LLM's 7.6.
_PATCH_COST = 0.1


def prompt_shapes(
    tokens: np.ndarray, patches: np.ndarray, batch_rows: int
) -> dict[RowShape, list[int]]:
    """Prompts grouped by the shape of the rows they run in, one prompt a row.

    Sizes are first rounded up to a few values an octave, so that runs over like data share
    compilations. Then shapes are joined, always the two whose joint batches cost least more, until
    they are few and joining no longer saves anything.

    Args:
        tokens: int[n], text positions of each prompt.
        patches: int[n], patches of each prompt.
        batch_rows: rows that run together; a batch costs the same however few of them are filled.

    Returns:
        Shape -> places in `tokens`, rising; the largest shape first.
    """
    members = defaultdict(list)
    for i, (length, count) in enumerate(zip(tokens, patches, strict=True)):
        members[_round_up(int(length)), _round_up(int(count))].append(i)
    shapes = np.array(list(members))
    groups = list(members.values())

    while len(groups) > 1:
        sizes = np.array([len(group) for group in groups])
        alone = _cost(shapes, sizes, batch_rows)
        joint = np.maximum(shapes[:, None], shapes[None])
        extra = _cost(joint, sizes[:, None] + sizes, batch_rows) - alone[:, None] - alone
        extra[np.tril_indices(len(groups))] = np.inf
        one, other = np.unravel_index(extra.argmin(), extra.shape)
        if len(groups) <= _MOST_SHAPES and extra[one, other] > 0:
            break
        shapes[one] = joint[one, other]
        groups[one] = groups[one] + groups.pop(other)
        shapes = np.delete(shapes, other, axis=0)

    found: dict[RowShape, list[int]] = defaultdict(list)
    for shape, group in zip(shapes.tolist(), groups, strict=True):
        found[RowShape(*shape)] += group
    largest_first = sorted(found, key=lambda shape: (-shape.patches, -shape.tokens))
    return {shape: sorted(found[shape]) for shape in largest_first}


def _cost(shapes: np.ndarray, counts: np.ndarray, batch_rows: int) -> np.ndarray:
    """Text positions that the batches take; shapes int[..., 2], counts int[...]."""
    row = shapes[..., 0] + _PATCH_COST * shapes[..., 1]
    return -(-counts // batch_rows) * batch_rows * row


def _round_up(size: int) -> int:
    """To the next of four values between one power of two and the next, at most a quarter more."""
    step = max(_SMALLEST, (1 << max(size - 1, 0).bit_length()) // 8)
    return max(_SMALLEST, -(-size // step) * step)
