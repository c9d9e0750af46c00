"""The parser of MMMU, and what NExT-QA, EgoSchema and TOMATO made of it.

Where they find nothing, they pick an option at random (TOMATO: A). Here that is worth what it is
worth on average.
"""

from collections.abc import Mapping
from typing import Any

from evaluation.scoring.compat.reasoning import visible

# Signs that tell a letter, and by which the last of several is found.
_FORMS = (("({})", "({})"), ("{} ", " {} "), ("{}.", " {} "))


def mmmu(said: str, meta: Mapping[str, Any]) -> float | None:
    """The letter in brackets, else before a space, else before a dot, the last of several; in an
    answer of more than five words else the option whose text comes last. "Vitamin C " is C.

    Open answers are left out: that version of lmms-eval counts every one of them as wrong.
    """
    return nextqa(said, meta) if meta["choices"] else None


def nextqa(said: str, meta: Mapping[str, Any]) -> float:
    """As `mmmu`."""
    text, choices = _bare(said), meta["choices"]
    for form, place in _FORMS:
        if found := [each for each in choices if form.format(each) in text]:
            last = max(found, key=lambda each: text.rfind(place.format(each)))
            return float(last == meta["answer"])
    texts = _texts(text, choices)
    if not texts:
        return 1 / len(choices)
    return float(max(texts, key=texts.__getitem__) == meta["answer"])


def egoschema(said: str, meta: Mapping[str, Any]) -> float:
    """Letters in any of the three forms; of several the one whose last place is the first."""
    text, choices = _bare(said), meta["choices"]
    places = {
        (each, form): text.rfind(form.format(each))
        for form, _ in _FORMS
        for each in choices
        if form.format(each) in text
    }
    if places:
        return float(min(places, key=places.__getitem__)[0] == meta["answer"])
    texts = _texts(text, {each: f"{each}. {option}" for each, option in choices.items()})
    if not texts:
        return 1 / len(choices)
    return float(min(texts, key=texts.__getitem__) == meta["answer"])


def tomato(said: str, meta: Mapping[str, Any]) -> float:
    """A capital letter of the options anywhere, in whatever word; of several the last in brackets,
    without brackets the first in the alphabet. Else an option's text; else it is A."""
    text, choices = _bare(said), meta["choices"]
    if found := [each for each in choices if each in text]:
        return float(max(found, key=lambda each: text.rfind(f"({each})")) == meta["answer"])
    texts = _texts(text, choices)
    return float((max(texts, key=texts.__getitem__) if texts else "A") == meta["answer"])


def _bare(said: str) -> str:
    text = visible(said)
    for sign in ",.!?;:'":
        text = text.strip(sign)
    return f" {text} "


def _texts(said: str, choices: Mapping[str, str]) -> dict[str, int]:
    """Where the text of each option stands last, in an answer of more than five words."""
    if len(said.split()) <= 5:
        return {}
    said = said.lower()
    return {
        each: said.rfind(option.lower())
        for each, option in choices.items()
        if option.lower() in said
    }
