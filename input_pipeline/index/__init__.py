"""Annotations in, a prepared index out: every example with its budget, its layout and its sizes.

All that decides what a row of training looks like happens here, from metadata, before any full
decode. `prepare` makes the index of a data set on disk, `lay_out` that of a few examples in memory;
both give an `ExampleStore`. What cannot be used is listed in a quarantine file, with its reason.
"""

from input_pipeline.index.pieces import DatasetSpec
from input_pipeline.index.prepare import lay_out, prepare
from input_pipeline.index.quarantine import BadFraction, Quarantine, TooManyBad, quarantine_of
from input_pipeline.index.report import report_lines
from input_pipeline.index.rows import IndexSpec, RowMaker
from input_pipeline.index.store import ExampleStore

__all__ = [
    "BadFraction",
    "DatasetSpec",
    "ExampleStore",
    "IndexSpec",
    "Quarantine",
    "RowMaker",
    "TooManyBad",
    "lay_out",
    "prepare",
    "quarantine_of",
    "report_lines",
]
