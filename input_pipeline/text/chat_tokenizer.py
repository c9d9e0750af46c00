"""Conversations to token ids and a loss mask, through the checkpoint's own tokenizer and template.

Reads the same two files as Hugging Face does (`tokenizer.json` and the Jinja chat template) and
gives the ids that `apply_chat_template(..., tokenize=True)` gives, without transformers.
"""

import collections
import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import tokenizers

from input_pipeline.errors import UserError
from input_pipeline.examples import Example
from input_pipeline.text import answers
from input_pipeline.text.chat_template import ChatError, ChatTemplate, Rendered, Replacement
from input_pipeline.text.template_files import read_json, read_template

# Ends a turn where the vocabulary has it; else the tokenizer's eot_token or eos_token does.
END_OF_TURN = "<|im_end|>"
END_OF_TEXT = "<|endoftext|>"
# What a conversation's ids depend on.
TEXT_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "chat_template.json",
)
# What `ChatTokenizer.load` reads of a checkpoint directory.
TOKENIZER_FILES = (*TEXT_FILES, "generation_config.json")


class TokenizerError(UserError, KeyError):
    """A tokenizer lacks what is needed of it; the message names the file and the token."""

    __str__ = Exception.__str__  # a KeyError would show its message in quotes


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
        template_file: str = "that was given",
        clip_template: str | None = None,
    ):
        """tokenizer: the fast tokenizer. template: Jinja source of the chat template, which stands
        in `template_file`.

        media_tokens: the placeholder by kind of medium. Where both kinds share one, the template
        is shown clips as images.
        clip_template: Jinja source for conversations with clips, None for `template`. It writes a
        clip as <video>, for which a replacement puts what the family makes of it.
        special_tokens: template variables such as {"eos_token": "<|im_end|>"}.
        extra_stop_ids: ids that end a generation besides the end-of-turn token.

        Raises TokenizerError for tokens that are missing, ChatError for a template that cannot be
        used.
        """
        self._tokenizer = tokenizer
        self._special_tokens = dict(special_tokens or {})
        self.media_tokens = dict(media_tokens)
        self._extra_stop_ids = tuple(extra_stop_ids)
        added = tokenizer.get_added_tokens_decoder().values()
        special = (token.content for token in added if token.special)
        self._control = tuple(dict.fromkeys([*special, *media_tokens.values()]))
        self.media_ids = {kind: self.token_id(token) for kind, token in media_tokens.items()}
        ends = [END_OF_TURN] if tokenizer.token_to_id(END_OF_TURN) is not None else []
        stated = (self._special_tokens.get(key) for key in ("eot_token", "eos_token"))
        ends += [e for e in stated if e and e not in ends]
        if not ends:
            raise TokenizerError(
                f"nothing would end an answer: the vocabulary has no {END_OF_TURN} and "
                "tokenizer_config.json no eos_token"
            )
        self._end_of_turn = ends[0]
        media_types = {kind: kind for kind in media_tokens}
        if media_tokens["video"] == media_tokens["image"]:
            media_types["video"] = "image"
        self._template = ChatTemplate(
            template, template_file, self._special_tokens, ends, media_types, self._control
        )
        self._clip_template = self._template
        if clip_template is not None:
            kinds = {kind: kind for kind in media_tokens}
            control = (*self._control, "<video>")
            self._clip_template = ChatTemplate(
                clip_template, "for clips", self._special_tokens, ends, kinds, control
            )

    @classmethod
    def load(
        cls,
        directory: str | Path,
        media_tokens: Mapping[str, str],
        clip_template: str | None = None,
    ) -> "ChatTokenizer":
        """Reads a checkpoint directory as saved by Hugging Face; media_tokens, clip_template: see
        `__init__`.

        Uses tokenizer.json, tokenizer_config.json, generation_config.json (where there is one)
        and the template that `read_template` finds. Raises TokenizerError and TemplateFileError
        naming the file, or the token that is missing.
        """
        directory = Path(directory)
        path = directory / "tokenizer.json"
        if not path.is_file():
            raise TokenizerError(
                f"no tokenizer.json in {directory}: copy it there from the released model, or name "
                "a folder that has it as config.tokenizer"
            )
        special = {}
        for key, value in read_json(directory / "tokenizer_config.json").items():
            value = value.get("content") if isinstance(value, dict) else value
            if key.endswith("_token") and isinstance(value, str):
                special[key] = value
        stops = read_json(directory / "generation_config.json").get("eos_token_id", ())
        stops = [stops] if isinstance(stops, int) else stops
        try:
            tokenizer = tokenizers.Tokenizer.from_file(str(path))
        except Exception as error:  # the class that the package raises
            raise TokenizerError(f"{path}: not a tokenizer: {error}") from error
        template, file = read_template(directory)
        return cls(tokenizer, template, media_tokens, special, stops, file, clip_template)

    @property
    def vocab_size(self) -> int:
        """Number of ids the tokenizer can give; a model's embedding may have more rows."""
        return self._tokenizer.get_vocab_size(with_added_tokens=True)

    def token_id(self, token: str) -> int:
        """Id of one token. Raises TokenizerError if the vocabulary lacks it."""
        found = self._tokenizer.token_to_id(token)
        if found is None:
            raise TokenizerError(f"tokenizer.json has no token {token!r}")
        return found

    def decode(self, ids: Sequence[int]) -> str:
        """Text of `ids`, control tokens such as <|im_end|> left out."""
        return self._tokenizer.decode([int(i) for i in ids], skip_special_tokens=True)

    def spell(self, id: int) -> str:
        """Text of one token by itself, a control token's too. A part of a character is U+FFFD."""
        return self._tokenizer.decode([int(id)], skip_special_tokens=False)

    def stop_ids(self) -> tuple[int, ...]:
        """Ids that end a generated answer, ascending."""
        eos = self._special_tokens.get("eos_token", END_OF_TURN)
        names = (self._end_of_turn, END_OF_TEXT, eos)
        found = [self._tokenizer.token_to_id(name) for name in names]
        ids = {each for each in found if each is not None}
        return tuple(sorted(ids | set(self._extra_stop_ids)))

    @property
    def begin_id(self) -> int:
        """The id that stands before a text that nothing precedes: the tokenizer's bos_token, else
        the end of another text, else that of a turn."""
        for token in (self._special_tokens.get("bos_token"), END_OF_TEXT):
            if token and (found := self._tokenizer.token_to_id(token)) is not None:
                return found
        return self.token_id(self._end_of_turn)

    def encode_text(self, text: str) -> np.ndarray:
        """A text by itself, without a conversation around it or a token before it: int32[n].

        Raises ChatError if it contains a control token, which would not be read as text.
        """
        for token in self._control:
            if token in text:
                raise ChatError(f"the text contains the control token {token}")
        return np.asarray(self._tokenizer.encode(text, add_special_tokens=False).ids, np.int32)

    def encode(self, example: Example, replacements: Sequence[Replacement] = ()) -> EncodedText:
        """The whole conversation, with loss on every answer and the token that ends it.

        replacements: one for each medium of the example where any of them needs one.

        Raises ChatError if an answer holds a control token, if the template drops text or media,
        or if what is to be learnt cannot be told for sure: see `ChatTemplate.conversation`.
        """
        self._check_text(example)
        rendered = self._of(example).conversation(example, replacements)
        encoded = self._tokenise(example, rendered, replacements)
        self._check_learnt(example, rendered, encoded)
        return encoded

    def encode_prompt(
        self, example: Example, replacements: Sequence[Replacement] = ()
    ) -> EncodedText:
        """What the model is given in evaluation: the example without its reference answer,
        followed by the template's generation prompt. The loss mask is False throughout.

        Raises ChatError as `encode` does.
        """
        prompt = example.prompt()
        self._check_text(prompt)
        rendered = self._of(prompt).prompt(prompt, replacements)
        return self._tokenise(prompt, rendered, replacements)

    def _of(self, example: Example) -> ChatTemplate:
        clips = any(ref.kind == "video" for ref in example.media)
        return self._clip_template if clips else self._template

    def _check_text(self, example: Example) -> None:
        for turn in example.turns:
            text = "".join([*(p for p in turn.parts if isinstance(p, str)), turn.reasoning])
            if mark := answers.MARK.search(text):
                raise ChatError(
                    f"example {example.id!r}: its {turn.role} text contains the character "
                    f"U+{ord(mark[0]):X}, which Unicode keeps out of texts"
                )
            # In a user's text it is text; an answer with it would end twice, or in letters.
            for token in self._control if turn.role == "assistant" else ():
                if token in text:
                    raise ChatError(
                        f"example {example.id!r}: its {turn.role} text contains the control "
                        f"token {token}"
                    )

    def _tokenise(
        self, example: Example, rendered: Rendered, replacements: Sequence[Replacement]
    ) -> EncodedText:
        # As transformers' processors do: the tokenizer adds its own first token, if it has one,
        # unless the template has written it.
        text = rendered.text
        bos = self._special_tokens.get("bos_token")
        starts_itself = bos is not None and text.startswith(bos)
        encoding = self._tokenizer.encode(text, add_special_tokens=not starts_itself)
        ids = np.asarray(encoding.ids, np.int32)
        offsets = np.asarray(encoding.offsets, np.int64).reshape(-1, 2)
        mask = np.zeros(len(ids), bool)
        for start, end in rendered.taught:
            # A token that straddles the start of an answer belongs to the prompt: generation
            # could never emit it.
            mask |= (offsets[:, 0] >= start) & (offsets[:, 1] <= end)
        guards = [found.start() for found in re.finditer(answers.GUARD, text)]
        if guards:
            kept = ~(np.isin(offsets[:, 0], guards) & (offsets[:, 1] == offsets[:, 0] + 1))
            ids, mask = ids[kept], mask[kept]
        self._check_media(example, ids, replacements)
        return EncodedText(ids, mask)

    def _check_learnt(self, example: Example, rendered: Rendered, encoded: EncodedText) -> None:
        """Raises ChatError unless what is learnt reads as what is taught, space left aside."""
        wanted = "".join(rendered.text[start:end] for start, end in rendered.taught)
        learnt = self._words(encoded.ids[encoded.loss_mask].tolist())
        if learnt == "".join(wanted.split()):
            return
        # A tokenizer may change characters: compare what it makes of the answers alone.
        alone = self._tokenizer.encode(wanted, add_special_tokens=False).ids
        if learnt != self._words(alone):
            raise ChatError(
                f"example {example.id!r}: with the chat template {self._template.file} the tokens "
                f"to learn read {learnt[:60]!r} for the answers {wanted[:60]!r}"
            )

    def _words(self, ids: Sequence[int]) -> str:
        return "".join(self._tokenizer.decode(ids, skip_special_tokens=False).split())

    def _check_media(
        self, example: Example, ids: np.ndarray, replacements: Sequence[Replacement]
    ) -> None:
        wanted: collections.Counter[int] = collections.Counter()
        for i, ref in enumerate(example.media):
            token = self.media_tokens[ref.kind]
            replacement = replacements[i] if i < len(replacements) else None
            wanted[self.media_ids[ref.kind]] += replacement[1].count(token) if replacement else 1
        found = {each: int(np.count_nonzero(ids == each)) for each in self.media_ids.values()}
        if any(count != wanted[each] for each, count in found.items()):
            raise ChatError(
                f"example {example.id!r}: the chat template {self._template.file} rendered "
                f"{sum(found.values())} media placeholders for an example with "
                f"{[ref.kind for ref in example.media]}"
            )
