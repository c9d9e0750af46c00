"""Where the answers stand in a rendered conversation.

A template may strip an answer, move its reasoning, write what it likes around it. So the answers
are rendered with marks in them, characters that no text holds, and the marks are found again in
the text and taken out:

    <|im_start|>assistant\\n<think>\\n«R»reasoning«/R»\\n</think>\\n\\n«A»answer«/A»<|im_end|>\\n
"""

import dataclasses
import re
from collections.abc import Sequence

from input_pipeline.examples import Turn
from input_pipeline.text.sandbox import GENERATION

Span = tuple[int, int]

_ANSWER = ("\ufdd0", "\ufdd1")
_REASONING = ("\ufdd2", "\ufdd3")
# Inside what looks like a control token in a user's text and is none.
GUARD = "\ufdd6"
_PAIRS = (_ANSWER, _REASONING, GENERATION)
MARK = re.compile("([\ufdd0-\ufdd6])")
_PAIRED = re.compile("([\ufdd0-\ufdd5])")
# What a template may write around a missing reasoning.
_NO_REASONING = re.compile(r"(?:\s|</?think>)*")
_OPENING = re.compile(r"(?:<think>\s*)?\Z")
_INLINE = re.compile(r"\A\s*<think>")
_END = "</think>"


class Misplaced(ValueError):
    """Answers that cannot be found, or are not what is marked; the message says which."""


@dataclasses.dataclass(frozen=True)
class Places:
    """Character ranges [start, end) in a text, in its order.

    answers: the words of each answer. reasoning: what it thought before. generation: what the
    template's own {% generation %} blocks rendered.
    """

    answers: tuple[Span, ...]
    reasoning: tuple[Span, ...]
    generation: tuple[Span, ...]


def marked_answer(turn: Turn) -> tuple[str, str]:
    """(content, reasoning) of an answer with marks in them. The marks stand inside the space around
    the words, and reasoning inside the content (<think>…</think> before the words) has its own."""
    content, reasoning = plain(turn)
    head, tag, words = content.rpartition(_END)
    if tag and (opening := _INLINE.match(head)):
        at = opening.end()
        content = head[:at] + _marked(head[at:], _REASONING) + tag + _marked(words, _ANSWER)
    else:
        content = _marked(content, _ANSWER)
    return content, reasoning and _marked(reasoning, _REASONING)


def plain(turn: Turn) -> tuple[str, str]:
    """(content, reasoning) of an answer."""
    return "".join(part for part in turn.parts if isinstance(part, str)), turn.reasoning


def unmarked(marked: str) -> str:
    """The text without any marks."""
    return _PAIRED.sub("", marked)


def behind_last(marked: str) -> str:
    """What is written behind the last answer."""
    return unmarked(marked.rpartition(_ANSWER[1])[2])


def close(marked: str, end: str) -> str:
    """Writes `end` behind every answer, in place of the space there."""
    answer, generation = _ANSWER[1], GENERATION[1]
    return re.sub(
        rf"{answer}[\s{generation}]*",
        lambda found: answer + end + generation * found[0].count(generation),
        marked,
    )


def without_marks(marked: str) -> tuple[str, Places]:
    """The text, and where the marks stood in it. Raises Misplaced where one is without the other
    of its pair: the template has cut a text."""
    pieces = _PAIRED.split(marked)
    found: dict[tuple[str, str], list[int]] = {pair: [] for pair in _PAIRS}
    at = 0
    for text, mark in zip(pieces[0::2], [*pieces[1::2], ""], strict=True):
        at += len(text)
        for pair in _PAIRS:
            if mark in pair:
                if pair[len(found[pair]) % 2] != mark:
                    raise Misplaced("cuts an answer, or writes it inside of another")
                found[pair].append(at)
    spans = []
    for pair in _PAIRS:
        if len(found[pair]) % 2:
            raise Misplaced("cuts an answer")
        spans.append(tuple(zip(found[pair][0::2], found[pair][1::2], strict=True)))
    return "".join(pieces[0::2]), Places(*spans)


