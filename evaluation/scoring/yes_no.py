"""Whether an answer says yes or no."""

import re
import unicodedata
from collections.abc import Mapping
from typing import Any

from evaluation.scoring.scored import UNPARSED, Scored


def score_yes_no(prediction: str, meta: Mapping[str, Any]) -> Scored:
    """meta: "answer" is yes or no."""
    answer = str(meta.get("answer", "")).strip().casefold()
    if answer not in ("yes", "no"):
        raise ValueError(f"meta.answer: {meta.get('answer')!r} is neither yes nor no")
    given = parse_yes_no(prediction)
    return Scored(float(given == answer), True) if given else UNPARSED


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
