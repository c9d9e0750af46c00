"""The first capital letter behind what often stands before an answer."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from evaluation.scoring.compat.reasoning import visible

_BEST = ("The best answer is", "The correct answer is", "The answer is", "The answer")
_OPTION = ("The best option is", "The correct option is")
_LONG = (*_BEST, *_OPTION, "Best answer:", "Best option:")
_V2 = (*_BEST, *_OPTION, "Final Answer:", "Best answer:", "Best option:", "Answer:", "Option:")


def longvideobench(said: str, meta: Mapping[str, Any]) -> float:
    """The first of A to E, in whatever word. Without one an option is picked at random there."""
    found = _first(said, _LONG, "ABCDE")
    return float(found == meta["answer"]) if found else 1 / len(meta["choices"])


def videomme_v2(said: str, meta: Mapping[str, Any]) -> float:
    """The first of A to H, in whatever word: "Because" is B."""
    return float(_first(said, _V2, "ABCDEFGH") == meta["answer"])


def _first(said: str, before: Sequence[str], letters: str) -> str:
    text = visible(said)
    for words in before:
        text = text.replace(words, "")
    found = re.search(f"[{letters}]", text)
    return found[0] if found else ""
