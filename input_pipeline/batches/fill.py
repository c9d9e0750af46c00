"""How full rows are, and which size of them would be fuller."""

from collections.abc import Iterator, Sequence

import numpy as np

from input_pipeline.batches.packing import PackPlan, balanced_patches, pack

_TRIED = 32_768  # examples that other sizes are tried on: enough to tell how full rows would be
_BETTER = 0.02  # by which token and patch fill together must rise to be worth a change


def fuller_rows(
    tokens: np.ndarray, patches: np.ndarray, planned: PackPlan, *, multiple: int, window: int
) -> list[PackPlan]:
    """Packings of the examples, or of the first of them, in rows of sizes that would be fuller than
    the planned ones: as long, twice and half as long, with as many patches as these examples need.

    tokens, patches: int[n], what each example takes as it is laid out, in the order to pack.
    multiple: see `balanced_patches`. window: see `pack`. The fullest comes first.
    """
    tokens, patches = tokens[:_TRIED], patches[:_TRIED]
    found = []
    for row_tokens in (planned.max_tokens, 2 * planned.max_tokens, planned.max_tokens // 2):
        row_patches = balanced_patches(tokens, patches, row_tokens, multiple)
        size = (row_tokens, row_patches)
        known = size == (planned.max_tokens, planned.max_patches)
        if known or not row_patches or tokens.max() > row_tokens:
            continue
        found.append(
            pack(tokens, patches, max_tokens=row_tokens, max_patches=row_patches, window=window)
        )
    better = [other for other in found if _fill(other) > _fill(planned) + _BETTER]
    return sorted(better, key=_fill, reverse=True)


def fill_lines(planned: PackPlan, fuller: Sequence[PackPlan]) -> Iterator[str]:
    """A table of 80 columns of the planned rows and those of `fuller_rows`, in words."""
    yield (
        f"an epoch of {len(planned.members):,} examples is {planned.rows:,} rows; how full they "
        "are by their size:"
    )
    heads = ("row_tokens", "row_patches", "examples a row", "tokens used", "patches used")
    yield "".join(f"{head:>{len(head) + 2}}" for head in heads)
    yield _fill_line(planned) + "  as now"
    for other in fuller:
        yield _fill_line(other)
    if fuller:
        yield "the others would be fuller, for the examples as they are laid out now:"
        yield "config.layout.row_tokens and config.layout.row_patches set the size"


def _fill_line(plan: PackPlan) -> str:
    return (
        f"{plan.max_tokens:12,}{plan.max_patches:13,}{plan.examples_per_row:16.1f}"
        f"{plan.token_fill:13.1%}{plan.patch_fill:14.1%}"
    )


def _fill(plan: PackPlan) -> float:
    return plan.token_fill + plan.patch_fill
