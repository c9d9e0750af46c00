"""What the user can put right: the base of every such error, and the nearest known name."""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Something the user gave cannot be used: a flag, a config value, a path, a file's content.

    The message says in one to five lines what, its value and where to change it. It is shown
    without a traceback; any other exception is a fault of the program.
    """


_NEAR = 0.6  # of 1, difflib's own bound


def did_you_mean(word: str, known: Iterable[str], before: str = "") -> str:
    """What to add to a message about a misspelt word: "; did you mean train.steps?", or "".

    Dotted names are also compared by their last part: steps is near train.steps. before: is shown
    right before the name, such as "--".
    """
    best = max(known, key=lambda name: _likeness(word, name), default="")
    return f"; did you mean {before}{best}?" if _likeness(word, best) >= _NEAR else ""


def _likeness(word: str, name: str) -> float:
    def ratio(one: str, other: str) -> float:
        return difflib.SequenceMatcher(None, one.lower(), other.lower()).ratio()

    last = ratio(word.rpartition(".")[2], name.rpartition(".")[2])
    return max(ratio(word, name), 0.9 * last)
