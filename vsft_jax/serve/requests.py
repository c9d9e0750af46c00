"""A request's JSON to a conversation and its settings, refusing what OpenAI's server refuses.

Follows https://platform.openai.com/docs/api-reference/chat/create. What a request leaves out is as
`config.eval` says, so that a plain question is answered as in evaluation.
"""

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable, Mapping
from typing import Any

from ml_collections import ConfigDict

from input_pipeline.examples import MediaKind, MediaRef, Role, Turn
from vsft_jax.serve.errors import RequestError

MOST_LIKELIEST = 20  # of top_logprobs, as OpenAI has it
_MOST_STOPS = 4
_ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
}
_KINDS: dict[str, MediaKind] = {"image_url": "image", "video_url": "video"}
_READ = (
    *("messages", "model", "temperature", "top_p", "max_tokens", "max_completion_tokens"),
    *("stop", "seed", "stream", "stream_options", "logprobs", "top_logprobs"),
)
# They say nothing about the answer.
_IGNORED = (
    *("user", "metadata", "store", "service_tier", "safety_identifier"),
    *("prompt_cache_key", "prompt_cache_retention", "parallel_tool_calls"),
)
# Values that ask for nothing; any other is refused.
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "n": (1,),
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "logit_bias": ({},),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
    "tools": ([],),
    "functions": ([],),
    "tool_choice": ("none", "auto"),
    "function_call": ("none", "auto"),
    "reasoning_effort": (),
    "verbosity": (),
    "prediction": (),
    "audio": (),
    "web_search_options": (),
}

FindMedium = Callable[[MediaKind, str, str], MediaRef]  # kind, address, param


@dataclasses.dataclass(frozen=True)
class ChatRequest:
    """What is asked, and how it is to be answered.

    digest: tells requests apart. temperature: 0 takes the most likely token. seed: None for
    different draws each time. likeliest: alternatives that are told for each token. media: the
    address of each medium by the path that it was found at, as the client wrote it.
    """

    turns: tuple[Turn, ...]
    digest: str
    temperature: float
    top_p: float
    max_tokens: int
    stop: tuple[str, ...]
    seed: int | None
    stream: bool
    include_usage: bool
    logprobs: bool
    likeliest: int
    media: Mapping[str, str]


