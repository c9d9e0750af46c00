"""Which examples an epoch is made of, and in which order: a pure function of sizes and seed."""

import dataclasses
import hashlib
import re
from collections.abc import Mapping
from typing import Literal

import numpy as np

_UNIT = re.compile("([%#])")


@dataclasses.dataclass(frozen=True)
class Count:
    """So many examples of a source, whatever its size."""

    examples: int


@dataclasses.dataclass(frozen=True)
class Mixture:
    """What an epoch takes of each source.

    amounts: source name → how much: a fraction of the source (1 is all of it) or a `Count`.
    epoch: "amounts" takes just these. With the others they are proportions, and the epoch ends
        when the source that is used up first ("smallest") or last ("largest") was read once.
    replay: source name → the share of the epoch that it makes up, in (0, 1), instead of an amount.
    replay_unit: what the shares are shares of.
    """

    amounts: Mapping[str, float | Count]
    epoch: Literal["amounts", "smallest", "largest"] = "amounts"
    replay: Mapping[str, float] = dataclasses.field(default_factory=dict)
    replay_unit: Literal["tokens", "examples"] = "tokens"

    def __post_init__(self) -> None:
        if self.epoch not in ("amounts", "smallest", "largest"):
            raise ValueError(
                f'mixture: epoch is {self.epoch!r}, expected "amounts", "smallest" or "largest"'
            )
        if self.replay_unit not in ("tokens", "examples"):
            raise ValueError(
                f'mixture: the unit of replay is {self.replay_unit!r}, expected "tokens" or '
                '"examples"'
            )
        shares = list(self.replay.values())
        if any(not 0 < share < 1 for share in shares) or not sum(shares) < 1:
            raise ValueError(
                "mixture: the shares of replay must be above 0 and less than 1 together, got "
                f"{dict(self.replay)}"
            )
        if both := sorted(set(self.replay) & set(self.amounts)):
            raise ValueError(f"mixture: {both} have an amount and a share of replay; give one")
        if not self.amounts:
            raise ValueError("mixture: there is no source beside those of replay")

    @property
    def names(self) -> list[str]:
        """The sources that take part, those of replay last."""
        return [*self.amounts, *self.replay]

    def weights(
        self, sizes: Mapping[str, int], tokens: Mapping[str, int] | None = None
    ) -> dict[str, float]:
        """The weights for `epoch_order`.

        sizes: source name → number of examples. tokens: source name → tokens of all its examples
        together, for replay by tokens.

        Shares hold to the example; by tokens, on average over the examples an epoch may draw.
        Raises ValueError for names that do not fit and for what takes nothing.
        """
        if unknown := sorted(set(sizes) ^ set(self.names)):
            raise ValueError(
                f"mixture: {unknown} are not among both the sources {list(sizes)} and the mixture "
                f"{self.names}"
            )
        weights = {
            name: amount.examples / sizes[name] if isinstance(amount, Count) else float(amount)
            for name, amount in self.amounts.items()
        }
        if self.epoch != "amounts":
            ends = (max if self.epoch == "smallest" else min)(weights.values())
            weights = {name: weight / ends for name, weight in weights.items()}
        by_tokens = self.replay_unit == "tokens"
        units = tokens if by_tokens and tokens is not None else sizes
        others = sum(weights[name] * units[name] for name in weights)
        whole = others / (1 - sum(self.replay.values()))
        weights |= {name: share * whole / units[name] for name, share in self.replay.items()}
        return {name: weights[name] for name in sizes}


def parse_mixture(text: str) -> dict[str, float | Count]:
    """Reads "videos%50,images#20000,notes" into amounts for `Mixture`.

    "name" is all of a source, "name%50" 50 percent of it, "name%200" all of it twice, "name#20000"
    so many of its examples. Raises ValueError naming the item that cannot be read.
    """
    return {
        name: Count(int(number)) if unit == "#" else number for name, unit, number in _items(text)
    }


def parse_shares(text: str) -> dict[str, float]:
    """Reads "images%10,notes%5" into shares for `Mixture.replay`, 10 and 5 percent of the epoch.

    Raises ValueError naming what cannot be read.
    """
    items = _items(text)
    if bad := [name for name, unit, _ in items if unit != "%"]:
        raise ValueError(f"{text!r}: {bad} have no percentage; wanted name%percent")
    return {name: number for name, _, number in items}


def _items(text: str) -> list[tuple[str, str, float]]:
    """Name, unit ("%", "#" or "") and number of each item of a list with commas; percentages as
    fractions."""
    items: list[tuple[str, str, float]] = []
    for item in filter(None, (item.strip() for item in text.split(","))):
        name, *rest = _UNIT.split(item, maxsplit=1)
        unit, written = rest or ("", "")
        try:
            number = 1.0 if not unit else float(written) / 100 if unit == "%" else int(written)
        except ValueError:
            number = 0.0
        if not (name and 0 < number < float("inf")):
            raise ValueError(
                f"{text!r}: cannot read {item!r}; wanted name, name%percent or name#count"
            )
        if name in [known for known, *_ in items]:
            raise ValueError(f"{text!r}: {name!r} stands there twice")
        items.append((name, unit, number))
    return items


