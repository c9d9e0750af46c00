"""Conversations to text, through the checkpoint's Jinja template, as Hugging Face renders it."""

import functools
import itertools
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jinja2

from input_pipeline.errors import UserError
from input_pipeline.examples import Example, MediaRef, Turn
from input_pipeline.text import answers, blind, sandbox
from input_pipeline.text.trial import fault_of

# Of a turn without its texts: its role, and what is said in it, kinds of media and _TEXT.
_Shape = tuple[str, tuple[str, ...]]
_TEXT = "text"
_REMEMBERED_SHAPES = 1024

# Text to look for where the template rendered a medium, and text to put there; None: leave it.
Replacement = tuple[str, str] | None

# What a template is tried on.
_PROBE = (
    Turn("user", ("What is it?",)),
    Turn("assistant", ("A ball.",)),
    Turn("user", ("And then?",)),
    Turn("assistant", ("It rolls away.",)),
)


class ChatError(UserError, ValueError):
    """A conversation that the template or the tokenizer cannot represent faithfully."""


class Rendered(NamedTuple):
    """A conversation as text. taught: the ranges [start, end) that the model is to generate.

    An `answers.GUARD` in the text is no part of it: it parts the characters of what a user wrote
    and the tokenizer would take for a control token.
    """

    text: str
    taught: Sequence[answers.Span] = ()


