"""How full packed rows are: this repository's plan against padding to one grid and greedy packing.

    python -m bench.fill

All pack the same examples (`bench.fill_corpus`) into rows of the same size, and take every example
once. Fill is the share of text positions and of patch places that hold something; the rest is
computed for nothing.
"""

import argparse
import os
import time
from typing import NamedTuple

import grain
import numpy as np

from bench.fill_corpus import Sizes, paper_corpus
from input_pipeline.batches import balanced_patches, pack

PATCHES_PER_TOKEN = 4  # Qwen2.5-VL
PACK_WINDOW = 4096  # examples whose order our packing may change
GRAIN_BINS = (16, 64)  # rows open at a time
MILLION = 1_000_000


class Fill(NamedTuple):
    """tokens, patches: share in use, 0..1. rows: how many were needed. seconds: to pack them."""

    tokens: float
    patches: float
    rows: int
    seconds: float


def main() -> None:
    """Packs the corpus in every way and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--row-tokens", type=int, default=16_384)
    options = parser.parse_args()
    row_tokens = options.row_tokens
    print(f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f} at the start")
    sizes = paper_corpus(row_tokens, PATCHES_PER_TOKEN * row_tokens)
    row_patches = balanced_patches(*sizes, row_tokens, PATCHES_PER_TOKEN)
    sizes = paper_corpus(row_tokens, row_patches)
    print(
        f"{len(sizes.tokens):,} examples of {sizes.tokens.mean():.0f} tokens and "
        f"{sizes.patches.mean():.0f} patches on average; rows of {row_tokens} tokens and "
        f"{row_patches} patches\n"
    )
    print("| packing | token fill | patch fill | rows | seconds |\n|---|---|---|---|---|")
    print_row("this repository", ours(sizes, row_tokens, row_patches))
    for bins in GRAIN_BINS:
        name = f"Grain {grain.__version__} first fit, {bins} rows open"
        print_row(name, grain_first_fit(sizes, row_tokens, row_patches, bins))
    print_row("padded to one grid, an example a row (as MaxText 0.2.5)", padded(sizes))
    many = Sizes(*(np.resize(column, MILLION) for column in sizes))
    print_row("this repository, a million examples", ours(many, row_tokens, row_patches))


def print_row(name: str, fill: Fill) -> None:
    """One line of the Markdown table."""
    print(
        f"| {name} | {100 * fill.tokens:.1f} % | {100 * fill.patches:.1f} % | {fill.rows:,} "
        f"| {fill.seconds:.1f} |",
        flush=True,
    )


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


if __name__ == "__main__":
    main()
