"""MMBench without a judge ("static"): a letter as a word, else the text of an option, else what
`letters` reads."""

from collections.abc import Collection, Mapping
from typing import Any

from evaluation.scoring.compat.letters import letter
from evaluation.scoring.compat.reasoning import visible

_FORMS = (
    *("{}", "{}.", "{},", "{}:", "{})", "{}).", "({})", "({})."),
    *(":{}", ":{},", ":{}.", ":{})", ":{})."),
)


def mmbench(said: str, meta: Mapping[str, Any]) -> float:
    """Options that a question does not have take part with the text "nan", as in the table."""
    text = visible(said)
    choices = {each: meta["choices"].get(each, "nan") for each in "ABCD"}
    given = _as_a_word(text.split()) or _by_text(text, choices) or letter(text, "ABCD")
    return float(given == meta["answer"])


def _as_a_word(words: Collection[str]) -> str:
    """The only one of A to E that is a word of its own, in the first form that has just one. A bare
    letter among more than three words is no answer where "A" is one of them."""
    for form in _FORMS:
        found = [each for each in "ABCDE" if form.format(each) in words]
        if len(found) == 1 and not (form == "{}" and "A" in words and len(words) > 3):
            return found[0]
    return ""


def _by_text(said: str, choices: Mapping[str, str]) -> str:
    found = [each for each, text in choices.items() if text.lower() in said.lower()]
    return found[0] if len(found) == 1 else ""