def taught_spans(
    text: str,
    places: Places,
    turns: Sequence[Turn],
    end: re.Pattern[str],
    prompt: str,
    has_generation: bool,
) -> list[Span]:
    """What of a rendered conversation the model is to generate, a range for each answer: its words
    (after its reasoning, where the template renders that) and the token that ends it.

    end: the token that ends an answer, and the space before it. prompt: the template's generation
    prompt. has_generation: the template has {% generation %} blocks; they must then mark every
    answer, and nothing else but its reasoning and end.

    Raises Misplaced.
    """
    answers = [turn for turn in turns if turn.role == "assistant"]
    if len(places.answers) != len(answers):
        raise Misplaced(f"renders {len(places.answers)} answers of {len(answers)}")
    spans: list[Span] = []
    for turn, (first, last) in zip(answers, places.answers, strict=True):
        words = _words(turn)
        if text[first:last] != words:
            raise Misplaced(f"renders the answer {words[:60]!r} as {text[first:last][:60]!r}")
        closing = end.match(text, last)
        if closing is None:
            raise Misplaced(
                f"does not close an answer: behind {words[-30:]!r} stands "
                f"{text[last : last + 30]!r}"
            )
        before = spans[-1][1] if spans else 0
        thoughts = [span for span in places.reasoning if before <= span[0] and span[1] <= first]
        if has_generation:
            start = _marked_start(text, places, (first, last), closing.end(), bool(thoughts))
        elif thoughts:
            start = _opened(text, before, thoughts[0][0], prompt)
        else:
            start = first
        begun = _prompt_end(text, before, start, prompt)
        spans.append((start if begun is None else begun, closing.end()))
    if has_generation:
        _check_no_more(text, places)
    thought = places.reasoning[-1][0] if places.reasoning else -1
    if answers and _reasons(answers[-1]) and thought < spans[-1][0]:
        raise Misplaced(
            "leaves out the reasoning of the last answer; "
            'config.data.reasoning = "drop" trains without any'
        )
    return spans


def _marked(text: str, pair: tuple[str, str]) -> str:
    words = text.strip()
    at = len(text) - len(text.lstrip()) if words else 0
    return f"{text[:at]}{pair[0]}{words}{pair[1]}{text[at + len(words) :]}"


def _words(turn: Turn) -> str:
    content, _ = marked_answer(turn)
    return content.partition(_ANSWER[0])[2].partition(_ANSWER[1])[0]


def _reasons(turn: Turn) -> bool:
    return _REASONING[0] in "".join(marked_answer(turn))


def _prompt_end(text: str, before: int, start: int, prompt: str) -> int | None:
    """Where the generation prompt ends, if only space lies between it and `start`: a model begins
    there, maybe with a token that holds this space."""
    at = text.rfind(prompt, before, start) if prompt else -1
    end = at + len(prompt)
    return end if at >= 0 and not text[end:start].strip() else None


def _opened(text: str, before: int, thought: int, prompt: str) -> int:
    """Where the tag that opens a thought stands, unless the generation prompt ends with it."""
    if _prompt_end(text, before, thought, prompt) is not None:
        return thought
    opening = _OPENING.search(text, before, thought)
    return opening.start() if opening else thought


def _marked_start(text: str, places: Places, words: Span, end: int, reasoned: bool) -> int:
    """Where the {% generation %} block around an answer begins, the space there left out."""
    first, last = words
    for start, stop in places.generation:
        if start <= first and last <= stop:
            break
    else:
        raise Misplaced(
            f"leaves the answer {text[first:last][:60]!r} out of its {{% generation %}} blocks"
        )
    start += len(text[start:first]) - len(text[start:first].lstrip())
    if not reasoned and not _NO_REASONING.fullmatch(text, start, first):
        raise Misplaced(
            f"marks {text[start:first][-60:]!r} before an answer with {{% generation %}}"
        )
    if text[end:stop].strip():
        raise Misplaced(f"marks {text[end:stop][:60]!r} behind an answer with {{% generation %}}")
    return start


def _check_no_more(text: str, places: Places) -> None:
    for start, stop in places.generation:
        answers = [span for span in places.answers if start <= span[0] and span[1] <= stop]
        if len(answers) != 1 and text[start:stop].strip():
            raise Misplaced(
                f"marks {text[start:stop][:60]!r} with {{% generation %}}, {len(answers)} answers"
            )
