"""How full packed rows are: this repository's plan against padding to one grid and greedy packing.

    python -m bench.fill

All pack the same examples (`bench.fill.corpus`) into rows of the same size, and take every example
once. Fill is the share of text positions and of patch places that hold something; the rest is
computed for nothing.
"""

import argparse
import os

import grain
import numpy as np

from bench.fill.corpus import Sizes, paper_corpus
from bench.fill.packers import Fill, grain_first_fit, ours, padded
from input_pipeline.batches import balanced_patches

PATCHES_PER_TOKEN = 4  # Qwen2.5-VL
GRAIN_BINS = (16, 64)  # rows open at a time
MILLION = 1_000_000


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


if __name__ == "__main__":
    main()
