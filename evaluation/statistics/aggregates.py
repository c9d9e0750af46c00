"""Intervals of numbers that are no mean over questions: F1, pairs, means of means."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np

from evaluation.statistics.means import percentiles
from evaluation.statistics.sample import Interval

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    class Clustered(DataclassInstance, Protocol):
        """An answered question. cluster: the clip or picture that it is about."""

        @property
        def cluster(self) -> str: ...


Row = TypeVar("Row", bound="Clustered")


def bootstrap_aggregate(
    rows: Sequence[Row],
    aggregate: Callable[[Sequence[Row]], Mapping[str, float]],
    draws: int = 1000,
    seed: int = 0,
) -> dict[str, Interval]:
    """95 % intervals of every number that `aggregate` makes of answered questions: a bootstrap over
    their clusters, with the percentiles of `percentiles`.

    A cluster that is drawn k times is there under k names ("a.jpg", "a.jpg#1", …), all its rows
    with it: so it counts k times too where an aggregate asks whether all questions of a picture are
    right. `aggregate` must tell pictures by `cluster`, since ids repeat.
    A number that a draw does not have (a rare task that was not drawn) is left out of that draw.
    It takes the time of `draws` aggregates: a second where one takes 1 ms.
    """
    members: dict[str, list[Row]] = {}
    for row in rows:
        members.setdefault(row.cluster, []).append(row)
    copies = [[each] for each in members.values()]  # [cluster][k]: its rows when drawn again

    def copy(cluster: int, k: int) -> list[Row]:
        if k == len(copies[cluster]):  # asked for in order
            again = [
                dataclasses.replace(row, cluster=f"{row.cluster}#{k}") for row in copies[cluster][0]
            ]
            copies[cluster].append(again)
        return copies[cluster][k]

    found: dict[str, list[float]] = {}
    generator = np.random.default_rng(seed)
    share = np.full(len(copies), 1 / max(1, len(copies)))
    for _ in range(draws if len(copies) > 1 else 0):
        times = generator.multinomial(len(copies), share)
        drawn = [
            row
            for cluster in np.flatnonzero(times).tolist()
            for k in range(times[cluster])
            for row in copy(cluster, k)
        ]
        for name, value in aggregate(drawn).items():
            found.setdefault(name, []).append(value)
    intervals = {}
    for name, value in aggregate(rows).items():
        low, high = percentiles(np.array(found.get(name, [np.nan])), len(copies))
        intervals[name] = Interval(value, low, high, len(rows))
    return intervals
