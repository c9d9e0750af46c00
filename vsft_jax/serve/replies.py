"""Answers as OpenAI's server gives them: a `chat.completion`, or the chunks of a stream."""

import dataclasses
import json
import math
import time
import uuid
from collections.abc import Iterator, Sequence
from typing import Any

from input_pipeline.text import ChatTokenizer
from vsft_jax.inference import Answer
from vsft_jax.predict import what_was_shown
from vsft_jax.serve.engine import Engine, Prompt
from vsft_jax.serve.requests import ChatRequest

_LEAST = -9999.0  # what OpenAI writes for a token that is all but impossible
_HALF = "\ufffd"  # of a character whose other bytes are in the next token


@dataclasses.dataclass(frozen=True)
class Completion:
    """An answer, cut to what was asked for.

    ends: for each of its tokens, how many characters of the text are there with it. tokens: the
    entries of "logprobs" for each, where they are asked for.
    """

    text: str
    ends: Sequence[int]
    tokens: Sequence[dict[str, Any]] | None
    finish_reason: str


def complete(request: ChatRequest, said: Answer, tokenizer: ChatTokenizer) -> Completion:
    """Cuts at max_tokens and at the first stop text, as if generation had ended there."""
    ids = said.token_ids[: request.max_tokens]
    finish = "length" if len(said.token_ids) >= request.max_tokens else "stop"
    text = said.text if len(ids) == len(said.token_ids) else tokenizer.decode(ids).strip()
    places = [at for at in (text.find(stop) for stop in request.stop) if at >= 0]
    if places:
        text, finish = text[: min(places)], "stop"
    ends = _ends(ids, text, tokenizer)
    kept = next((i for i, end in enumerate(ends) if end == len(text)), len(ids) - 1) + 1
    count = kept if places else len(ids)
    tokens = None
    if request.logprobs:
        tokens = [_token(request, said, place, tokenizer) for place in range(count)]
    return Completion(text, ends[:count], tokens, finish)


def completion(engine: Engine, prompt: Prompt, done: Completion) -> dict[str, Any]:
    """A `chat.completion`."""
    message = {"role": "assistant", "content": done.text, "refusal": None}
    choice = {
        "index": 0,
        "message": message,
        "logprobs": _logprobs(done.tokens),
        "finish_reason": done.finish_reason,
    }
    head = _head(engine, "chat.completion")
    return {**head, "choices": [choice], "usage": _usage(prompt, done), **_shown(engine, prompt)}


def chunks(engine: Engine, prompt: Prompt, done: Completion) -> Iterator[str]:
    """Server-sent events with `chat.completion.chunk`s: the role, a chunk for each token that
    completes a character, the end with what was shown, the usage where it is asked for."""
    head = _head(engine, "chat.completion.chunk")
    usage = {"usage": None} if prompt.request.include_usage else {}

    def chunk(delta: dict[str, Any], finish: str | None = None, **more: Any) -> str:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        choice["logprobs"] = more.pop("logprobs", None)
        return _event({**head, "choices": [choice], **usage, **more})

    yield chunk({"role": "assistant", "content": "", "refusal": None})
    begin = first = 0
    last = len(done.ends) - 1
    for place, end in enumerate(done.ends):
        if end == begin and place < last:
            continue
        told = done.tokens[first : place + 1] if done.tokens is not None else None
        yield chunk({"content": done.text[begin:end]}, logprobs=_logprobs(told))
        begin, first = end, place + 1
    yield chunk({}, done.finish_reason, **_shown(engine, prompt))
    if prompt.request.include_usage:
        yield _event({**head, "choices": [], "usage": _usage(prompt, done)})
    yield "data: [DONE]\n\n"


def model_card(engine: Engine, created: int) -> dict[str, Any]:
    """The entry of /v1/models."""
    about = {"frame_policy": engine.frame_policy, "step": engine.step}
    return {
        "id": engine.name,
        "object": "model",
        "created": created,
        "owned_by": "vsft-jax",
        "vsft": about,
    }


def _head(engine: Engine, kind: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{uuid.uuid4().hex}",
        "object": kind,
        "created": int(time.time()),
        "model": engine.name,
    }


def _shown(engine: Engine, prompt: Prompt) -> dict[str, Any]:
    """What is beyond OpenAI's fields: what was seen of the media, and why so much of it."""
    facts = what_was_shown(prompt.layout, prompt.why)
    frames = [len(times) for times in facts["timestamps"]]
    return {"vsft": {"frame_policy": engine.frame_policy, "frames": frames, **facts}}


def _usage(prompt: Prompt, done: Completion) -> dict[str, int]:
    asked, said = prompt.layout.tokens, len(done.ends)
    return {"prompt_tokens": asked, "completion_tokens": said, "total_tokens": asked + said}


def _logprobs(tokens: Sequence[dict[str, Any]] | None) -> dict[str, Any] | None:
    return None if tokens is None else {"content": list(tokens), "refusal": None}


def _token(
    request: ChatRequest, said: Answer, place: int, tokenizer: ChatTokenizer
) -> dict[str, Any]:
    best = said.likeliest[place][: request.likeliest] if request.likeliest else ()
    told = [_spelled(tokenizer, id, logprob) for id, logprob in best]
    return {
        **_spelled(tokenizer, said.token_ids[place], said.logprobs[place]),
        "top_logprobs": told,
    }


def _spelled(tokenizer: ChatTokenizer, id: int, logprob: float) -> dict[str, Any]:
    text = tokenizer.spell(id)
    whole = list(text.encode()) if _HALF not in text else None
    value = max(logprob, _LEAST) if math.isfinite(logprob) else _LEAST
    return {"token": text, "logprob": value, "bytes": whole}


def _ends(ids: Sequence[int], text: str, tokenizer: ChatTokenizer) -> list[int]:
    """For each token how many characters of the text stand there with it. A tokenizer may need
    the next token to know the character, so each beginning is decoded anew."""
    ends: list[int] = []
    for count in range(1, len(ids) + 1):
        there = tokenizer.decode(ids[:count]).lstrip().rstrip(_HALF)[: len(text)]
        end = len(there) if text.startswith(there) else 0
        ends.append(max([end, *ends[-1:]]))
    if ends:
        ends[-1] = len(text)
    return ends


def _event(record: dict[str, Any]) -> str:
    return f"data: {json.dumps(record, ensure_ascii=False, separators=(',', ':'))}\n\n"
