"""Asking a model behind an OpenAI-compatible endpoint (/chat/completions), over HTTP."""

import base64
import json
import logging
import os
import random
import threading
import time
from collections.abc import Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from input_pipeline.frame_budget.tools import ModelError, Refused

if TYPE_CHECKING:  # an optional package
    import openai

_RETRIED = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
_REFUSED = frozenset({400, 413, 415, 422})  # this question's fault; any other code is the set-up's
_LONGEST_WAIT_S = 60.0
_JPEG_QUALITY = 90
_EXCERPT = 300  # characters of a reply that an error shows


class Endpoint:
    """An `Ask` over HTTP, for a canonical "judge" spec with a "url". Safe to share by threads.

    What may pass (an overloaded server, a lost connection, a timeout) is tried again, "attempts"
    times in all, after 1, 2, 4, … seconds or as long as the server says. At most "concurrency"
    requests are under way, and at most "requests_per_minute" start, evenly spaced. The client's own
    retries are off: they end after seconds, keep to no pace and take a proxy's page for an answer.
    """

    def __init__(self, spec: Mapping[str, Any], *, first_wait_s: float = 1.0):
        """Raises ModelError where the package `openai` or the API key is missing."""
        self._spec = spec
        self._openai = _package()
        key = _api_key(spec)
        self._client = self._openai.OpenAI(
            base_url=spec["url"],
            api_key=key or "none",  # without one the client takes OPENAI_API_KEY
            timeout=spec["timeout_s"],
            max_retries=0,
        )
        # The client would send what OPENAI_… variables hold; they are not meant for any server.
        unsent = ["OpenAI-Organization", "OpenAI-Project"] + ([] if key else ["Authorization"])
        self._headers = dict.fromkeys(unsent, self._openai.Omit())
        self._first_wait_s = first_wait_s
        self._slots = threading.BoundedSemaphore(spec["concurrency"])
        self._pace = Pace(spec["requests_per_minute"])

    @property
    def identity(self) -> str:
        """Of the model and of what is sent along; the address may change."""
        spec = self._spec
        return json.dumps([spec["model"], spec["max_tokens"], spec["request"]], sort_keys=True)

    def __call__(self, prompt: str, frames: np.ndarray, seconds: float) -> str:
        """The model's answer. Raises Refused and ModelError."""
        content = [{"type": "image_url", "image_url": {"url": _data_url(f)}} for f in frames]
        content.append({"type": "text", "text": prompt})
        with self._slots:
            return self._try(content)

    def _try(self, content: list[dict[str, Any]]) -> str:
        attempts = self._spec["attempts"]
        for attempt in range(attempts):
            self._pace.wait()
            asked_to_wait = None
            try:
                return self._ask(content)
            except self._openai.APIStatusError as error:
                problem, asked_to_wait = self._judge_status(error)
            except (self._openai.APIError, ValueError) as error:
                problem = f"{type(error).__name__}: {error.__cause__ or error}"
            if attempt + 1 < attempts:
                wait = self._first_wait_s * 2**attempt * random.uniform(0.75, 1.25)
                wait = wait if asked_to_wait is None else asked_to_wait
                time.sleep(min(wait, _LONGEST_WAIT_S))
        raise ModelError(
            f"frame budget: the judge at 'url' {self._address} did not answer in {attempts} "
            f"attempts, last with {problem}. Answers so far are kept: prepare again when it is "
            "back, or raise 'timeout_s' and 'attempts' of the spec"
        )

    def _ask(self, content: list[dict[str, Any]]) -> str:
        """One request. Raises the client's errors, and ValueError for no chat completion."""
        spec = self._spec
        parameters = {"max_tokens": spec["max_tokens"], "temperature": 0.0} | spec["request"]
        reply = self._client.chat.completions.create(
            model=spec["model"],
            messages=[{"role": "user", "content": content}],
            extra_headers=self._headers,
            # Not by name: "request" may add what the client does not know, or take out any of it.
            extra_body={key: value for key, value in parameters.items() if value is not None},
        )
        try:
            said = reply.choices[0].message.content
        except (AttributeError, LookupError, TypeError) as error:
            raise ValueError(f"no chat completion: {str(reply)[:_EXCERPT]!r}") from error
        # A model that ran out of tokens while thinking has said nothing: an answer, if useless.
        return said if isinstance(said, str) else ""

    def _judge_status(self, error: "openai.APIStatusError") -> tuple[str, float | None]:
        """What went wrong and for how long the server wants to be left alone, if trying again may
        help. Raises Refused or ModelError where it cannot."""
        response, code = error.response, error.status_code
        problem = f"status {code}: {response.text[:_EXCERPT].strip() or response.reason_phrase}"
        if code in _RETRIED:
            return problem, _seconds(response.headers.get("retry-after"))
        if code in _REFUSED:
            raise Refused(problem) from error
        keys = {401: ["api_key_env"], 403: ["api_key_env"], 404: ["url", "model"]}.get(
            code, ["url"]
        )
        raise ModelError(
            f"frame budget: the judge at 'url' {self._address} says {problem}; check "
            f"{' and '.join(map(repr, keys))} of the spec (now "
            f"{', '.join(repr(self._spec[key]) for key in keys)})"
        ) from error

    @property
    def _address(self) -> str:
        return f"{self._spec['url'].rstrip('/')}/chat/completions"


class Pace:
    """Lets callers through at most `per_minute` times a minute, evenly spaced; 0: at once."""

    def __init__(self, per_minute: float):
        self._interval = 60.0 / per_minute if per_minute else 0.0
        self._next = 0.0
        self._lock = threading.Lock()

    def wait(self) -> None:
        """Returns when it is the caller's turn."""
        if not self._interval:
            return
        with self._lock:
            now = time.monotonic()
            turn = max(self._next, now)
            self._next = turn + self._interval
        time.sleep(turn - now)


def _package() -> ModuleType:
    try:
        import openai
    except ImportError as error:
        raise ModelError(
            "frame budget: a judge with a 'url' is asked through the package openai, which is not "
            "installed: pip install openai"
        ) from error
    for library in ("httpx", "httpx2"):  # under the client, by version; each logs every request
        logging.getLogger(library).setLevel(logging.WARNING)
    return openai


def _api_key(spec: Mapping[str, Any]) -> str:
    name = spec["api_key_env"]
    key = os.environ.get(name, "").strip() if name else ""
    if name and not key:
        raise ModelError(
            f"frame budget: the judge's 'api_key_env' is {name!r}, and no environment variable of "
            f"that name is set: export {name}=…, or leave 'api_key_env' empty for a server that "
            "needs no key"
        )
    return key


def _data_url(frame: np.ndarray) -> str:
    """A JPEG of uint8[h, w, 3] RGB."""
    options = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    _, data = cv2.imencode(".jpg", np.ascontiguousarray(frame[..., ::-1]), options)
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode("ascii")


def _seconds(retry_after: str | None) -> float | None:
    """A Retry-After header in seconds; None where there is none, or it is a date."""
    try:
        return max(float(retry_after), 0.0) if retry_after else None
    except ValueError:
        return None
