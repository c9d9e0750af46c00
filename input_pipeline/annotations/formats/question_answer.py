"""Plain questions: {"question": …, "answer": …, "options": […], "image" or "video": …}.

Without tags in the question its media come before it. With options the question ends with one line
for each, "A. red", and with the request for a letter, and the letter is the answer that is taught.
"""

import re
from collections.abc import Mapping
from typing import Any

from input_pipeline.annotations.formats.parsed import MEDIA_KEYS, Medium, Parsed, record_media
from input_pipeline.annotations.rejected import Unusable

WANTED = '"question": …, "answer": …'
KEYS = frozenset({"question", "answer", "options", *MEDIA_KEYS})
ASK_LETTER = "Answer with the option's letter."
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_LETTERED = re.compile(
    r"\s*[(\[（]?(?P<letter>[A-Za-z])[)\]）.:、．：,，]+\s*(?P<text>.+)", re.DOTALL
)


def recognises(record: Mapping[str, Any]) -> bool:
    """Whether a record is of this format."""
    return isinstance(record.get("question"), str) and record.get("answer") is not None


def parse(record: Mapping[str, Any]) -> Parsed:
    """Raises Unusable."""
    question, answer = record.get("question"), record.get("answer")
    if not isinstance(question, str) or not question.strip():
        raise Unusable("empty_question", f'"question" must be a text, found {question!r}'[:300])
    meta: dict[str, Any] = {}
    options = _options(record.get("options"))
    if options:
        letter = _letter(answer, options, _are_numbers(record["options"]))
        lines = [f"{key}. {text}" for key, text in options.items()]
        question = "\n".join([question.strip(), *lines, ASK_LETTER])
        meta = {"format": "choice", "choices": options, "answer": letter}
        answer = letter
    elif isinstance(answer, int | float) and not isinstance(answer, bool):
        answer = str(answer)
    if not isinstance(answer, str):
        raise Unusable("empty_answer", f'"answer" must be a text, found {answer!r}'[:300])
    media, used = record_media(record)
    pieces: list[str | Medium] = [question]
    if "<image>" not in question and "<video>" not in question:
        pieces, media = [*media, question], []
    # "answer" stays in the metadata: a benchmark is scored by it.
    meta = {"answer": answer} | meta
    used |= {"question", "answer", "options"}
    return Parsed([("user", pieces), ("assistant", [answer])], media, used, meta)


def _options(value: Any) -> dict[str, str]:
    """Options by letter, from a list or from {letter: text}; {} without."""
    if value is None or value == [] or value == {}:
        return {}
    if isinstance(value, dict):
        found = {key.upper(): _text(text) for key, text in value.items() if text is not None}
    elif isinstance(value, list) and len(value) <= len(_LETTERS):
        texts = [_text(text) for text in value]
        bare = [_unlettered(letter, text) for letter, text in zip(_LETTERS, texts)]  # noqa: B905
        # Where each begins with its letter, and not one by chance: "A. Smith" among other names.
        found = dict(zip(_LETTERS, texts if None in bare else bare))  # noqa: B905
    else:
        found = {"": value}
    if not all(isinstance(text, str) and text.strip() for text in found.values()) or "" in found:
        raise Unusable(
            "bad_record", f'"options" must be texts in a list or by letter, found {value!r}'[:300]
        )
    return found


def _text(value: Any) -> Any:
    """Numbers are options too."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return str(value) if number else value


def _are_numbers(options: list[Any] | dict[str, Any]) -> bool:
    values = options.values() if isinstance(options, dict) else options
    return not any(isinstance(value, str) for value in values)


def _unlettered(letter: str, text: Any) -> str | None:
    """What stands behind the option's own letter: "A. red", "(a)red", "A、red"; None without."""
    found = _LETTERED.fullmatch(text) if isinstance(text, str) else None
    return found["text"] if found and found["letter"].upper() == letter else None


def _letter(answer: Any, options: Mapping[str, str], numbers: bool) -> str:
    """The letter of the right option, which `answer` names by letter, place from 0, or text.

    numbers: the options are numbers, so that a number is one of them and no place.
    Raises Unusable("bad_answer") where it names none, or several: 1 of the options "1" and "2".
    """
    named = set()
    if isinstance(answer, int | float) and not isinstance(answer, bool):
        if isinstance(answer, int) and answer >= 0 and not numbers:
            named.update(list(options)[answer : answer + 1])
        answer = str(answer)
    if isinstance(answer, str):
        answer = answer.strip()
        for letter, text in options.items():
            whole = text.strip() == _unlettered(letter, answer)
            if whole or answer.strip("().:") == letter or answer in (text.strip(), f"{text}."):
                named.add(letter)
        if not named and (lower := answer.strip("().:").upper()) in options:
            named.add(lower)
    if len(named) != 1:
        raise Unusable(
            "bad_answer", f'"answer" {answer!r} is not one of the options {dict(options)}'[:400]
        )
    return named.pop()