class ChatTemplate:
    """Renders turns of an example as text; safe to share between threads.

    generation_prompt: what the template writes to let an answer begin.
    """

    def __init__(
        self,
        source: str,
        file: str,
        variables: Mapping[str, str],
        ends_of_turn: Sequence[str],
        media_types: Mapping[str, str],
        control_tokens: Sequence[str] = (),
    ):
        """source: Jinja source. file: where it stands, for errors.

        variables: of the template, such as {"eos_token": "<|im_end|>"}. ends_of_turn: the texts
        that may close an answer; where the template leaves answers open, the first is added.
        media_types: what the template is told that a medium is, by its kind. control_tokens: what
        the tokenizer reads as one token wherever it stands.

        Raises ChatError for a template that cannot be compiled, fails on a plain conversation, or
        takes more time or memory than any should.
        """
        self.file = file
        self._variables = dict(variables)
        self._media_types = dict(media_types)
        self._end = re.compile(rf"\s*(?:{'|'.join(map(re.escape, ends_of_turn))})")
        longest_first = sorted(filter(None, control_tokens), key=len, reverse=True)
        self._control = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")
        numbers = range(1, len(_PROBE) + 1)
        probes = [[self._message(turn) for turn in _PROBE[:n]] for n in numbers]
        tried = [self._asked(probe, asks) for probe in probes for asks in (False, True)]
        if fault := fault_of(source, json.dumps(tried)):
            raise ChatError(f"{file}: the chat template cannot be used: {fault}")
        self._template = sandbox.compiled(source)
        self._blind = blind.compiled(source)
        self._around = functools.lru_cache(_REMEMBERED_SHAPES)(self._write_around)
        shown = {n: answers.unmarked(self._apply(_PROBE[:n])) for n in numbers}
        # In training, what stands before an answer must be what the model is given in evaluation.
        self._unstable = [n for n in (1, 3) if not shown[n + 1].startswith(shown[n])]
        prompt = answers.unmarked(self._apply(_PROBE[:1], asks=True))
        self.generation_prompt = prompt[len(shown[1]) :] if prompt.startswith(shown[1]) else ""
        marked = self._apply(_PROBE[:2], marked=True)
        self._has_generation = sandbox.GENERATION[0] in marked
        self._missing_end = "" if answers.behind_last(marked).strip() else ends_of_turn[0]

    def conversation(self, example: Example, replacements: Sequence[Replacement]) -> Rendered:
        """The whole conversation, media replaced, every answer closed.

        Raises ChatError if the template refuses it, drops text or media of it, or writes the
        answers so that what is to be learnt cannot be told: see `answers.taught_spans`.
        """
        for turn in self._unstable:
            raise self._error(
                example,
                f"is not prefix-stable at turn {turn}: the prompt shown in evaluation would not be "
                "the one trained on",
            )
        marked = self._render(example, marked=True)
        marked = _replace_media(example, marked, replacements)
        try:
            text, places = answers.without_marks(marked)
            spans = answers.taught_spans(
                text,
                places,
                example.turns,
                self._end,
                self.generation_prompt,
                self._has_generation,
            )
        except answers.Misplaced as error:
            raise self._error(example, str(error)) from error
        return Rendered(text, spans)

    def prompt(self, example: Example, replacements: Sequence[Replacement]) -> Rendered:
        """The example's turns and the template's generation prompt, media replaced.

        Raises ChatError if the template refuses the turns, or drops text or media of them.
        """
        history = any(turn.role == "assistant" for turn in example.turns)
        marked = self._render(example, asks=True, marked=history and bool(self._missing_end))
        return Rendered(_replace_media(example, answers.unmarked(marked), replacements))

    def _render(self, example: Example, *, asks: bool = False, marked: bool = False) -> str:
        """The text of the example's turns, with marks and every answer closed if `marked`."""
        text = self._joined(example.turns, asks, marked)
        if text is None:
            text = self._rendered(example, asks, marked)
        return answers.close(text, self._missing_end) if marked and self._missing_end else text

    def _joined(self, turns: Sequence[Turn], asks: bool, marked: bool) -> str | None:
        """What the template renders, put together from its parts where these are known."""
        if any(turn.reasoning for turn in turns):
            return None
        said = [self._said(turn, marked) for turn in turns]
        shape = tuple(
            (turn.role, tuple([kind for kind, _ in each]))
            for turn, each in zip(turns, said, strict=True)
        )
        around = self._around(shape, asks)
        if around is None:
            return None
        texts = [text for each in said for kind, text in each if kind == _TEXT]
        pieces = itertools.chain.from_iterable(zip(around, [*texts, ""], strict=True))
        text = "".join(pieces)
        return text if len(text) <= sandbox.LARGEST else None

    def _write_around(self, shape: Sequence[_Shape], asks: bool) -> tuple[str, ...] | None:
        """See `blind.around`."""
        numbers = itertools.count()
        messages = []
        for role, kinds in shape:
            texts = (blind.unread(next(numbers)) if kind == _TEXT else "" for kind in kinds)
            content = [self._part(kind, text) for kind, text in zip(kinds, texts, strict=True)]
            messages.append({"role": role, "content": content})
        return blind.around(self._blind, self._asked(messages, asks), next(numbers))

    def _rendered(self, example: Example, asks: bool, marked: bool) -> str:
        """The same by the template itself. Raises ChatError."""
        about = f"example {example.id!r}: "
        text = self._apply(example.turns, asks=asks, about=about)
        self._check_nothing_lost(example, text)
        if not marked:
            return text
        found = self._apply(example.turns, asks=asks, marked=True, about=about)
        if answers.unmarked(found) != answers.unmarked(text):
            raise self._error(
                example,
                "looks into the answers: with marks in them it renders something else, so where "
                "they stand cannot be told",
            )
        return found

    def _check_nothing_lost(self, example: Example, text: str) -> None:
        for turn in example.turns:
            for part in turn.parts if turn.role != "assistant" else ():
                if isinstance(part, str) and self._guarded(part).strip() not in text:
                    raise self._error(
                        example,
                        f"dropped the text {part[:60]!r}; it must accept a message's content as a "
                        "list of parts",
                    )

    def _apply(
        self, turns: Sequence[Turn], *, asks: bool = False, marked: bool = False, about: str = ""
    ) -> str:
        try:
            messages = [self._message(turn, marked) for turn in turns]
            return sandbox.render(self._template, self._asked(messages, asks))
        except Exception as error:  # a template may do anything
            words = str(error) if isinstance(error, jinja2.TemplateError) else repr(error)
            fault = f"{about}the chat template {self.file} refused it: {words}"
            raise ChatError(fault) from error

    def _asked(self, messages: Sequence[Mapping[str, Any]], asks: bool) -> dict[str, Any]:
        """What the template is given. asks: for its generation prompt."""
        return {
            "messages": messages,
            "add_generation_prompt": asks,
            "tools": None,
            "documents": None,
            **self._variables,
        }

    def _message(self, turn: Turn, marked: bool = False) -> dict[str, Any]:
        content = [self._part(*each) for each in self._said(turn, marked)]
        if turn.role != "assistant" or not turn.reasoning:
            return {"role": turn.role, "content": content}
        _, reasoning = answers.marked_answer(turn) if marked else answers.plain(turn)
        # The names under which transformers gives it to templates.
        thought = dict.fromkeys(("reasoning_content", "thinking"), reasoning)
        return {"role": turn.role, "content": content, **thought}

    def _said(self, turn: Turn, marked: bool) -> list[tuple[str, str]]:
        """(kind, text) of each part of a turn's message; a medium has no text."""
        if turn.role == "assistant":
            text, _ = answers.marked_answer(turn) if marked else answers.plain(turn)
            return [(_TEXT, text)]
        return [
            (part.kind, "") if isinstance(part, MediaRef) else (_TEXT, self._guarded(part))
            for part in turn.parts
        ]

    def _part(self, kind: str, text: Any) -> dict[str, Any]:
        return {"type": kind, "text": text} if kind == _TEXT else {"type": self._media_types[kind]}

    def _guarded(self, text: str) -> str:
        return self._control.sub(lambda found: _parted(found[0]), text)

    def _error(self, example: Example, fault: str) -> ChatError:
        return ChatError(f"example {example.id!r}: the chat template {self.file} {fault}")


def _parted(token: str) -> str:
    return f"{token[0]}{answers.GUARD}{token[1:]}"


def _replace_media(example: Example, text: str, replacements: Sequence[Replacement]) -> str:
    """Each replacement's first text, found in order, becomes its second."""
    pieces, start = [], 0
    for replacement in replacements[: len(example.media)]:
        if replacement is None:
            continue
        old, new = replacement
        place = text.find(old, start)
        if place < 0:
            raise ChatError(f"example {example.id!r}: the chat template did not render {old!r}")
        pieces += [text[start:place], new]
        start = place + len(old)
    return "".join([*pieces, text[start:]])
