"""Strict scorers: one place that decides whether a model's answer is right.

An answer counts as given only if it can be read in one way. There is no fall-back guess, no
judge, no state: the same prediction always gets the same score. An answer that cannot be read is
wrong and reported as unparsed, so that "does not know" and "does not follow the format" can be
told apart.
"""

import dataclasses
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

FORMATS = ("choice", "yes_no", "short", "caption")

_DEFAULT_LETTERS = "ABCDEFGH"  # options of a choice question that does not list its choices

# Words that may follow an option letter in running text. After any other word the "letter" is
# more likely an article ("A man"), a pronoun ("I think") or part of a name ("C major").
_CONNECTIVES = (
    "is|was|are|were|isn't|wasn't|and|or|nor|not|but|because|since|as|for|with|would|could|should"
    "|seems|looks|matches|shows|describes|in|on"
)
_CUE = (
    r"(?:(?:answer|option|choice)(?:\s+(?:is|would\s+be|was))?|(?:choose|pick|select)(?:\s+option)?"
    r"|\b(?:it\s+is|it's))\s*:?\s*"
)
_LEADING_CUE = re.compile(
    r"^(?:so|therefore|thus|hence)?,?\s*(?:the\s+|my\s+)?(?:final\s+|correct\s+|best\s+|right\s+)?"
    r"(?:answer|option|choice)\s*(?:is\s*:?|:|=|would\s+be)\s*",
    re.IGNORECASE,
)
_DENIED = re.compile(
    r"\s*(?:(?:is|was)\s+(?:not\b|wrong|incorrect|false)|(?:is|was)n't\b|\W*\s*no\b)", re.I
)

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


@dataclasses.dataclass(frozen=True)
class Scored:
    """score: 0..1. parsed: the prediction could be read as an answer of the asked format."""

    score: float
    parsed: bool


_UNPARSED = Scored(0.0, False)


def score(format: str, prediction: str, meta: Mapping[str, Any]) -> Scored:
    """Scores one prediction.

    format: "choice", "yes_no", "short" or "caption".
    meta:   the example's meta. choice: "answer" is a letter, optional "choices" {letter: text};
            yes_no: "answer" is yes or no; short: "answer" is the text; caption: "slots", the
            phrases that the caption must contain.
    Raises ValueError for an unknown format or a meta that cannot be scored against.
    """
    if format == "choice":
        return _score_choice(prediction, meta)
    if format == "yes_no":
        return _score_yes_no(prediction, meta)
    if format == "short":
        return _score_short(prediction, meta)
    if format == "caption":
        return _score_caption(prediction, meta)
    raise ValueError(f"answer format {format!r}: expected one of {', '.join(FORMATS)}")


# --- choice --------------------------------------------------------------------------------------


def _score_choice(prediction: str, meta: Mapping[str, Any]) -> Scored:
    choices = meta.get("choices") or {}
    if not isinstance(choices, Mapping) or not all(re.fullmatch("[A-Z]", key) for key in choices):
        raise ValueError(f"meta.choices: expected {{capital letter: text}}, got {choices!r}")
    letters = "".join(choices) if choices else _DEFAULT_LETTERS
    answer = str(meta.get("answer", "")).strip().strip("().").upper()
    if len(answer) != 1 or answer not in letters:
        raise ValueError(
            f"meta.answer: {meta.get('answer')!r} is not one of the option letters {letters}"
        )
    given = parse_choice(prediction, choices, letters)
    return Scored(float(given == answer), True) if given else _UNPARSED


def parse_choice(prediction: str, choices: Mapping[str, str], letters: str) -> str | None:
    """The option letter that a prediction states, or None when it is missing or ambiguous.

    choices: {letter: option text}, may be empty. letters: the valid upper-case letters.
    A letter is read where it is stated as the answer ("B", "(B)", "B. left", "The answer is B"),
    or from the exact text of one option. Any other option's letter standing in the text makes
    the answer ambiguous.
    """
    text = re.sub(r"[*`_\"“”]", "", unicodedata.normalize("NFKC", prediction)).strip()
    body = _LEADING_CUE.sub("", text).strip()
    if not body:
        return None
    texts = {letter: _plain(option) for letter, option in choices.items()}

    alone = re.fullmatch(rf"[(\[{{]?\s*([{letters}])\s*[)\]}}]?\s*[.:,;!]*", body, re.IGNORECASE)
    if alone:
        return alone[1].upper()
    same_text = [letter for letter, option in texts.items() if option == _plain(body)]
    if same_text:
        return same_text[0] if len(same_text) == 1 else None

    head = re.match(rf"[(\[]?([{letters}])(?:[)\].:,;]+|\s*[-–—]|(?=\s))\s*(.+)", body, re.S)
    if head and _plain(head[2]) in texts.values():
        # The letter with the text of an option: theirs must be the same one.
        return head[1] if texts[head[1]] == _plain(head[2]) else None

    mentions = _mentions(body, texts, letters)
    if len({letter for letter, _, _ in mentions}) != 1:
        return None
    for letter, begin, end in mentions:
        if (begin == 0 or _cued(body, begin)) and not _DENIED.match(body[end:]):
            return letter
    return None


