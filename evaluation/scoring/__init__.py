"""Strict scorers: one place that decides whether a model's answer is right.

An answer counts as given only if it can be read in one way. There is no fall-back guess, no
judge, no state: the same prediction always gets the same score. An answer that cannot be read is
wrong and reported as unparsed, so that "does not know" and "does not follow the format" can be
told apart.

final.py     the part of an output that is the answer: behind thoughts, inside tags
choice.py    a letter among options
yes_no.py    yes or no
text.py      words: short answers, captions, several people's answers, text read in a picture
measures.py  a number, a stretch of time
"""

from collections.abc import Callable, Mapping
from typing import Any

from evaluation.scoring.choice import parse_choice, score_choice
from evaluation.scoring.final import final_answer
from evaluation.scoring.measures import parse_interval, score_interval, score_number
from evaluation.scoring.scored import Scored
from evaluation.scoring.text import (
    normalise,
    score_caption,
    score_consensus,
    score_contains,
    score_short,
)
from evaluation.scoring.yes_no import parse_yes_no, score_yes_no

__all__ = [
    "FORMATS",
    "Scored",
    "final_answer",
    "normalise",
    "parse_choice",
    "parse_interval",
    "parse_yes_no",
    "score",
]

_SCORERS: dict[str, Callable[[str, Mapping[str, Any]], Scored]] = {
    "choice": score_choice,
    "yes_no": score_yes_no,
    "short": score_short,
    "caption": score_caption,
    "consensus": score_consensus,
    "contains": score_contains,
    "number": score_number,
    "interval": score_interval,
}
FORMATS = tuple(_SCORERS)


def score(format: str, prediction: str, meta: Mapping[str, Any]) -> Scored:
    """Scores one prediction, of which `final_answer` is read.

    format: one of FORMATS. meta: the example's meta; what each format needs of it, its scorer says.
    Raises ValueError for an unknown format or a meta that cannot be scored against.
    """
    if format not in _SCORERS:
        raise ValueError(f"answer format {format!r}: expected one of {', '.join(FORMATS)}")
    return _SCORERS[format](final_answer(prediction), meta)
