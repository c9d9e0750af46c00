"""The ways of packing examples into rows, and what each leaves free."""

import time
from typing import NamedTuple

import grain
import numpy as np

from bench.fill.corpus import Sizes
from input_pipeline.batches import pack

PACK_WINDOW = 4096  # examples whose order our packing may change


class Fill(NamedTuple):
    """tokens, patches: share in use, 0..1. rows: how many were needed. seconds: to pack them."""

    tokens: float
    patches: float
    rows: int
    seconds: float


def ours(sizes: Sizes, row_tokens: int, row_patches: int) -> Fill:
    """This repository's plan, by `pack`."""
    start = time.perf_counter()
    plan = pack(*sizes, max_tokens=row_tokens, max_patches=row_patches, window=PACK_WINDOW)
    seconds = time.perf_counter() - start
    return Fill(plan.token_fill, plan.patch_fill, plan.rows, seconds)


def padded(sizes: Sizes) -> Fill:
    """Every example in a row of its own, which has room for the largest."""
    tokens, patches = (float(column.mean() / column.max()) for column in sizes)
    return Fill(tokens, patches, len(sizes.tokens), 0.0)


def grain_first_fit(sizes: Sizes, row_tokens: int, row_patches: int, bins: int) -> Fill:
    """Grain's streaming packer, over arrays of one byte a token and patch."""
    length = {"tokens": row_tokens, "patches": row_patches}
    ones = np.ones(max(length.values()), np.int8)

    def example(i: int) -> dict[str, np.ndarray]:
        return {name: ones[: getattr(sizes, name)[i]] for name in length}

    start = time.perf_counter()
    examples = grain.MapDataset.range(len(sizes.tokens)).map(example)
    packed = grain.experimental.FirstFitPackIterDataset(
        examples.to_iter_dataset(), length_struct=length, num_packing_bins=bins
    )
    rows, used = 0, dict.fromkeys(length, 0)
    for row in packed:
        rows += 1
        for name in length:
            used[name] += int(row[name].sum())
    seconds = time.perf_counter() - start
    assert used == {name: getattr(sizes, name).sum() for name in length}, "examples were lost"
    return Fill(
        used["tokens"] / rows / row_tokens, used["patches"] / rows / row_patches, rows, seconds
    )
