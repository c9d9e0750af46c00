"""Options as letters, and back."""

import re
from collections.abc import Sequence
from typing import Any

from evaluation.benchmarks.question import Medium, Question

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
ASK_LETTER = "Answer with the option's letter from the given choices directly."
ASK_WORD = "Answer the question using a single word or phrase."

_LETTERED = re.compile(r"\s*\(?([A-Z])[.):]\s*(.*)", re.DOTALL)
_LINE = re.compile(r"^\s*\(?([A-Z])[.):]\s*(.+?)\s*$", re.MULTILINE)


def choice_question(
    id: str,
    content: tuple[str | Medium, ...],
    choices: dict[str, str],
    answer: str,
    *,
    task: str,
    cluster: str,
    asks: str = "",
    **facts: Any,
) -> Question:
    """A question that is answered by a letter of its choices. See `Question`."""
    return Question(
        id=id,
        content=content,
        task=task,
        format="choice",
        answer=answer,
        chance=1 / len(choices),
        cluster=cluster,
        choices=choices,
        asks=asks,
        facts=facts,
    )


def lettered(options: Sequence[Any]) -> dict[str, str]:
    """Options by letter; where each begins with its own ("A. red", "(A) red"), without that.

    Raises ValueError for what is no list of at most 26.
    """
    if isinstance(options, str) or len(options) > len(LETTERS):
        raise ValueError(f"its options are {options!r:.80}")
    texts = [str(option).strip() for option in options]
    found = [_LETTERED.fullmatch(text) for text in texts]
    letters = LETTERS[: len(texts)]
    if all(f and f[1] == letter for f, letter in zip(found, letters, strict=True)):
        texts = [f[2].strip() for f in found if f]
    return dict(zip(letters, texts, strict=True))


def options_in(question: str) -> dict[str, str]:
    """The options that stand in a question, a line each: "A. red". They begin at the last line of
    A; {} where there are none."""
    found: dict[str, str] = {}
    for letter, text in _LINE.findall(question):
        if letter == "A":
            found = {}
        if letter == LETTERS[len(found)]:
            found[letter] = text
    return found


def without_options(question: str) -> str:
    """A question without the lines that `options_in` reads."""
    options = options_in(question)
    if len(options) < 2:
        return question.strip()
    kept = [
        line
        for line in question.split("\n")
        if not ((option := _LINE.fullmatch(line)) and options.get(option[1]) == option[2])
    ]
    return "\n".join(kept).strip()


def lines(choices: dict[str, str], form: str = "{}. {}") -> str:
    """One line an option."""
    return "\n".join(form.format(letter, text) for letter, text in choices.items())


def letter_of(answer: Any, choices: dict[str, str]) -> str:
    """The letter of the right option, that is named by its letter ("B", "B. red", "(B)"), its place
    from 0 as a number, or its text. "" where it names none."""
    if isinstance(answer, int) and not isinstance(answer, bool):
        return list(choices)[answer] if 0 <= answer < len(choices) else ""
    text = str(answer).strip()
    named = [letter for letter, option in choices.items() if option.strip() == text]
    if len(named) == 1:
        return named[0]
    if text.strip("().: ") in choices:
        return text.strip("().: ")
    found = _LETTERED.fullmatch(text)
    return found[1] if found and found[1] in choices else ""
