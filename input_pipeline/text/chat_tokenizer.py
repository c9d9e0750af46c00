"""Conversations to token ids and a loss mask, through the checkpoint's own tokenizer and template.

Reads the same two files as Hugging Face does (`tokenizer.json` and the Jinja chat template) and
gives the ids that `apply_chat_template(..., tokenize=True)` gives, without transformers.
"""

import collections
import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import jinja2.ext
import jinja2.sandbox
import numpy as np
import tokenizers

from input_pipeline.examples import Example, MediaRef, Turn

# Ends a turn where the vocabulary has it; else the tokenizer's eos_token does.
END_OF_TURN = "<|im_end|>"
END_OF_TEXT = "<|endoftext|>"
# Text to look for where the template rendered a medium, and text to put there; None: leave it.
Replacement = tuple[str, str] | None
# What `ChatTokenizer.load` reads of a checkpoint directory.
# What a conversation's ids depend on.
TEXT_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "chat_template.json",
)
TOKENIZER_FILES = (*TEXT_FILES, "generation_config.json")


class ChatError(ValueError):
    """A conversation that the template or the tokenizer cannot represent faithfully."""


@dataclasses.dataclass(frozen=True)
class EncodedText:
    """A tokenised conversation in which placeholder tokens stand for the media.

    ids:       int32[n]
    loss_mask: bool[n], True on the tokens the model is trained to produce.
    """

    ids: np.ndarray
    loss_mask: np.ndarray


