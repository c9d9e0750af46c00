"""Which part of what a model wrote is its answer.

1. What stands before the last </think> was thought. A <think> without its end leaves no answer.
2. Where there is an <answer>…</answer>, its inside; where there is a \\boxed{…}, the inside of
   that. Several that differ leave no answer; one that is cut off counts as far as it goes.
3. Else all that is left.
"""

import re

_THOUGHT = re.compile(r"</?think(?:ing)?>", re.IGNORECASE)
_ANSWER = re.compile(r"<answer>(.*?)(?:</answer>|<answer>|\Z)", re.IGNORECASE | re.DOTALL)
_ANSWER_END = re.compile(r"</answer>", re.IGNORECASE)
_BOXED = re.compile(r"\\boxed\s*\{")
_STYLED = re.compile(r"\\(?:text|textbf|mathrm|mathbf)\s*\{([^{}]*)\}")


def final_answer(text: str) -> str:
    """The part of an output that is read; "" where there is none."""
    thoughts = list(_THOUGHT.finditer(text))
    if thoughts:
        if not thoughts[-1][0].startswith("</"):
            return ""
        text = text[thoughts[-1].end() :]
    text = _only(_tagged(text), text)
    return _only(_boxed(text), text)


def _only(found: list[str], text: str) -> str:
    """What was found, if it is one thing; the text where nothing was."""
    said = {" ".join(piece.split()): piece for piece in found}
    if len(said) > 1:
        return ""
    return next(iter(said.values()), text)


def _tagged(text: str) -> list[str]:
    inside = _ANSWER.findall(text)
    if not inside and (end := _ANSWER_END.search(text)):
        return [text[: end.start()]]  # the prompt had begun it
    return inside


def _boxed(text: str) -> list[str]:
    found = []
    for match in _BOXED.finditer(text):
        depth, end = 1, match.end()
        while depth and end < len(text):
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            end += 1
        found.append(_STYLED.sub(r"\1", text[match.end() : end - (depth == 0)]))
    return found
