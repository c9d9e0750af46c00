"""MVBench: the first letter that stands alone, the article "a" with it."""

import re
from collections.abc import Mapping
from typing import Any

from evaluation.scoring.compat.reasoning import visible
from evaluation.scoring.compat.text import without_signs


def mvbench(said: str, meta: Mapping[str, Any]) -> float | None:
    """The letter of "A. red"; else the first of a to e that stands alone, in either case, when
    signs are left out: "The man is a person" is A. An empty answer is left out of the count."""
    text = visible(said)
    return float(_letter(text) == meta["answer"]) if text else None


def _letter(text: str) -> str:
    if named := re.match(r"([A-E])\.\s*.+$", text, re.IGNORECASE):
        return named[1].upper()
    plain = without_signs(" ".join(text.replace("\t", "\n").split("\n")).strip())
    alone = re.search(r"\b[A-E]\b", plain, re.IGNORECASE)
    return alone[0].upper() if alone else ""
