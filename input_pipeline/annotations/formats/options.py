"""Options of a question, as data sets spell them, and the answer that names one of them.

A list, an object by letter or any other name, or a text that holds a list or a line for each. An
option may begin with its letter: "A. red", "(A)red", "a) red", "A: red", "A、红".
"""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

from input_pipeline.annotations.nested import from_text
from input_pipeline.annotations.rejected import Unusable

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_LETTERED = re.compile(
    r"\s*[(\[（]?(?P<letter>[A-Za-z])[)\]）.:、．：,，]+\s*(?P<text>.+)", re.DOTALL
)
_NEXT = re.compile(r"\s+(?=[(\[（]?[A-Z][)\]）.:、．：])")  # before an option on the same line
_SAID = {True: ("true", "yes"), False: ("false", "no")}  # by a boolean answer
# Of a key for one option: "A", "a0", "option_b", "choice 1".
_ONE = re.compile(
    r"(?P<stem>a(?=\d)|(?:opt|option|choice|candidate)[ _-]?|)(?P<mark>[A-Z]|\d)", re.IGNORECASE
)
_FIRST = (("A", "B"), ("0", "1"), ("1", "2"))
_ALL = re.compile(
    r"(?:.*[ _-])?(?:options?|choices?|candidates?)(?:[ _-](?:list|texts?))?", re.IGNORECASE
)


@dataclasses.dataclass(frozen=True)
class Options:
    """texts: by letter. names: letters by what the data set calls the options, where that is no
    letter. numbers: they are numbers, so that a number is one of them and no place."""

    texts: Mapping[str, str]
    names: Mapping[str, str]
    numbers: bool


def read_options(value: Any) -> Options | None:
    """The options that a record lists; None without. Raises Unusable("bad_record")."""
    listed = _from_lines(value) if isinstance(value, str) else value
    if listed is None or listed in ("", [], {}):
        return None
    names: dict[str, str] = {}
    if isinstance(listed, dict):
        given = {str(key).strip(): text for key, text in listed.items() if text is not None}
        if not all(re.fullmatch("[A-Za-z]", key) for key in given):
            names = dict(zip(given, LETTERS))  # noqa: B905 (there may be fewer options)
        texts = {names.get(key, key.upper()): _text(text) for key, text in given.items()}
        values = list(given.values())
        readable = len(given) <= len(LETTERS)
    elif isinstance(listed, list):
        values, readable = listed, len(listed) <= len(LETTERS)
        written = [_text(text) for text in values]
        bare = [unlettered(letter, text) for letter, text in zip(LETTERS, written)]  # noqa: B905
        # Where each begins with its letter, and not one by chance: "A. Smith" among other names.
        texts = dict(zip(LETTERS, written if None in bare else bare))  # noqa: B905
    else:
        texts, values, readable = {}, [], False
    if not readable or not all(isinstance(t, str) and t.strip() for t in texts.values()):
        raise Unusable(
            "bad_record",
            f'"options" must be texts in a list, by letter or a line each, found {value!r}'[:300],
        )
    return Options(texts, names, not any(isinstance(value, str) for value in values))


def right_letter(answer: Any, options: Options) -> str:
    """The letter of the right option, which `answer` names by letter, text, name or place from 0.

    Raises Unusable("bad_answer") where it names none, or several: 1 of the options "1" and "2".
    """
    found = _named(answer, options)
    if len(found) != 1:
        detail = f'"answer" {answer!r} is not one of the options {dict(options.texts)}'
        raise Unusable("bad_answer", detail[:400])
    return found.pop()


def letter_at(place: Any, options: Options) -> str:
    """The letter of the option at a place from 0. Raises Unusable("bad_answer") where none is."""
    letters = list(options.texts)
    number = int(place) if re.fullmatch(r"\d{1,2}", str(place)) else len(letters)
    if isinstance(place, bool) or number >= len(letters):
        detail = f'"answer_place" {place!r} is no place of the options {dict(options.texts)}'
        raise Unusable("bad_answer", detail[:400])
    return letters[number]


def unread_options(record: Mapping[str, Any]) -> Sequence[str]:
    """Keys under which a record whose options were not found seems to have them: "a0", "a1", …, or
    "mc_options". None where its question has their texts in it."""
    question = str(record.get("question"))
    stems: dict[str, dict[str, str]] = {}
    for key, value in record.items():
        texts = list(value.values()) if isinstance(value, dict) else value
        if isinstance(texts, list) and len(texts) > 1 and _ALL.fullmatch(key):
            if not all(str(text) in question for text in texts):
                return [key]
        elif (one := _ONE.fullmatch(key)) and isinstance(value, str | int | float):
            stems.setdefault(one["stem"], {})[one["mark"].upper()] = key
    for keys in stems.values():
        first = next((pair for pair in _FIRST if keys.keys() >= set(pair)), None)
        if first and not all(str(record[key]) in question for key in keys.values()):
            return list(keys.values())
    return []


def _named(answer: Any, options: Options) -> set[str]:
    """The options that an answer may mean."""
    texts, letters = options.texts, list(options.texts)
    if isinstance(answer, bool):
        said = {str(answer).lower(), *_SAID[answer]}
        return {letter for letter, text in texts.items() if text.strip(" .").lower() in said}
    place: set[str] = set()
    if isinstance(answer, int) and answer >= 0 and not options.numbers:
        place = set(letters[answer : answer + 1])
    if isinstance(answer, int | float):
        answer = str(answer)
    if not isinstance(answer, str):
        return set()
    answer = answer.strip()
    bare = answer.strip("().:[]（）")
    exact = {
        letter
        for letter, text in texts.items()
        if text.strip() == unlettered(letter, answer)
        or bare == letter
        or answer in (text.strip(), f"{text}.")
    }
    named = {letter for name, letter in options.names.items() if name == answer}
    if found := exact | (named or place):
        return found
    if bare.upper() in texts:
        return {bare.upper()}
    if found := {letter for letter, text in texts.items() if _same(text, answer)}:
        return found
    # A file of texts alone, such as CSV, writes a place so.
    return set(letters[int(bare) : int(bare) + 1]) if re.fullmatch(r"\d{1,2}", bare) else set()


def _same(text: str, answer: str) -> bool:
    return text.strip(" .").casefold() == answer.strip(" .").casefold()


def unlettered(letter: str, text: Any) -> str | None:
    """What stands behind the option's own letter: "A. red", "(a)red", "A、red"; None without."""
    found = _LETTERED.fullmatch(text) if isinstance(text, str) else None
    return found["text"] if found and found["letter"].upper() == letter else None


def _text(value: Any) -> Any:
    """Numbers and booleans are options too."""
    if isinstance(value, bool | int | float):
        return str(value)
    return value.strip() if isinstance(value, str) else value


def _from_lines(text: str) -> Any:
    """Options in one text: a list or object, a line each, or each behind its letter."""
    found = from_text(text)
    if not isinstance(found, str):
        return found
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) == 1:
        lines = [piece.strip() for piece in _NEXT.split(lines[0])]
        if any(unlettered(*pair) is None for pair in zip(LETTERS, lines)):  # noqa: B905
            return text  # is named in the error
    return lines if len(lines) != 1 else text
