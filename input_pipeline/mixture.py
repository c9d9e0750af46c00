"""Which examples an epoch is made of, and in which order: a pure function of sizes and seed."""

import hashlib
from collections.abc import Mapping

import numpy as np


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
