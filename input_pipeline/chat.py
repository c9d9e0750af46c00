"""Conversations to token ids and a loss mask, through the checkpoint's own tokenizer and template.

Reads the same two files as Hugging Face does (`tokenizer.json` and the Jinja chat template) and
gives the ids that `apply_chat_template(..., tokenize=True)` gives, without transformers.
"""

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

END_OF_TURN = "<|im_end|>"
END_OF_TEXT = "<|endoftext|>"
# What `ChatTokenizer.load` reads of a checkpoint directory.
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "generation_config.json",
    "chat_template.jinja",
    "chat_template.json",
)
MEDIA_TOKENS = {"image": "<|image_pad|>", "video": "<|video_pad|>"}


class ChatError(ValueError):
    """A conversation that the template or the tokenizer cannot represent faithfully."""


@dataclasses.dataclass(frozen=True)
class EncodedText:
    """A tokenised conversation in which each medium stands as one placeholder token.

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
        special_tokens: Mapping[str, str] | None = None,
        extra_stop_ids: Sequence[int] = (),
    ):
        """tokenizer: the fast tokenizer. template: Jinja source of the chat template.

        special_tokens: template variables such as {"eos_token": "<|im_end|>"}.
        extra_stop_ids: ids that end a generation besides the end-of-turn token.
        """
        self._tokenizer = tokenizer
        self._template = _environment().from_string(template)
        self._special_tokens = dict(special_tokens or {})
        self._extra_stop_ids = tuple(extra_stop_ids)
        self._control = tuple(
            token.content
            for token in tokenizer.get_added_tokens_decoder().values()
            if token.special
        )
        self.media_ids = {
            kind: self.token_id(token)
            for kind, token in MEDIA_TOKENS.items()
            if tokenizer.token_to_id(token) is not None
        }

    @classmethod
    def load(cls, directory: str | Path) -> "ChatTokenizer":
        """Reads a checkpoint directory as saved by Hugging Face.

        Uses tokenizer.json, tokenizer_config.json, generation_config.json (where there is one)
        and the template of chat_template.jinja, chat_template.json or tokenizer_config.json, the
        first found. Raises FileNotFoundError naming what is missing.
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
        return cls(tokenizer, _read_template(directory, config), special, stops)

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
        names = (END_OF_TURN, END_OF_TEXT, self._special_tokens.get("eos_token", END_OF_TURN))
        found = {self._tokenizer.token_to_id(name) for name in names} - {None}
        return tuple(sorted(found | set(self._extra_stop_ids)))

    def encode(self, example: Example) -> EncodedText:
        """The whole conversation, with loss on every assistant text and its end-of-turn token.

        Raises ChatError if the text holds control tokens, if the template drops text or media,
        or if it is not prefix-stable (an assistant turn changes what was rendered before it).
        """
        text = self._render(example, example.turns, generation_prompt=False)
        spans = [
            self._answer_span(example, index)
            for index, turn in enumerate(example.turns)
            if turn.role == "assistant"
        ]
        return self._tokenise(example, text, spans)

    def encode_prompt(self, example: Example) -> EncodedText:
        """What the model is given in evaluation: the example without its reference answer,
        followed by the template's generation prompt. The loss mask is False throughout.

        Raises ChatError as `encode` does.
        """
        prompt = example.prompt()
        text = self._render(prompt, prompt.turns, generation_prompt=True)
        return self._tokenise(prompt, text, [])

    def _answer_span(self, example: Example, index: int) -> tuple[int, int]:
        """Character range of assistant turn `index` in the rendered conversation."""
        before = self._render(example, example.turns[:index], generation_prompt=True)
        after = self._render(example, example.turns[: index + 1], generation_prompt=False)
        if not after.startswith(before):
            raise ChatError(
                f"example {example.id!r}: the chat template is not prefix-stable at turn {index}: "
                "the prompt shown in evaluation would not be the one trained on"
            )
        end = after.rfind(END_OF_TURN)
        if end < len(before):
            raise ChatError(
                f"example {example.id!r}: the chat template does not close turn {index} "
                f"with {END_OF_TURN}"
            )
        return len(before), end + len(END_OF_TURN)

    def _tokenise(
        self, example: Example, text: str, spans: Sequence[tuple[int, int]]
    ) -> EncodedText:
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        ids = np.asarray(encoding.ids, np.int32)
        offsets = np.asarray(encoding.offsets, np.int64).reshape(-1, 2)
        mask = np.zeros(len(ids), bool)
        for start, end in spans:
            # A token that straddles the start of an answer belongs to the prompt: generation
            # could never emit it.
            mask |= (offsets[:, 0] >= start) & (offsets[:, 1] <= end)
        self._check_media(example, ids)
        return EncodedText(ids, mask)

    def _check_media(self, example: Example, ids: np.ndarray) -> None:
        kind_of = {token: kind for kind, token in self.media_ids.items()}
        found = [kind_of[i] for i in ids[np.isin(ids, list(kind_of))].tolist()]
        wanted = [ref.kind for ref in example.media]
        if found != wanted:
            raise ChatError(
                f"example {example.id!r}: the chat template rendered the media {found} "
                f"for an example with {wanted}"
            )

    def _render(self, example: Example, turns: Sequence[Turn], generation_prompt: bool) -> str:
        for turn in turns:
            self._check_text(example, turn)
        try:
            text = self._template.render(
                messages=[_message(turn) for turn in turns],
                add_generation_prompt=generation_prompt,
                tools=None,
                documents=None,
                **self._special_tokens,
            )
        except jinja2.TemplateError as error:
            raise ChatError(
                f"example {example.id!r}: the chat template refused it: {error}"
            ) from error
        for part in (part for turn in turns for part in turn.parts):
            if isinstance(part, str) and part.strip() not in text:
                raise ChatError(
                    f"example {example.id!r}: the chat template dropped the text {part[:60]!r}; "
                    "it must accept a message's content as a list of parts"
                )
        return text

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


def _message(turn: Turn) -> dict[str, Any]:
    content = [
        {"type": part.kind} if isinstance(part, MediaRef) else {"type": "text", "text": part}
        for part in turn.parts
    ]
    return {"role": turn.role, "content": content}


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
