"""What is said to a request, token by token, cut where the request asks for it."""

import math
from collections.abc import Sequence
from typing import Any

from input_pipeline.text import ChatTokenizer
from vsft_jax.inference import Piece
from vsft_jax.serve.requests import ChatRequest

_LEAST = -9999.0  # what OpenAI writes for a token that is all but impossible
_HALF = "\ufffd"  # of a character whose other bytes are in the next token


class Transcript:
    """An answer as it comes: `add` what is said until it has `ended`, and `take` what can be sent.

    Ends at the request's max_tokens and before the first of its stop texts, as if the model had.

    text: so far. tokens: of each token its entry of "logprobs", where they are asked for. count:
    how many tokens. finish_reason: "length" or "stop", when it has ended.
    """

    def __init__(self, request: ChatRequest, tokenizer: ChatTokenizer):
        self._request, self._tokenizer = request, tokenizer
        self._ids: list[int] = []
        self._decoded = self._whole = (
            0  # tokens in the text, and those before the last that came in
        )
        self._sent = 0  # characters
        self._sent_tokens = 0
        self._ends: list[int] = []  # for each token how many characters are there with it
        self.text = ""
        self.tokens: list[dict[str, Any]] | None = [] if request.logprobs else None
        self.finish_reason: str | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing will be added."""
        return self.finish_reason is not None

    @property
    def count(self) -> int:
        """Tokens, without the one that ends an answer."""
        return len(self._ends)

    def add(self, piece: Piece) -> None:
        """One more token, or the end."""
        if piece.token_id is None:
            self._end("stop")
            return
        self._ids.append(piece.token_id)
        if self.tokens is not None:
            self.tokens.append(self._told(piece))
        self._decode()
        self._ends.append(len(self.text))
        if self._cut_at_stop():
            self.finish_reason = "stop"
        elif len(self._ids) >= self._request.max_tokens:
            self._end("length")

    def take(self) -> tuple[str, Sequence[dict[str, Any]] | None]:
        """The text that is sure, where it was not taken before, and the tokens that it came with.
        Space at the end, halves of characters and what may be the beginning of a stop text wait."""
        sure = len(self.text) if self.ended else self._sure()
        count = len(self._ends)
        while count and not self.ended and self._ends[count - 1] > sure:
            count -= 1
        if not self.ended and (count == 0 or self._ends[count - 1] == self._sent):
            return "", None
        stop = len(self.text) if self.ended else self._ends[count - 1]
        text, self._sent = self.text[self._sent : stop], stop
        first, self._sent_tokens = self._sent_tokens, count
        return text, None if self.tokens is None else self.tokens[first:count]

    def _decode(self) -> None:
        """Adds the characters that the last token completes. Decoded with the tokens before it,
        since some tokenizers drop the space of a first one."""
        before = self._tokenizer.decode(self._ids[self._whole : self._decoded])
        after = self._tokenizer.decode(self._ids[self._whole :])
        if len(after) > len(before) and not after.endswith(_HALF):
            self.text = (self.text + after[len(before) :]).lstrip()
            self._whole, self._decoded = self._decoded, len(self._ids)

    def _cut_at_stop(self) -> bool:
        places = [at for at in (self.text.find(stop) for stop in self._request.stop) if at >= 0]
        if not places:
            return False
        self.text = self.text[: min(places)]
        self._ends = [min(end, len(self.text)) for end in self._ends]
        count = next((i for i, end in enumerate(self._ends, 1) if end == len(self.text)), 0)
        del self._ends[count:]
        if self.tokens is not None:
            del self.tokens[count:]
        return True

    def _end(self, reason: str) -> None:
        whole = self._tokenizer.decode(self._ids).strip()
        self.text = whole if whole.startswith(self.text[: self._sent]) else self.text.rstrip()
        self._ends = [min(end, len(self.text)) for end in self._ends]
        self.finish_reason = reason
        self._cut_at_stop()

    def _sure(self) -> int:
        text = self.text.rstrip()
        held = 0
        for stop in self._request.stop:
            for length in range(1, len(stop)):
                if self.text.endswith(stop[:length]):
                    held = max(held, length)
        return min(len(text), len(self.text) - held)

    def _told(self, piece: Piece) -> dict[str, Any]:
        assert piece.token_id is not None
        told = piece.likeliest[: self._request.likeliest] if self._request.likeliest else ()
        return {
            **self._spelled(piece.token_id, piece.logprob),
            "top_logprobs": [self._spelled(*each) for each in told],
        }

    def _spelled(self, id: int, logprob: float) -> dict[str, Any]:
        text = self._tokenizer.spell(id)
        whole = list(text.encode()) if _HALF not in text else None
        value = max(logprob, _LEAST) if math.isfinite(logprob) else _LEAST
        return {"token": text, "logprob": value, "bytes": whole}
