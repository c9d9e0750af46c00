"""Balanced, reproducible draws: what keeps answers equally frequent and seeds apart."""

import zlib
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

Option = TypeVar("Option")


def stream(*key: int | str) -> np.random.Generator:
    """A random generator that depends on nothing but `key`, for example (seed, split, number)."""
    words = [zlib.crc32(part.encode()) if isinstance(part, str) else part for part in key]
    return np.random.default_rng(np.random.SeedSequence(words))


class Decks:
    """Named decks of cards: each deals every option once, in random order, before any comes twice.

    An answer that is dealt from a deck is as frequent as every other to within one, in any prefix
    of a split, and independent of everything dealt from other decks.
    """

    def __init__(self, *key: int | str):
        self._key = key
        self._decks: dict[str, tuple[np.random.Generator, list[int], int]] = {}

    def draw(self, name: str, options: Sequence[Option]) -> Option:
        """The next card of deck `name`. A deck must be asked with the same options every time.

        Raises ValueError when the number of options changes between draws.
        """
        rng, left, size = self._decks.get(name) or (stream(*self._key, name), [], len(options))
        if size != len(options):
            raise ValueError(f"deck {name!r} holds {size} options, was asked for {len(options)}")
        if not left:
            left = rng.permutation(size).tolist()
        card = left.pop()
        self._decks[name] = (rng, left, size)
        return options[card]
