"""Answers as OpenAI's server gives them: a `chat.completion`, or the chunks of a stream."""

import contextlib
import json
import time
import uuid
from collections.abc import AsyncGenerator, Sequence
from typing import Any

from vsft_jax.inference import Piece
from vsft_jax.predict import what_was_shown
from vsft_jax.serve.engine import Engine, Prompt
from vsft_jax.serve.errors import RequestError, error_body
from vsft_jax.serve.transcript import Transcript


def completion(engine: Engine, prompt: Prompt, said: Transcript) -> dict[str, Any]:
    """A `chat.completion`, of an answer that has ended."""
    message = {"role": "assistant", "content": said.text, "refusal": None}
    choice = {
        "index": 0,
        "message": message,
        "logprobs": _logprobs(said.tokens),
        "finish_reason": said.finish_reason,
    }
    head = _head(engine, "chat.completion")
    return {**head, "choices": [choice], "usage": _usage(prompt, said), **_shown(engine, prompt)}


async def chunks(
    engine: Engine, prompt: Prompt, said: Transcript, rest: AsyncGenerator[Piece]
) -> AsyncGenerator[str]:
    """Server-sent events with `chat.completion.chunk`s, as soon as there is something to tell: the
    role, what each token adds, the end with what was shown, the usage where it is asked for.

    rest: what is said behind that which stands in `said`; closed with this. An error on the way is
    the last event.
    """
    head = _head(engine, "chat.completion.chunk")
    usage = {"usage": None} if prompt.request.include_usage else {}

    def chunk(delta: dict[str, Any], finish: str | None = None, **more: Any) -> str:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        choice["logprobs"] = more.pop("logprobs", None)
        return _event({**head, "choices": [choice], **usage, **more})

    async with contextlib.aclosing(rest):
        yield chunk({"role": "assistant", "content": "", "refusal": None})
        while True:
            text, tokens = said.take()
            if text or tokens:
                yield chunk({"content": text}, logprobs=_logprobs(tokens))
            if said.ended:
                break
            try:
                said.add(await anext(rest))
            except RequestError as error:
                yield _event(error_body(error.status, str(error), error.param, error.code))
                return
    yield chunk({}, said.finish_reason, **_shown(engine, prompt))
    if prompt.request.include_usage:
        yield _event({**head, "choices": [], "usage": _usage(prompt, said)})
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


def _usage(prompt: Prompt, said: Transcript) -> dict[str, int]:
    asked, told = prompt.layout.tokens, said.count
    return {"prompt_tokens": asked, "completion_tokens": told, "total_tokens": asked + told}


def _logprobs(tokens: Sequence[dict[str, Any]] | None) -> dict[str, Any] | None:
    return None if tokens is None else {"content": list(tokens), "refusal": None}


def _event(record: dict[str, Any]) -> str:
    return f"data: {json.dumps(record, ensure_ascii=False, separators=(',', ':'))}\n\n"
