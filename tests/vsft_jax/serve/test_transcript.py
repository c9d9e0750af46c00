"""What of an answer is told, and when."""

import dataclasses
import types

import pytest

from vsft_jax.inference import Piece
from vsft_jax.serve.requests import ChatRequest
from vsft_jax.serve.transcript import Transcript

REQUEST = ChatRequest((), "", 0.0, 1.0, 99, (), None, True, False, True, 0, {})
WORDS = {1: b" a", 2: b" b", 3: b"c", 4: "\u20ac".encode()[:2], 5: "\u20ac".encode()[2:], 6: b" "}
CHAT = types.SimpleNamespace(
    decode=lambda ids: b"".join(WORDS[i] for i in ids).decode(errors="replace"),
    spell=lambda id: WORDS[id].decode(errors="replace"),
)


def _said(ids, end=True, **changes):
    """(what was sent after each token, the transcript)."""
    said = Transcript(dataclasses.replace(REQUEST, **changes), CHAT)
    sent = []
    for id in [*ids, *([None] if end else [])]:
        if said.ended:
            break
        said.add(Piece(0, id))
        sent.append(said.take())
    return sent, said


@pytest.mark.parametrize(
    ("ids", "changes", "texts", "text", "count", "why"),
    [
        ((1, 2, 3), {}, ["a", " b", "c", ""], "a bc", 3, "stop"),
        ((1, 4, 5), {}, ["a", "", "\u20ac", ""], "a\u20ac", 3, "stop"),
        ((1, 6, 2), {}, ["a", "", "  b", ""], "a  b", 3, "stop"),
        ((1, 6), {}, ["a", "", ""], "a", 2, "stop"),
        ((1, 4), {}, ["a", "", "\ufffd"], "a\ufffd", 2, "stop"),
        ((1, 2, 3), {"max_tokens": 2}, ["a", " b"], "a b", 2, "length"),
        ((1, 2, 3), {"stop": ("bc",)}, ["a", "", " "], "a ", 2, "stop"),
        ((1, 2, 1), {"stop": ("bc",)}, ["a", "", " b a", ""], "a b a", 3, "stop"),
        ((1, 2, 3), {"stop": ("a",)}, [""], "", 1, "stop"),
        ((), {}, [""], "", 0, "stop"),
    ],
)
def test_what_is_sent_is_sure(ids, changes, texts, text, count, why):
    sent, said = _said(ids, **changes)
    assert [each for each, _ in sent] == texts
    assert (said.text, said.count, said.finish_reason) == (text, count, why)
    told = [token for _, tokens in sent if tokens for token in tokens]
    assert told == said.tokens and len(told) == count


def test_the_text_is_that_of_all_tokens_together():
    ids = [1, 4, 5, 4, 3, 6, 2, 4, 4, 5, 1, 6]
    sent, said = _said(ids)
    assert "".join(text for text, _ in sent) == said.text == CHAT.decode(ids).strip()