def _cued(body: str, begin: int) -> bool:
    """Whether a cue such as "answer:" or "option" stands right before position `begin`."""
    return bool(re.search(_CUE + r"[(\[]?$", body[max(0, begin - 40) : begin], re.IGNORECASE))


def _mentions(body: str, texts: Mapping[str, str], letters: str) -> list[tuple[str, int, int]]:
    """(letter, begin, end) of every place where an option letter stands as a letter."""
    found = []
    for match in re.finditer(rf"(?<![\w'’.\-])[(\[]?\s?([{letters}])(?![\w'’])", body, re.I):
        letter, rest = match[1], body[match.end(1) :]
        bracketed = match[0][0] in "([" and rest[:1] in (")", "]")
        marked = re.match(r"[.):\]](?:\s|$)", rest) and (match.start() == 0 or letter.isupper())
        closed = re.match(r"\s*(?:$|[,;!?/&\n]|[.](?:\s|$)|[-–—]\s)", rest)
        followed = re.match(rf"\s+(?:{_CONNECTIVES})\b", rest, re.I)
        own_text = texts.get(letter.upper()) and _plain(rest).startswith(texts[letter.upper()])
        cued = _cued(body, match.start(1))
        upper_like = letter.isupper() and (closed or followed or own_text)
        if bracketed or marked or upper_like or (cued and closed):
            end = match.end(1) + (1 if bracketed else 0)
            begin = match.start(1) if match[0][0].isspace() else match.start()
            found.append((letter.upper(), begin, end))
    return found


def _plain(text: str) -> str:
    """Case, outer punctuation and spacing removed: for comparing with an option's text."""
    text = unicodedata.normalize("NFKC", str(text)).casefold()
    return re.sub(r"\s+", " ", text).strip(" .,;:!?'\"()[]*`")


# --- yes_no --------------------------------------------------------------------------------------


def _score_yes_no(prediction: str, meta: Mapping[str, Any]) -> Scored:
    answer = str(meta.get("answer", "")).strip().casefold()
    if answer not in ("yes", "no"):
        raise ValueError(f"meta.answer: {meta.get('answer')!r} is neither yes nor no")
    given = parse_yes_no(prediction)
    return Scored(float(given == answer), True) if given else _UNPARSED


def parse_yes_no(prediction: str) -> str | None:
    """ "yes" or "no" where exactly one of them is stated, else None.

    A leading yes/no decides ("Yes, there are no dogs"), unless the other one stands alone later
    ("Yes. Actually, no."). Otherwise the only one of the two words in the text decides.
    "Not sure", "yesterday" and "no idea" state neither.
    """
    text = unicodedata.normalize("NFKC", prediction).casefold()
    text = re.sub(r"[*`_\"“”]", "", text).strip()
    text = re.sub(r"\bno (?:idea|clue|answer|information|way to)\b", " ", text)
    words = [
        (match[1], bool(re.match(r"\s+\w", text[match.end() :])))
        for match in re.finditer(r"(?<![\w'’\-])(yes|no)(?![\w'’\-])", text)
    ]
    if not words:
        return None
    leading = re.match(r"\W*(yes|no)(?![\w'’\-])", text)
    if leading:
        # "no" before a word may be a determiner ("no dogs"); "yes" never is.
        other = [
            w for w, before_word in words if w != leading[1] and not (w == "no" and before_word)
        ]
        return None if other else leading[1]
    return words[0][0] if len({word for word, _ in words}) == 1 else None


# --- short and caption ---------------------------------------------------------------------------


def _score_short(prediction: str, meta: Mapping[str, Any]) -> Scored:
    answer = normalise(str(meta.get("answer", "")))
    if not answer:
        raise ValueError(f"meta.answer: {meta.get('answer')!r} is empty")
    given = normalise(prediction)
    return Scored(float(given == answer), True) if given else _UNPARSED


def _score_caption(prediction: str, meta: Mapping[str, Any]) -> Scored:
    slots = meta.get("slots")
    if isinstance(slots, str) or not isinstance(slots, Sequence) or not slots:
        raise ValueError(f"meta.slots: expected a non-empty list of phrases, got {slots!r}")
    phrases = Counter(normalise(str(slot)) for slot in slots)
    if "" in phrases:
        raise ValueError(f"meta.slots: an empty phrase in {slots!r}")
    caption = normalise(prediction)
    if not caption:
        return _UNPARSED
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
