"""Plain questions: {"question": …, "answer": …, "options": […], "image" or "video": …}.

Without tags in the question its media come before it. With options the question ends with one line
for each, "A. red", and with the request for a letter, and the letter is the answer that is taught.
"""

from collections.abc import Mapping
from typing import Any

from input_pipeline.annotations.formats.parsed import Parsed, record_media
from input_pipeline.annotations.rejected import Unusable

WANTED = '"question": …, "answer": …'
ASK_LETTER = "Answer with the option's letter."
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


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
        letter = _letter(answer, options)
        lines = [f"{key}. {text}" for key, text in options.items()]
        question = "\n".join([question.strip(), *lines, ASK_LETTER])
        meta = {"format": "choice", "choices": options, "answer": letter}
        answer = letter
    elif isinstance(answer, int | float) and not isinstance(answer, bool):
        answer = str(answer)
    if not isinstance(answer, str):
        raise Unusable("empty_answer", f'"answer" must be a text, found {answer!r}'[:300])
    media, used = record_media(record)
    pieces: list = [question]
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
        found = {key: text for key, text in value.items() if text is not None}
    elif isinstance(value, list) and len(value) <= len(_LETTERS):
        found = {letter: _unlettered(letter, text) for letter, text in zip(_LETTERS, value)}  # noqa: B905
    else:
        found = {"": value}
    if not all(isinstance(text, str) and text.strip() for text in found.values()) or "" in found:
        raise Unusable(
            "bad_record", f'"options" must be texts in a list or by letter, found {value!r}'[:300]
        )
    return found


def _unlettered(letter: str, text: Any) -> Any:
    """The option without a letter that it already begins with: "A. red", "(A) red"."""
    if isinstance(text, str):
        for start in (f"{letter}. ", f"({letter}) ", f"{letter}) ", f"{letter}: "):
            text = text.removeprefix(start)
    return text


def _letter(answer: Any, options: Mapping[str, str]) -> str:
    """The letter of the right option, which `answer` names by letter, place from 0, or text.

    Raises Unusable("bad_answer") where it names none, or several: 1 of the options "1" and "2".
    """
    named = set()
    if isinstance(answer, int) and not isinstance(answer, bool):
        named.update(list(options)[answer : answer + 1] if answer >= 0 else ())
        answer = str(answer)
    if isinstance(answer, str):
        answer = answer.strip()
        for letter, text in options.items():
            whole = (f"{letter}. {text}", f"({letter}) {text}")
            if answer.strip("().:") == letter or answer in (text.strip(), *whole):
                named.add(letter)
    if len(named) != 1:
        raise Unusable(
            "bad_answer", f'"answer" {answer!r} is not one of the options {dict(options)}'[:400]
        )
    return named.pop()
