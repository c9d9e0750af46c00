"""Answers in words: short ones, captions, what several people said, what was read in a picture."""

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from evaluation.scoring.scored import UNPARSED, Scored

# fmt: off
_NUMBER_WORDS = {
    "zero": 0, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7,
    "eight": 8, "nine": 9, "ten": 10, "eleven": 11, "twelve": 12, "thirteen": 13, "fourteen": 14,
    "fifteen": 15, "sixteen": 16, "seventeen": 17, "eighteen": 18, "nineteen": 19,
}
_TENS = {
    "twenty": 20, "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70,
    "eighty": 80, "ninety": 90,
}
# fmt: on


def score_short(prediction: str, meta: Mapping[str, Any]) -> Scored:
    """Right where it equals the answer, up to `normalise`.

    meta: "answer"; "answers", all that are right, may be given beside it.
    """
    right = {normalise(text) for text in _answers(meta, required=False)}
    answer = normalise(str(meta.get("answer", "")))
    if not answer:
        raise ValueError(f"meta.answer: {meta.get('answer')!r} is empty")
    given = normalise(prediction)
    return Scored(float(given in right | {answer}), True) if given else UNPARSED


def score_consensus(prediction: str, meta: Mapping[str, Any]) -> Scored:
    """VQA accuracy (arXiv 1505.00468): the mean over ten people of min(1, others who said it / 3).

    meta: "answers", what each person said. Equal is equal up to `normalise`.
    """
    said = [normalise(text) for text in _answers(meta)]
    given = normalise(prediction)
    if not given:
        return UNPARSED
    same = said.count(given)
    # Leaving out one who said it leaves same - 1 of them, leaving out another leaves all.
    score = same * min(1, (same - 1) / 3) + (len(said) - same) * min(1, same / 3)
    return Scored(score / len(said), True)


def score_contains(prediction: str, meta: Mapping[str, Any]) -> Scored:
    """Right where one of the answers stands in what was said, not as part of a longer word or
    number: "12" is not in "120".

    meta: "answers"; "ignore_spaces": case counts and spaces do not, for formulas.
    """
    answers = _answers(meta)
    given = _read(prediction, meta)
    if not given:
        return UNPARSED
    wanted = [read for text in answers if (read := _read(text, meta))]
    return Scored(float(any(_stands_in(text, given) for text in wanted)), True)


def score_caption(prediction: str, meta: Mapping[str, Any]) -> Scored:
    """The share of the phrases that it contains. meta: "slots", the phrases."""
    slots = meta.get("slots")
    if isinstance(slots, str) or not isinstance(slots, Sequence) or not slots:
        raise ValueError(f"meta.slots: expected a non-empty list of phrases, got {slots!r}")
    phrases = Counter(normalise(str(slot)) for slot in slots)
    if "" in phrases:
        raise ValueError(f"meta.slots: an empty phrase in {slots!r}")
    caption = normalise(prediction)
    if not caption:
        return UNPARSED
    # A phrase that is asked for twice (two red things) must be said twice.
    found = sum(
        min(count, len(re.findall(rf"(?<!\S){re.escape(phrase)}(?!\S)", caption)))
        for phrase, count in phrases.items()
    )
    return Scored(found / len(slots), True)


def normalise(text: str) -> str:
    """Case, articles, sentence punctuation, spacing and number words made equal.

    "The Three dogs." → "3 dogs"; "1,000" → "1000"; "twenty-one" → "21"; "-3.50" → "-3.5".
    A text of articles only is kept as it is.
    """
    text = unicodedata.normalize("NFKC", text).casefold()
    text = re.sub(r"['’](?=s\b)", " ", text).replace("’", "'").replace("'", "")
    text = re.sub(r"(?<=\d),(?=\d{3}\b)", "", text)
    text = re.sub(r"(?<=[^\W\d_])[-–—](?=[^\W\d_])", " ", text)  # not the minus of a number
    text = re.sub(r"[!?;:,\"“”()\[\]{}*`_]|\.(?!\d)", " ", text)
    text = re.sub(r"\s+%", "%", text)
    words: list[str] = []
    for word in text.split():
        if re.fullmatch(r"-?\d*\.\d+", word):
            word = f"{float(word):g}"
        value = _NUMBER_WORDS.get(word, _TENS.get(word))
        if value is not None and value in range(1, 10) and words and words[-1] in _TENS:
            words[-1] = str(_TENS[words[-1]] + value)
        else:
            words.append(word)
    digits = [str(_NUMBER_WORDS.get(word, _TENS.get(word, word))) for word in words]
    return " ".join([word for word in digits if word not in ("a", "an", "the")] or digits)


def _answers(meta: Mapping[str, Any], required: bool = True) -> list[str]:
    answers = meta.get("answers")
    if answers is None and not required:
        return []
    if isinstance(answers, str) or not isinstance(answers, Sequence) or not answers:
        raise ValueError(f"meta.answers: expected a non-empty list of texts, got {answers!r}")
    if not all(isinstance(text, str) for text in answers) or not any(map(str.strip, answers)):
        raise ValueError(f"meta.answers: expected texts that are not empty, got {answers!r}")
    return list(answers)


def _read(text: str, meta: Mapping[str, Any]) -> str:
    text = " ".join(unicodedata.normalize("NFKC", text).split())
    return text.replace(" ", "") if meta.get("ignore_spaces") else text.casefold()


def _stands_in(answer: str, text: str) -> bool:
    # Only letters and digits that are written with spaces between words have words to be part of.
    before = r"(?<![A-Za-z0-9])" if re.match(r"[A-Za-z0-9]", answer) else ""
    behind = r"(?![A-Za-z0-9])" if re.search(r"[A-Za-z0-9]$", answer) else ""
    return re.search(before + re.escape(answer) + behind, text) is not None