def parse_json(body: bytes) -> dict[str, Any]:
    """The object in a request. Raises RequestError."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RequestError(f"the body is not JSON: {error}", code="invalid_json") from error
    if not isinstance(found, dict):
        raise RequestError(f"the body is {found!r:.80}, not an object", code="invalid_json")
    return found


def read_request(
    body: Mapping[str, Any], config: ConfigDict, model: str, find_medium: FindMedium
) -> ChatRequest:
    """The request of a JSON object. model: the name that is served. find_medium: see `media`.

    Raises RequestError naming the parameter, its value and what is taken.
    """
    _check_names(body)
    _check_model(body, model)
    media: dict[str, str] = {}

    def find(kind: MediaKind, url: str, param: str) -> MediaRef:
        ref = find_medium(kind, url, param)
        media[ref.path] = url
        return ref

    temperature = _number(body, "temperature", config.eval.temperature, 0, 2)
    top_p = _number(body, "top_p", config.eval.top_p, 0, 1)
    stream = _flag(body, "stream")
    logprobs = _flag(body, "logprobs")
    likeliest = _whole(body, "top_logprobs", 0, 0, MOST_LIKELIEST)
    if likeliest and not logprobs:
        raise _wrong("top_logprobs", likeliest, "logprobs = true beside it")
    return ChatRequest(
        turns=_turns(body.get("messages"), find),
        digest=hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest(),
        # Either takes the most likely token only.
        temperature=temperature if top_p else 0.0,
        top_p=top_p if temperature and top_p else 1.0,
        max_tokens=_max_tokens(body, config.serve.max_tokens),
        stop=_stops(body.get("stop")),
        seed=_seed(body.get("seed")),
        stream=stream,
        include_usage=_include_usage(body.get("stream_options"), stream),
        logprobs=logprobs,
        likeliest=likeliest,
        media=media,
    )


# ── The conversation. ───────────────────────────────────────────────────────────────────────────


def _turns(messages: Any, find: FindMedium) -> tuple[Turn, ...]:
    if not isinstance(messages, list) or not messages:
        raise _wrong("messages", messages, "a list of at least one message")
    turns = tuple(_turn(each, f"messages[{i}]", find) for i, each in enumerate(messages))
    if turns[-1].role != "user":
        raise RequestError(
            f"messages[{len(turns) - 1}].role: the last message must be the user's, for an answer "
            "is begun here and not continued",
            param=f"messages[{len(turns) - 1}].role",
            code="unsupported_value",
        )
    if not turns[-1].parts:
        raise _wrong(f"messages[{len(turns) - 1}].content", "", "a text or a medium")
    return turns


def _turn(message: Any, param: str, find: FindMedium) -> Turn:
    if not isinstance(message, dict):
        raise _wrong(param, message, '{"role": …, "content": …}')
    speaker = message.get("role")
    role = _ROLES.get(speaker) if isinstance(speaker, str) else None
    if role is None:
        raise _wrong(f"{param}.role", speaker, f"one of {', '.join(_ROLES)}")
    content = message.get("content")
    if isinstance(content, str):
        content = [{"type": "text", "text": content}]
    if not isinstance(content, list):
        raise _wrong(f"{param}.content", content, "a text or a list of content parts")
    parts = [_part(each, f"{param}.content[{i}]", find, role) for i, each in enumerate(content)]
    return Turn(role, tuple(part for part in parts if part))


def _part(part: Any, param: str, find: FindMedium, role: Role) -> str | MediaRef:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind == "text":
        return _text(part.get("text"), f"{param}.text")
    if not isinstance(kind, str) or kind not in _KINDS:
        raise _wrong(f"{param}.type", kind, f"one of text, {', '.join(_KINDS)}")
    if role != "user":
        raise _wrong(f"{param}.type", kind, "text: only the user's messages have media")
    where = f"{param}.{kind}.url"
    named = part.get(kind)
    url = named.get("url") if isinstance(named, dict) else named
    return find(_KINDS[kind], _text(url, where), where)


def _text(value: Any, param: str) -> str:
    try:
        if isinstance(value, str) and value.encode() is not None:
            return value
    except UnicodeEncodeError:  # JSON can spell halves of characters
        pass
    raise _wrong(param, value, "a text")


# ── The settings. ───────────────────────────────────────────────────────────────────────────────


def _check_names(body: Mapping[str, Any]) -> None:
    for name, value in body.items():
        if name in _READ or name in _IGNORED or value is None:
            continue
        if name not in _NEUTRAL:
            raise RequestError(
                f"Unknown parameter: '{name}'.", param=name, code="unknown_parameter"
            )
        if isinstance(value, bool) or value not in _NEUTRAL[name]:
            taken = " or ".join(json.dumps(each) for each in _NEUTRAL[name]) or "none"
            raise RequestError(
                f"{name} = {value!r:.80} is not implemented here, only {taken}",
                param=name,
                code="unsupported_parameter",
            )


def _check_model(body: Mapping[str, Any], model: str) -> None:
    if body.get("model") is None:
        raise RequestError("you must provide a model parameter", param="model")
    if body["model"] != model:
        raise RequestError(
            f"the model {body['model']!r:.80} does not exist; here is {model!r}",
            param="model",
            code="model_not_found",
            status=404,
        )


def _number(body: Mapping[str, Any], name: str, default: float, least: int, most: int) -> float:
    value = body.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise _wrong(name, value, f"a number from {least} to {most}")
    if not least <= value <= most:
        raise _wrong(name, value, f"a number from {least} to {most}")
    return float(value)


def _whole(body: Mapping[str, Any], name: str, default: int, least: int, most: int) -> int:
    value = body.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise _wrong(name, value, f"a whole number from {least} to {most}")
    return value


def _max_tokens(body: Mapping[str, Any], most: int) -> int:
    names = [n for n in ("max_tokens", "max_completion_tokens") if body.get(n) is not None]
    if len(names) > 1:
        raise _wrong("max_tokens", body["max_tokens"], "max_completion_tokens alone")
    name = names[0] if names else "max_completion_tokens"
    if isinstance(body.get(name), int) and body[name] > most:
        raise _wrong(name, body[name], f"at most {most} (config.serve.max_tokens)")
    return _whole(body, name, most, 1, most)


def _stops(value: Any) -> tuple[str, ...]:
    found = [] if value is None else [value] if isinstance(value, str) else value
    if not isinstance(found, list) or len(found) > _MOST_STOPS or not all(found):
        raise _wrong("stop", value, f"a text, or a list of at most {_MOST_STOPS}")
    return tuple(_text(each, "stop") for each in found)


def _seed(value: Any) -> int | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
        raise _wrong("seed", value, "a whole number")
    return value


def _flag(body: Mapping[str, Any], name: str) -> bool:
    value = body.get(name)
    if value is not None and not isinstance(value, bool):
        raise _wrong(name, value, "true or false")
    return bool(value)


def _include_usage(options: Any, stream: bool) -> bool:
    if options is None:
        return False
    if not stream or not isinstance(options, dict):
        raise _wrong("stream_options", options, "an object, beside stream = true")
    return _flag(options, "include_usage")


def _wrong(param: str, value: Any, wanted: str) -> RequestError:
    return RequestError(
        f"{param} = {value!r:.80}: wanted {wanted}", param=param, code="invalid_value"
    )