class ChatTokenizer:
    """A tokenizer together with its chat template; safe to share between threads."""

    def __init__(
        self,
        tokenizer: tokenizers.Tokenizer,
        template: str,
        media_tokens: Mapping[str, str],
        special_tokens: Mapping[str, str] | None = None,
        extra_stop_ids: Sequence[int] = (),
    ):
        """tokenizer: the fast tokenizer. template: Jinja source of the chat template.

        media_tokens: the placeholder by kind of medium. Where both kinds share one, the template
        is shown clips as images.
        special_tokens: template variables such as {"eos_token": "<|im_end|>"}.
        extra_stop_ids: ids that end a generation besides the end-of-turn token.
        """
        self._tokenizer = tokenizer
        self._template = _environment().from_string(template)
        self._special_tokens = dict(special_tokens or {})
        self.media_tokens = dict(media_tokens)
        self._type_of = {kind: kind for kind in media_tokens}
        if media_tokens["video"] == media_tokens["image"]:
            self._type_of["video"] = "image"
        self._extra_stop_ids = tuple(extra_stop_ids)
        self._control = tuple(
            token.content
            for token in tokenizer.get_added_tokens_decoder().values()
            if token.special
        )
        self.media_ids = {kind: self.token_id(token) for kind, token in media_tokens.items()}
        in_vocabulary = tokenizer.token_to_id(END_OF_TURN) is not None
        self._end_of_turn = END_OF_TURN if in_vocabulary else self._special_tokens.get("eos_token")
        if self._end_of_turn is None:
            raise KeyError(
                f"nothing would end an answer: the vocabulary has no {END_OF_TURN} and "
                "tokenizer_config.json no eos_token"
            )
        self._closes_turns = self._template_closes_turns()

    @classmethod
    def load(cls, directory: str | Path, media_tokens: Mapping[str, str]) -> "ChatTokenizer":
        """Reads a checkpoint directory as saved by Hugging Face; media_tokens: see `__init__`.

        Uses tokenizer.json, tokenizer_config.json, generation_config.json (where there is one)
        and the template of chat_template.jinja, chat_template.json or tokenizer_config.json, the
        first found. Raises FileNotFoundError naming the file that is missing, KeyError a token.
        """
        directory = Path(directory)
        path = directory / "tokenizer.json"
        if not path.is_file():
            raise FileNotFoundError(f"no tokenizer.json in {directory}")
        config = _read_json(directory / "tokenizer_config.json")
        special = {}
        for key, value in config.items():
            value = value.get("content") if isinstance(value, dict) else value
            if key.endswith("_token") and isinstance(value, str):
                special[key] = value
        stops = _read_json(directory / "generation_config.json").get("eos_token_id", ())
        stops = [stops] if isinstance(stops, int) else stops
        tokenizer = tokenizers.Tokenizer.from_file(str(path))
        return cls(tokenizer, _read_template(directory, config), media_tokens, special, stops)

    @property
    def vocab_size(self) -> int:
        """Number of ids the tokenizer can give; a model's embedding may have more rows."""
        return self._tokenizer.get_vocab_size(with_added_tokens=True)

    def token_id(self, token: str) -> int:
        """Id of one token. Raises KeyError if the vocabulary lacks it."""
        found = self._tokenizer.token_to_id(token)
        if found is None:
            raise KeyError(f"tokenizer.json has no token {token!r}")
        return found

    def decode(self, ids: Sequence[int]) -> str:
        """Text of `ids`, control tokens such as <|im_end|> left out."""
        return self._tokenizer.decode([int(i) for i in ids], skip_special_tokens=True)

    def stop_ids(self) -> tuple[int, ...]:
        """Ids that end a generated answer, ascending."""
        eos = self._special_tokens.get("eos_token", END_OF_TURN)
        names = (self._end_of_turn, END_OF_TEXT, eos)
        found = {self._tokenizer.token_to_id(name) for name in names} - {None}
        return tuple(sorted(found | set(self._extra_stop_ids)))

    def encode(self, example: Example, replacements: Sequence[Replacement] = ()) -> EncodedText:
        """The whole conversation, with loss on every assistant text and its end-of-turn token.

        replacements: one for each medium of the example where any of them needs one.

        Raises ChatError if the text holds control tokens, if the template drops text or media,
        or if it is not prefix-stable (an assistant turn changes what was rendered before it).
        """
        text = self._render(example, example.turns, replacements, generation_prompt=False)
        spans = [
            self._answer_span(example, index, replacements)
            for index, turn in enumerate(example.turns)
            if turn.role == "assistant"
        ]
        return self._tokenise(example, text, spans, replacements)

    def encode_prompt(
        self, example: Example, replacements: Sequence[Replacement] = ()
    ) -> EncodedText:
        """What the model is given in evaluation: the example without its reference answer,
        followed by the template's generation prompt. The loss mask is False throughout.

        Raises ChatError as `encode` does.
        """
        prompt = example.prompt()
        text = self._render(prompt, prompt.turns, replacements, generation_prompt=True)
        return self._tokenise(prompt, text, [], replacements)

    def _answer_span(
        self, example: Example, index: int, replacements: Sequence[Replacement]
    ) -> tuple[int, int]:
        """Character range of assistant turn `index` in the rendered conversation."""
        before = self._render(example, example.turns[:index], replacements, generation_prompt=True)
        after = self._render(
            example, example.turns[: index + 1], replacements, generation_prompt=False
        )
        if not after.startswith(before):
            raise self._unstable(example, index)
        end = after.rfind(self._end_of_turn)
        if end < len(before):
            raise ChatError(
                f"example {example.id!r}: the chat template does not close turn {index} "
                f"with {self._end_of_turn}"
            )
        return len(before), end + len(self._end_of_turn)

    def _tokenise(
        self,
        example: Example,
        text: str,
        spans: Sequence[tuple[int, int]],
        replacements: Sequence[Replacement],
    ) -> EncodedText:
        # As transformers' processors do: the tokenizer adds its own first token, if it has one,
        # unless the template has written it.
        bos = self._special_tokens.get("bos_token")
        starts_itself = bos is not None and text.startswith(bos)
        encoding = self._tokenizer.encode(text, add_special_tokens=not starts_itself)
        ids = np.asarray(encoding.ids, np.int32)
        offsets = np.asarray(encoding.offsets, np.int64).reshape(-1, 2)
        mask = np.zeros(len(ids), bool)
        for start, end in spans:
            # A token that straddles the start of an answer belongs to the prompt: generation
            # could never emit it.
            mask |= (offsets[:, 0] >= start) & (offsets[:, 1] <= end)
        self._check_media(example, ids, replacements)
        return EncodedText(ids, mask)

    def _check_media(
        self, example: Example, ids: np.ndarray, replacements: Sequence[Replacement]
    ) -> None:
        wanted = collections.Counter()
        for i, ref in enumerate(example.media):
            token = self.media_tokens[ref.kind]
            replacement = replacements[i] if i < len(replacements) else None
            wanted[self.media_ids[ref.kind]] += replacement[1].count(token) if replacement else 1
        found = ids[np.isin(ids, list(self.media_ids.values()))].tolist()
        if collections.Counter(found) != wanted:
            raise ChatError(
                f"example {example.id!r}: the chat template rendered {len(found)} media "
                f"placeholders for an example with {[ref.kind for ref in example.media]}"
            )

    def _render(
        self,
        example: Example,
        turns: Sequence[Turn],
        replacements: Sequence[Replacement],
        generation_prompt: bool,
    ) -> str:
        """The text of `turns`, media replaced, every answer closed."""
        for turn in turns:
            self._check_text(example, turn)
        text = self._apply_template(example, turns, generation_prompt)
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

    def _close_turns(self, example: Example, turns: Sequence[Turn], text: str) -> str:
        """Ends each answer with the end-of-turn token, as the models were trained, where the
        template (LLaVA's, on Hugging Face) leaves it out: no model could learn to stop."""
        before, closed = "", ""
        for index, turn in enumerate(turns):
            after = self._apply_template(example, turns[: index + 1], generation_prompt=False)
            if not after.startswith(before):
                raise self._unstable(example, index)
            new = after[len(before) :]
            closed += new.rstrip() + self._end_of_turn if turn.role == "assistant" else new
            before = after
        if not text.startswith(before):
            raise self._unstable(example, len(turns))
        return closed + text[len(before) :]

    def _template_closes_turns(self) -> bool:
        probe = (Turn("user", ("a",)), Turn("assistant", ("b",)))
        text = self._apply_template(Example("probe", "probe", probe), probe, False)
        return self._end_of_turn in text[text.rfind("b") :]

    def _apply_template(
        self, example: Example, turns: Sequence[Turn], generation_prompt: bool
    ) -> str:
        try:
            return self._template.render(
                messages=[self._message(turn) for turn in turns],
                add_generation_prompt=generation_prompt,
                tools=None,
                documents=None,
                **self._special_tokens,
            )
        except jinja2.TemplateError as error:
            raise ChatError(
                f"example {example.id!r}: the chat template refused it: {error}"
            ) from error

    def _message(self, turn: Turn) -> dict[str, Any]:
        content = [
            {"type": self._type_of[part.kind]}
            if isinstance(part, MediaRef)
            else {"type": "text", "text": part}
            for part in turn.parts
        ]
        return {"role": turn.role, "content": content}

    def _unstable(self, example: Example, index: int) -> ChatError:
        return ChatError(
            f"example {example.id!r}: the chat template is not prefix-stable at turn {index}: "
            "the prompt shown in evaluation would not be the one trained on"
        )

    def _check_text(self, example: Example, turn: Turn) -> None:
        for part in turn.parts:
            if not isinstance(part, str) or "<" not in part:
                continue
            for token in self._control:
                if token in part:
                    raise ChatError(
                        f"example {example.id!r}: its {turn.role} text contains the control "
                        f"token {token}"
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


class _GenerationTag(jinja2.ext.Extension):
    """Accepts the {% generation %} blocks of Hugging Face templates; they render as their body."""

    tags = {"generation"}

    def parse(self, parser):
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _environment() -> jinja2.Environment:
    """The environment in which Hugging Face renders chat templates."""
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_GenerationTag, jinja2.ext.loopcontrols]
    )

    def raise_exception(message: str):
        raise jinja2.TemplateError(message)

    def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        # Jinja's own filter escapes HTML characters, which would change the tokens.
        return json.dumps(
            value,
            ensure_ascii=ensure_ascii,
            indent=indent,
            separators=separators,
            sort_keys=sort_keys,
        )

    environment.filters["tojson"] = tojson
    environment.globals["raise_exception"] = raise_exception
    return environment


def _read_json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _read_template(directory: Path, config: Mapping[str, Any]) -> str:
    path = directory / "chat_template.jinja"
    if path.is_file():
        return path.read_text(encoding="utf-8")
    template = _read_json(directory / "chat_template.json").get("chat_template")
    template = template or config.get("chat_template")
    if isinstance(template, list):
        template = {entry["name"]: entry["template"] for entry in template}.get("default")
    if not isinstance(template, str):
        raise FileNotFoundError(
            f"no chat template in {directory}: expected chat_template.jinja, chat_template.json "
            'or the key "chat_template" of tokenizer_config.json'
        )
    return template
