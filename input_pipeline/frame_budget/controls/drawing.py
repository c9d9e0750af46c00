"""Budgets drawn from a histogram, each by itself."""

import bisect
import hashlib
import itertools
from collections.abc import Mapping
from typing import Any

from input_pipeline.frame_budget.budget import BudgetQuery
from input_pipeline.frame_budget.spec import histogram_rows

RANKS = 1 << 64


def rank_of(seed: int, example_id: str) -> int:
    """A number in 0 … `RANKS` - 1 for an example.

    A keyed digest, not hash(): the same on every machine, in every process, in any order.
    """
    key = f"{seed}\n{example_id}".encode()
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big")


def drawn(spec: Mapping[str, Any], query: BudgetQuery) -> tuple[int, str]:
    """A draw from the row of the histogram that clips of this many frames go by.

    That is the row of the longest clips that are no longer, so that nothing is drawn that the clip
    does not have; a clip shorter than all goes by the shortest.
    """
    rows = histogram_rows(spec["histogram"])
    counts = rows[row_for(rows, query.media.frames)]
    rank = rank_of(spec["seed"], query.example_id) * sum(counts.values()) // RANKS
    ends = list(itertools.accumulate(counts.values()))
    return int(list(counts)[bisect.bisect_right(ends, rank)]), "drawn at random"


def row_for(rows: Mapping[str, Any], frames: int) -> str:
    """The key of the row that a clip of so many frames goes by. rows: by frames, ascending."""
    fitting = [has for has in rows if int(has) <= frames]
    return fitting[-1] if fitting else next(iter(rows))
