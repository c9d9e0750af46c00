"""Answers made of a table of rules: each says what stands for which reading, many words around it.

A template's {x} and {y} are two different letters, {w} is words without a capital letter.
"""

import itertools
from collections.abc import Iterator, Sequence

WORDS = (
    "left",
    "it moves to the left",
    "the ball, which is red, rolls",
    "since nothing else fits",
    "one of them",
    "100 times",
    "so it seems",
    "rolling and falling",
    "the big one over there",
    "maybe; who knows",
)


def answers(
    table: Sequence[tuple[str, str, str | None]], letters: str = "ABCD"
) -> Iterator[tuple[str, str, str | None]]:
    """(rule, what is said, the letter that is read). table: (rule, template, "x", "y", a letter or
    None)."""
    for rule, template, read in table:
        words = WORDS if "{w}" in template else ("",)
        for (x, y), w in itertools.product(itertools.permutations(letters, 2), words):
            yield rule, template.format(x=x, y=y, w=w), {"x": x, "y": y}.get(read or "", read)
