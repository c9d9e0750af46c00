"""Prepared indexes in, fixed-shape batches out.

`Mixture` says what an epoch takes of each data set, `pack` which examples share a row, `BatchPlan`
which rows make up step k, and `make_batches` decodes them: step k follows from its number alone.
"""

from input_pipeline.batches.batch import Batch, RowShape, device_arrays, stack_rows
from input_pipeline.batches.fill import fill_lines
from input_pipeline.batches.loading import listed_rows, make_batches
from input_pipeline.batches.mixture import (
    Count,
    Mixture,
    parse_mixture,
    parse_shares,
    realised_mix,
)
from input_pipeline.batches.packing import balanced_patches, pack
from input_pipeline.batches.plan import BatchPlan, SourceSizes
from input_pipeline.batches.rows import build_row, empty_row

__all__ = [
    "Batch",
    "BatchPlan",
    "Count",
    "Mixture",
    "RowShape",
    "SourceSizes",
    "balanced_patches",
    "build_row",
    "empty_row",
    "device_arrays",
    "fill_lines",
    "listed_rows",
    "make_batches",
    "pack",
    "parse_mixture",
    "parse_shares",
    "realised_mix",
    "stack_rows",
]