def realised_mix(
    weights: Mapping[str, float], columns: Mapping[str, Mapping[str, np.ndarray]], seed: int
) -> dict[str, dict[str, int]]:
    """What the first epoch holds of each source: its examples and the sums of its columns.

    columns: source name → column name → int[n], such as tokens; a source's columns are as long as
    the source. Returns source name → {"examples": …, and a sum for each column}.
    """
    sizes = {name: len(next(iter(of.values()))) for name, of in columns.items()}
    sources, rows = epoch_order(sizes, weights, seed, 0)
    mix = {}
    for index, (name, values) in enumerate(columns.items()):
        taken = rows[sources == index]
        mix[name] = {"examples": len(taken)}
        mix[name] |= {column: int(numbers[taken].sum()) for column, numbers in values.items()}
    return mix


def epoch_order(
    sizes: Mapping[str, int], weights: Mapping[str, float], seed: int, epoch: int
) -> tuple[np.ndarray, np.ndarray]:
    """The examples of one epoch in shuffled order.

    sizes:   source name → number of examples. A source's position in this mapping is its index.
    weights: source name → w; an epoch takes round(w * size) examples of the source.
    epoch:   0, 1, 2, …

    Each source is read along one endless stream: a fresh seeded permutation of all its rows, then
    another, and so on; an epoch takes the next round(w * size) places. So every row of a source has
    been seen equally often, give or take one, after any number of epochs: w < 1 takes another part
    each epoch, w > 1 repeats in a new order.

    Returns (source_index int32[n], row_index int64[n]), the same on every host and every machine:
    it rests on SeedSequence and raw PCG64 output alone, which numpy promises not to change.
    Raises ValueError for a name without a weight or a weight without a name, for a weight that is
    not positive and finite or takes no example at all, and for an empty source.
    """
    takes = _takes(sizes, weights)
    if epoch < 0:
        raise ValueError(f"epoch must be >= 0, got {epoch}")
    sources = np.repeat(np.arange(len(takes), dtype=np.int32), list(takes.values()))
    rows = np.concatenate(
        [
            _stream(sizes[name], _entropy(seed, name), epoch * take, (epoch + 1) * take)
            for name, take in takes.items()
        ]
    )
    together = stable_permutation(len(rows), [seed, epoch, 1])
    return sources[together], rows[together]


def stable_permutation(n: int, entropy: list[int]) -> np.ndarray:
    """A permutation int64[n] fixed by the non-negative integers `entropy`, in any numpy version."""
    keys = np.random.PCG64(np.random.SeedSequence(entropy)).random_raw(n)
    return np.argsort(keys, kind="stable")


def _takes(sizes: Mapping[str, int], weights: Mapping[str, float]) -> dict[str, int]:
    """How many examples an epoch takes of each source."""
    if not sizes:
        raise ValueError("mixture: there is no source to take examples from")
    unknown = sorted(set(weights) - set(sizes))
    if unknown:
        raise ValueError(f"mixture: weights for unknown sources {unknown}; known: {list(sizes)}")
    missing = [name for name in sizes if name not in weights]
    if missing:
        raise ValueError(f"mixture: no weight for the sources {missing}")
    takes = {}
    for name, size in sizes.items():
        weight = weights[name]
        if size < 1:
            raise ValueError(f"mixture: source {name!r} has no examples")
        if not 0 < weight < float("inf"):
            raise ValueError(
                f"mixture: the weight of source {name!r} must be finite and > 0, got {weight}; "
                "leave the source out of the data sets to train without it"
            )
        takes[name] = round(weight * size)
        if takes[name] == 0:
            raise ValueError(
                f"mixture: weight {weight} takes none of the {size} examples of source {name!r}"
            )
    return takes


def _entropy(seed: int, name: str) -> list[int]:
    """The name takes part, so that a source keeps its order when others come and go."""
    digest = hashlib.blake2b(name.encode(), digest_size=8).digest()
    return [seed, int.from_bytes(digest, "big"), 0]


def _stream(size: int, entropy: list[int], start: int, stop: int) -> np.ndarray:
    """Places start … stop - 1 of the source's endless stream of permutations: int64[stop - start].

    Place p is entry p % size of permutation number p // size.
    """
    pieces = []
    for number in range(start // size, (stop - 1) // size + 1):
        permutation = stable_permutation(size, [*entropy, number])
        first = number * size
        pieces.append(permutation[max(start - first, 0) : stop - first])
    return np.concatenate(pieces)
