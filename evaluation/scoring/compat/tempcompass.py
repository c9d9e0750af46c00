"""TempCompass by its rules of words. What they do not read goes to a language model there, and
counts as wrong where none can be reached; so it does here."""

from collections.abc import Mapping
from typing import Any

from evaluation.scoring.compat.reasoning import visible


def tempcompass(said: str, meta: Mapping[str, Any]) -> float:
    """By the format that was asked: choices, captions to match, else yes or no, by which word the
    answer begins with ("Nobody" says no)."""
    text = visible(said)
    if meta["asked"] == "multi-choice":
        return _choice(text, meta)
    if meta["asked"] == "caption_matching":
        return _caption(text, meta)
    text = text.lower()
    given = "yes" if text.startswith("yes") else "no" if text.startswith("no") else ""
    return float(given == meta["answer"])


def _choice(said: str, meta: Mapping[str, Any]) -> float:
    """ "B", "B. …", "B) …" or nothing but the whole option."""
    right = meta["answer"]
    if said == f"{right}. {meta['choices'][right]}" or said == right:
        return 1.0
    return float(said[:2] in (f"{right}.", f"{right})") and right in "ABCD")


def _caption(said: str, meta: Mapping[str, Any]) -> float:
    """The whole line of an option, its sentence (also behind "A) "), or its name, "Caption A" or
    "A", without dots."""
    label, right = meta["label"], meta["answer"]
    lines = {each: f"{label}{each}: {text}" for each, text in meta["choices"].items()}
    sentences = {each: line.split(": ")[1] for each, line in lines.items()}
    names = [*(f"{label}{each}" for each in lines), *lines]
    given = ""
    behind = said.split(") ")[1] if ") " in said else said
    for meant in (lines[each] for each in lines if lines[each] == said):
        given = meant
    for meant in (text for text in sentences.values() if text in (said, behind)):
        given = meant
    for meant in (name for name in names if name in (said, said.replace(".", ""))):
        given = meant
    return float(given in (lines[right], f"{label}{right}", sentences[right], right))
