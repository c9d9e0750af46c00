"""Which prompts run together, in rows of which shape: little padding, few compilations."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

_SMALLEST = 64  # positions or patches of the smallest row
# A patch's way through the tower, in text positions: Qwen2.5-VL-7B's tower has 0.67 billion
# parameters beside the LLM's 7.6.
_PATCH_COST = 0.1
_COMPILATION = 2  # what one more shape costs, in batches
# Rows so many times as long as the longest group: longer ones are filled better by groups of
# unlike sizes, and one token of an answer looks at more that is not its own.
_STRETCHES = (1.0, 1.5, 2.0, 3.0, 4.0)
_STRETCH_COST = 0.02
# Room for patches and endings, in shares of what would go with the positions on average: some to
# spare where groups are unlike.
_SPARES = (1.1, 1.5, 2.5)
_OPEN_ROWS = 256
_SAMPLE = 400  # groups by which stretch and spare are chosen


class RowSizes(NamedTuple):
    """Of a row: positions and patches of beginnings; positions of endings, and how many."""

    tokens: int
    patches: int
    endings: int
    questions: int

    @property
    def cost(self) -> float:
        """In text positions."""
        return self.tokens + self.endings + _PATCH_COST * self.patches


class Plan(NamedTuple):
    """Rows of one shape, each a list of groups; `batch_rows` of them run together, the last ones
    filled up with empty rows."""

    shape: RowSizes
    rows: list[list[int]]
    batch_rows: int

    @property
    def cost(self) -> float:
        """In text positions."""
        return -(-len(self.rows) // self.batch_rows) * self.batch_rows * self.shape.cost


def plan_rows(sizes: np.ndarray, batch_rows: int, shards: int, *, tight: bool) -> list[Plan]:
    """Plans that together hold every group once, the one with the largest rows first.

    Args:
        sizes: int[n, 4], of each group what `RowSizes` says of a row.
        batch_rows: groups of the largest size that may run together, a multiple of `shards`; longer
            rows are fewer.
        shards: devices that rows are split over.
        tight: rows for these groups alone, each with as many groups as fit. Otherwise one group a
            row, all `batch_rows` rows in a batch, and few shapes, that come again in other calls.
    """
    if not len(sizes):
        return []
    places = np.argsort(-sizes[:, 0], kind="stable")
    return _split(sizes, places, batch_rows, shards, tight)


def padding(plans: Sequence[Plan], sizes: np.ndarray) -> float:
    """The share of positions that hold nothing."""
    made = sum(
        -(-len(plan.rows) // plan.batch_rows)
        * plan.batch_rows
        * (plan.shape.tokens + plan.shape.endings)
        for plan in plans
    )
    return 1 - sizes[:, [0, 2]].sum() / made


def _split(
    sizes: np.ndarray, places: np.ndarray, batch_rows: int, shards: int, tight: bool
) -> list[Plan]:
    """One plan, or one for the larger groups and some for those of at most half the size."""
    single = _best(sizes, places, batch_rows, shards, tight)
    weights = sizes[places] @ [1, _PATCH_COST, 1, 0]
    small = weights <= weights.max() / 2
    if not small.any():
        return [single]
    larger = _best(sizes, places[~small], batch_rows, shards, tight)
    several = [larger, *_split(sizes, places[small], batch_rows, shards, tight)]
    shapes = _COMPILATION * batch_rows * sum(weights.max() / 2**i for i in range(1, len(several)))
    return [single] if single.cost <= sum(plan.cost for plan in several) + shapes else several


def _best(sizes: np.ndarray, places: np.ndarray, batch_rows: int, shards: int, tight: bool) -> Plan:
    """The cheapest plan with one shape."""
    longest = _round_up(int(sizes[places, 0].max()), tight)
    if not tight:
        rows = [[int(place)] for place in places]
        return Plan(_shape(sizes, rows, longest, tight), rows, batch_rows)
    some = places[:: -(-len(places) // _SAMPLE)]
    found = []
    for stretch in _STRETCHES:
        tokens = _round_up(int(stretch * longest), tight)
        # As many positions at a time as with the longest group alone, and a row for each device.
        most = int(batch_rows * longest / tokens) // shards * shards
        for spare in _SPARES if most else ():
            plan = _filled(sizes, some, tokens, spare, most, shards)
            found.append((plan.cost * (1 + _STRETCH_COST * stretch), tokens, spare, most))
    _, tokens, spare, most = min(found)
    return _filled(sizes, places, tokens, spare, most, shards)


def _filled(
    sizes: np.ndarray, places: np.ndarray, tokens: int, spare: float, most: int, shards: int
) -> Plan:
    """Rows of `tokens` positions, at most `most` at a time."""
    mine = sizes[places]
    share = mine.sum(axis=0) / max(mine[:, 0].sum(), 1)
    limits = np.maximum(mine.max(axis=0), (spare * share * tokens).astype(int))
    limits[0] = tokens
    rows = _fill(mine, places, limits)
    # Not much fewer at a time than may be, and as few empty ones in the last batch as that allows.
    most = min(most, -(-len(rows) // shards) * shards)
    at_a_time = range(most, max(most // 2, 1) - 1, -shards)
    each = min(at_a_time, key=lambda count: -(-len(rows) // count) * count)
    return Plan(_shape(sizes, rows, tokens, True), rows, each)


def _shape(sizes: np.ndarray, rows: Sequence[Sequence[int]], tokens: int, tight: bool) -> RowSizes:
    """The smallest shape for these rows."""
    patches, endings, questions = np.max([sizes[row, 1:].sum(axis=0) for row in rows], axis=0)
    # Where every ending is one token they are as many as the questions, and stay so few.
    endings = endings if endings <= questions else _round_up(int(endings), tight)
    return RowSizes(
        tokens, _round_up(int(patches), tight) if patches else 0, int(endings), int(questions)
    )


def _fill(mine: np.ndarray, places: np.ndarray, limits: np.ndarray) -> list[list[int]]:
    """Each group into the row with most room of what it takes most of, among those that were opened
    last (the dot-product rule for vector packing). mine: int[n, 4], sizes of `places`."""
    rows: list[list[int]] = []
    room = np.zeros((0, 4), int)
    scale = 1 / np.maximum(limits, 1) ** 2
    order = np.argsort(-(mine / np.maximum(limits, 1)).max(axis=1), kind="stable")
    for place, size in zip(places[order].tolist(), mine[order], strict=True):
        fits = (room >= size).all(axis=1)
        if fits.any():
            at = int(np.where(fits, room @ (size * scale), -1).argmax())
        else:
            rows.append([])
            room = np.concatenate([room, limits[None]])[-_OPEN_ROWS:]
            at = len(room) - 1
        room[at] -= size
        rows[len(rows) - len(room) + at].append(place)
    return rows


def _round_up(size: int, tight: bool) -> int:
    """To the next of 16 values (tight), or of four, between one power of two and the next."""
    least = _SMALLEST // 4 if tight else _SMALLEST
    step = max(least, (1 << max(size - 1, 0).bit_length()) // (32 if tight else 8))
    return max(_SMALLEST, -(-size // step) * step)
