"""Operations that a model's training step needs, by formula: what MFU is counted against."""

import math
import operator
from collections.abc import Callable, Mapping, Set
from typing import NamedTuple

from vsft_jax.models.shared.config import TextConfig

_MATRICES = ("kernel", "lora_a", "lora_b")
_ORDER = ("tower", "projector", "llm")  # as activations pass through them


class ModelFlops(NamedTuple):
    """Floating-point operations of one step over all rows, without recomputation.

    matrices: products with parameters. attention: scores and weighted sums of the language model,
    and what its layers do with states that they carry along a text.
    tower_attention: of the tower; 0 where pictures are not known, by whose sizes it goes.
    """

    matrices: float
    attention: float
    tower_attention: float = 0.0


def model_flops(
    shapes: Mapping[str, tuple[int, ...]],
    trains: Set[str],
    component_of: Callable[[str], str],
    text: TextConfig,
    *,
    rows: int,
    row_tokens: float,
    row_patches: float,
    patches_per_unit: int,
    predicting: float | None = None,
    text_pairs: tuple[float, float] | None = None,
    tower_scores: float = 0.0,
) -> ModelFlops:
    """Counts 2 operations for each parameter of a matrix and position forward, 2 for the gradient
    of its inputs where something below it trains, 2 for its own where it trains.

    Args:
        shapes: parameter path -> shape. trains: paths. component_of: by path.
        text: the family's TextConfig.
        rows: packed rows of the step, of row_tokens positions and row_patches patches each, on
            average.
        patches_per_unit: patches that make one visual feature.
        predicting: positions that the output matrix is needed at, a row; None: all.
        text_pairs: pairs of positions that attend to each other, a row, in layers that see
            everything and in those with a window; None: as in a row that is one causal segment.
        tower_scores: pairs of patches times width, over the tower's layers, a row.
    """
    positions = {
        "tower": row_patches,
        "projector": row_patches / patches_per_unit,
        "llm": row_tokens,
    }
    lowest = min(
        (_ORDER.index(component_of(path)) for path in shapes if path in trains), default=len(_ORDER)
    )
    matrices = 0.0
    for path, shape in shapes.items():
        name = path.rsplit("/", 1)[-1]
        tied = path == "llm/embed/embedding" and text.tie_word_embeddings
        if name not in _MATRICES and not tied:
            continue
        part = component_of(path)
        size: float = math.prod(shape)
        if "/experts/" in path:  # of which a token goes to a few
            size *= text.experts_per_token / text.experts
        count = positions[part]
        if predicting is not None and (tied or path.endswith("head/kernel")):
            count = predicting
        passes = 1 + (_ORDER.index(part) >= lowest) + (path in trains)
        matrices += 2 * passes * size * count
    if text_pairs is None:
        seen = min(text.window or row_tokens, row_tokens)
        text_pairs = row_tokens**2 / 2, row_tokens * seen - seen**2 / 2
    scores = 2 * 2 * sum(map(operator.mul, text_pairs, text.attention_widths))
    scores += row_tokens * text.state_operations
    return ModelFlops(
        rows * matrices,
        rows * scores * (3 if lowest < len(_ORDER) else 1),
        rows * 2 * 2 * tower_scores * (3 if lowest == 0 else 1),
    )
