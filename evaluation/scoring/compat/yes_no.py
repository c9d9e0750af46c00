"""Yes and no of MME and POPE."""

from collections.abc import Mapping
from typing import Any

from evaluation.scoring.compat.reasoning import visible


def mme(said: str, meta: Mapping[str, Any]) -> float:
    """What stands in the first four characters, dots left out, yes before no: "Not sure" says no,
    "yesterday" yes, "The answer is yes" nothing. "y" and "n" alone count."""
    text = visible(said).lower().strip().replace(".", "")
    text = {"y": "yes", "n": "no"}.get(text, text)[:4]
    given = "yes" if "yes" in text else "no" if "no" in text else ""
    return float(given == meta["answer"])


def pope(said: str, meta: Mapping[str, Any]) -> float:
    """The bare word, whatever its case: "Yes." is wrong."""
    return float(visible(said).lower() == meta["answer"])
