"""A letter by its place and the signs around it: `extract_mcq_answer` of lmms-eval.

Every capital letter of the options that stands in one of these forms is a candidate. The form that
is highest in the list decides, and of several letters in one form the last:

    the text begins with it, and no letter follows
    the text ends with it, and no letter stands before
    the first A, the first B, … behind the first "the answer is" and the like, however far behind
    (A), then "A.", "A:", "A)", "A " anywhere, also at the end of a word
    anywhere, where none of these was found

So "The answer is B. A is wrong." is A, "Because" is B, and "b" is nothing.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from evaluation.scoring.compat.reasoning import visible

_NAMED = (
    "answer",
    *(f"{how} {what}" for how in ("correct", "best") for what in ("answer", "option")),
)
_CUES = (
    *(f"{the}{what} is" for the in ("", "the ") for what in (*_NAMED, "choice", "correct choice")),
    *("my answer is", "my choice is", "i choose", "i select", "i pick"),
    *("옵션", "정답은", "답은", "답:", "答案是", "答案为", "选", "答えは"),
)
_SIGNS = ("({})", "{}.", "{}:", "{})", "{} ")  # the surest first


def four_letters(said: str, meta: Mapping[str, Any]) -> float:
    """MMStar, Video-MME, MLVU and LVBench: the answer is one of A to D."""
    return float(letter(visible(said), "ABCD") == meta["answer"])


def realworldqa(said: str, meta: Mapping[str, Any]) -> float:
    """Of options as above; what is open must be equal up to case and dots at the end."""
    if meta["answer"].upper() in ("A", "B", "C", "D"):
        return float(letter(visible(said), "ABCD") == meta["answer"].upper())
    return float(visible(said).lower().strip().rstrip(".") == meta["answer"].lower())


def letter(said: str, letters: Sequence[str]) -> str:
    """The letter that is read, "" for none."""
    text = said.strip()
    for sign in ",.!?;:'\"":
        text = text.strip(sign)
    text = f" {text} "
    found = list(_candidates(text, letters))
    if not found:
        found = [(0, text.rfind(each), each) for each in letters if each in text]
    return max(found)[2] if found else ""


def _candidates(text: str, letters: Sequence[str]) -> Iterator[tuple[int, int, str]]:
    """(sureness, place, letter)."""
    for sureness, sign in enumerate(reversed(_SIGNS), start=1):
        for each in letters:
            if (place := text.rfind(sign.format(each))) >= 0:
                yield sureness, place, each
    said = text.lower()
    for cue in _CUES:
        if (start := said.find(cue)) >= 0:
            for each in letters:
                if (place := text.find(each, start + len(cue))) >= 0:
                    yield 6, place, each
    bare = text.strip()
    for each in letters:
        if bare.endswith(each) and not bare[-2:-1].isalpha():
            yield 7, 0, each
        if bare.startswith(each) and not bare[1:2].isalpha():
            yield 8, 0, each
