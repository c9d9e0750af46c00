"""Intervals of numbers that are no mean over questions: F1, pairs, means of means."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np

from evaluation.statistics.means import percentiles
from evaluation.statistics.sample import Interval

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    class Weighted(DataclassInstance, Protocol):
        """An answered question. cluster: the clip or picture that it is about. times: how often it
        is there, 1.0 or, in the draws of a bootstrap, float[draws]."""

        @property
        def cluster(self) -> str: ...
        @property
        def times(self) -> float | np.ndarray: ...


Row = TypeVar("Row", bound="Weighted")


def bootstrap_aggregate(
    rows: Sequence[Row],
    aggregate: Callable[[Sequence[Row]], Mapping[str, float | np.ndarray]],
    draws: int = 1000,
    seed: int = 0,
) -> dict[str, Interval]:
    """95 % intervals of every number that `aggregate` makes of answered questions: a bootstrap over
    their clusters, with the percentiles of `percentiles`.

    All draws are made at once: no row is there twice, but each has in `times` how often its cluster
    was drawn, float[draws], and `aggregate` sums with these weights. So it is called two times,
    whatever the number of draws. The rows of a cluster have one weight: what asks whether all
    questions of a picture are right counts the picture by the weight of any of them.
    A draw that does not have a number (a rare task that was not drawn) has nan in its place and is
    left out; a number that is nan over all rows is not given.
    """
    whole = aggregate(rows)
    numbers: dict[str, int] = {}
    where = [numbers.setdefault(row.cluster, len(numbers)) for row in rows]
    drawn: Mapping[str, float | np.ndarray] = {}
    if len(numbers) > 1:
        generator = np.random.default_rng(seed)
        share = np.full(len(numbers), 1 / len(numbers))
        times = generator.multinomial(len(numbers), share, size=draws).T.astype(np.float64, "C")
        drawn = aggregate(
            [
                dataclasses.replace(row, times=times[cluster])
                for row, cluster in zip(rows, where, strict=True)
            ]
        )
    intervals = {}
    for name, value in whole.items():
        if not np.isnan(value):
            found = np.broadcast_to(drawn.get(name, np.nan), draws)
            found = found[~np.isnan(found)]
            ends = percentiles(found, len(numbers)) if found.size else (np.nan, np.nan)
            intervals[name] = Interval(float(value), *ends, len(rows))
    return intervals
