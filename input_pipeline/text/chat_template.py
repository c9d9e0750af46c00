"""Conversations to text, through the checkpoint's Jinja template, as Hugging Face renders it."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import jinja2.ext
import jinja2.nodes
import jinja2.parser
import jinja2.sandbox

from input_pipeline.errors import UserError
from input_pipeline.examples import Example, MediaRef, Turn

# Text to look for where the template rendered a medium, and text to put there; None: leave it.
Replacement = tuple[str, str] | None


class ChatError(UserError, ValueError):
    """A conversation that the template or the tokenizer cannot represent faithfully."""


class ChatTemplate:
    """Renders turns of an example as text; safe to share between threads."""

    def __init__(
        self,
        source: str,
        variables: Mapping[str, str],
        end_of_turn: str,
        media_types: Mapping[str, str],
    ):
        """source: Jinja source. variables: of the template, such as {"eos_token": "<|im_end|>"}.

        end_of_turn: the text that closes every answer. media_types: what the template is told that
        a medium is, by its kind.
        """
        self._template = _environment().from_string(source)
        self._variables = dict(variables)
        self._end_of_turn = end_of_turn
        self._media_types = dict(media_types)
        self._closes_turns = self._template_closes_turns()

    def render(
        self,
        example: Example,
        turns: Sequence[Turn],
        replacements: Sequence[Replacement],
        *,
        generation_prompt: bool = False,
    ) -> str:
        """The text of the example's first `turns`, media replaced, every answer closed.

        Raises ChatError if the template refuses the turns, or drops text or media of them.
        """
        text = self._apply(example, turns, generation_prompt)
        for part in (part for turn in turns for part in turn.parts):
            if isinstance(part, str) and part.strip() not in text:
                raise ChatError(
                    f"example {example.id!r}: the chat template dropped the text {part[:60]!r}; "
                    "it must accept a message's content as a list of parts"
                )
        if not self._closes_turns:
            text = self._close_turns(example, turns, text)
        here = sum(isinstance(part, MediaRef) for turn in turns for part in turn.parts)
        return _replace_media(example, text, replacements[:here])

    def answer_span(
        self, example: Example, index: int, replacements: Sequence[Replacement]
    ) -> tuple[int, int]:
        """Character range of assistant turn `index` in the rendered conversation.

        Raises ChatError if the turn changes what was rendered before it, or is not closed.
        """
        turns = example.turns
        before = self.render(example, turns[:index], replacements, generation_prompt=True)
        after = self.render(example, turns[: index + 1], replacements)
        if not after.startswith(before):
            raise _unstable(example, index)
        end = after.rfind(self._end_of_turn)
        if end < len(before):
            raise ChatError(
                f"example {example.id!r}: the chat template does not close turn {index} "
                f"with {self._end_of_turn}"
            )
        return len(before), end + len(self._end_of_turn)

    def _close_turns(self, example: Example, turns: Sequence[Turn], text: str) -> str:
        """Ends each answer with the end-of-turn token, as the models were trained, where the
        template (LLaVA's, on Hugging Face) leaves it out: no model could learn to stop."""
        before, closed = "", ""
        for index, turn in enumerate(turns):
            after = self._apply(example, turns[: index + 1], generation_prompt=False)
            if not after.startswith(before):
                raise _unstable(example, index)
            new = after[len(before) :]
            closed += new.rstrip() + self._end_of_turn if turn.role == "assistant" else new
            before = after
        if not text.startswith(before):
            raise _unstable(example, len(turns))
        return closed + text[len(before) :]

    def _template_closes_turns(self) -> bool:
        probe = (Turn("user", ("a",)), Turn("assistant", ("b",)))
        text = self._apply(Example("probe", "probe", probe), probe, generation_prompt=False)
        return self._end_of_turn in text[text.rfind("b") :]

    def _apply(self, example: Example, turns: Sequence[Turn], generation_prompt: bool) -> str:
        try:
            return self._template.render(
                messages=[self._message(turn) for turn in turns],
                add_generation_prompt=generation_prompt,
                tools=None,
                documents=None,
                **self._variables,
            )
        except jinja2.TemplateError as error:
            raise ChatError(
                f"example {example.id!r}: the chat template refused it: {error}"
            ) from error

    def _message(self, turn: Turn) -> dict[str, Any]:
        content = [
            {"type": self._media_types[part.kind]}
            if isinstance(part, MediaRef)
            else {"type": "text", "text": part}
            for part in turn.parts
        ]
        return {"role": turn.role, "content": content}


def read_template(directory: Path) -> str:
    """Source of a checkpoint's template: chat_template.jinja, or the key "chat_template" of
    chat_template.json or tokenizer_config.json, the first found.

    Raises FileNotFoundError where there is none.
    """
    path = directory / "chat_template.jinja"
    if path.is_file():
        return path.read_text(encoding="utf-8")
    template = read_json(directory / "chat_template.json").get("chat_template")
    template = template or read_json(directory / "tokenizer_config.json").get("chat_template")
    if isinstance(template, list):
        template = {entry["name"]: entry["template"] for entry in template}.get("default")
    if not isinstance(template, str):
        raise FileNotFoundError(
            f"no chat template in {directory}: expected chat_template.jinja, chat_template.json "
            'or the key "chat_template" of tokenizer_config.json'
        )
    return template


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; empty where there is no file."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _unstable(example: Example, index: int) -> ChatError:
    return ChatError(
        f"example {example.id!r}: the chat template is not prefix-stable at turn {index}: "
        "the prompt shown in evaluation would not be the one trained on"
    )


def _replace_media(example: Example, text: str, replacements: Sequence[Replacement]) -> str:
    """Each replacement's first text, found in order, becomes its second."""
    pieces, start = [], 0
    for replacement in replacements:
        if replacement is None:
            continue
        old, new = replacement
        place = text.find(old, start)
        if place < 0:
            raise ChatError(f"example {example.id!r}: the chat template did not render {old!r}")
        pieces += [text[start:place], new]
        start = place + len(old)
    return "".join([*pieces, text[start:]])


# --- Jinja --------------------------------------------------------------------------------------


class _GenerationTag(jinja2.ext.Extension):
    """Accepts the {% generation %} blocks of Hugging Face templates; they render as their body."""

    tags = {"generation"}

    def parse(self, parser: jinja2.parser.Parser) -> list[jinja2.nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _environment() -> jinja2.Environment:
    """The environment in which Hugging Face renders chat templates."""
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_GenerationTag, jinja2.ext.loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise_exception
    return environment


def _raise_exception(message: str) -> None:
    raise jinja2.TemplateError(message)


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    # Jinja's own filter escapes HTML characters, which would change the tokens.
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
    )
