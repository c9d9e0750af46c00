"""The option letter that an answer states."""

import re
import unicodedata
from collections.abc import Mapping
from typing import Any

from evaluation.scoring.scored import UNPARSED, Scored

_DEFAULT_LETTERS = "ABCDEFGH"  # options of a choice question that does not list its choices

# Words that may follow an option letter in running text. After any other word the "letter" is
# more likely an article ("A man"), a pronoun ("I think") or part of a name ("C major").
_CONNECTIVES = (
    "is|was|are|were|isn't|wasn't|and|or|nor|not|but|because|since|as|for|with|would|could|should"
    "|seems|looks|matches|shows|describes|in|on"
)
_CUE = (
    r"(?:(?:answer|option|choice)(?:\s+(?:is|would\s+be|was))?|(?:choose|pick|select)(?:\s+option)?"
    r"|\b(?:it\s+is|it's)"
    r"|(?:答案|选项)(?:应该是|应是|应为|是|为)?|(?<![不没非])(?<!不[应该能要])选择?)\s*:?\s*"
)
_LEADING_CUE = re.compile(
    r"^(?:so|therefore|thus|hence)?,?\s*(?:the\s+|my\s+)?(?:final\s+|correct\s+|best\s+|right\s+)?"
    r"(?:answer|option|choice)\s*(?:is\s*:?|:|=|would\s+be)\s*"
    r"|^(?:所以|因此|故)?,?\s*(?:最终|正确|最佳)?答案(?:应该是|应是|应为|是|为|(?=\s*:))\s*:?\s*",
    re.IGNORECASE,
)
_DENIED = re.compile(
    r"\s*(?:(?:is|was)\s+(?:not\b|wrong|incorrect|false)|(?:is|was)n't\b|\W*\s*no\b"
    r"|是?(?:错|不))",
    re.I,
)
_CHINESE_STOPS = str.maketrans({"。": ". ", "、": ", "})
_CHINESE_BESIDE_LATIN = re.compile(
    r"(?<=[\u4e00-\u9fff])(?=[A-Za-z])|(?<=[A-Za-z])(?=[\u4e00-\u9fff])"
)


def score_choice(prediction: str, meta: Mapping[str, Any]) -> Scored:
    """meta: "answer" is a letter; "choices", {letter: text}, may be left out."""
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
    return Scored(float(given == answer), True) if given else UNPARSED


def parse_choice(prediction: str, choices: Mapping[str, str], letters: str) -> str | None:
    """The option letter that a prediction states, or None when it is missing or ambiguous.

    choices: {letter: option text}, may be empty. letters: the valid upper-case letters.
    A letter is read where it is stated as the answer ("B", "(B)", "B. left", "The answer is B"),
    or from the exact text of one option. Any other option's letter standing in the text makes
    the answer ambiguous; but behind a letter that has the first line for itself they may be
    discussed, if none of them is stated.
    """
    text = re.sub(r"[*`_\"“”]", "", _spaced(prediction)).strip()
    body = _LEADING_CUE.sub("", text).strip()
    if not body:
        return None
    texts = {letter: _plain(option) for letter, option in choices.items()}

    if alone := _alone(body, letters):
        return alone
    same_text = [letter for letter, option in texts.items() if option == _plain(body)]
    if same_text:
        return same_text[0] if len(same_text) == 1 else None

    head = re.match(rf"[(\[]?([{letters}])(?:[)\].:,;]+|\s*[-–—]|(?=\s))\s*(.+)", body, re.S)
    if head and _plain(head[2]) in texts.values():
        # The letter with the text of an option: theirs must be the same one.
        return head[1] if texts[head[1]] == _plain(head[2]) else None

    first, _, rest = body.partition("\n")
    if rest and (alone := _alone(first, letters)):
        return None if _stated(rest, texts, letters) - {alone} else alone

    mentions = _mentions(body, texts, letters)
    if len({letter for letter, _, _ in mentions}) != 1:
        return None
    for letter, begin, end in mentions:
        if (begin == 0 or _cued(body, begin)) and not _DENIED.match(body[end:]):
            return letter
    return None


def _alone(text: str, letters: str) -> str | None:
    """The letter that is all of a text."""
    found = re.fullmatch(
        rf"\s*[(\[{{]?\s*([{letters}])\s*[)\]}}]?\s*[.:,;!]*\s*", text, re.IGNORECASE
    )
    return found[1].upper() if found else None


def _stated(text: str, texts: Mapping[str, str], letters: str) -> set[str]:
    """The letters that a text states as an answer: behind a cue, or with a line for themselves."""
    lines = {_alone(line, letters) for line in text.splitlines()}
    return {letter for letter in lines if letter} | {
        letter
        for letter, begin, end in _mentions(text, texts, letters)
        if _cued(text, begin) and not _DENIED.match(text[end:])
    }


def _spaced(text: str) -> str:
    """Full-width letters and stops made plain, and Chinese set apart from Latin letters."""
    text = unicodedata.normalize("NFKC", text).translate(_CHINESE_STOPS)
    return _CHINESE_BESIDE_LATIN.sub(" ", text)


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
        followed = re.match(rf"\s+(?:(?:{_CONNECTIVES})\b|是|不|错)", rest, re.I)
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
    text = _spaced(str(text)).casefold()
    return re.sub(r"\s+", " ", text).strip(" .,;:!?'\"()[]*`")
