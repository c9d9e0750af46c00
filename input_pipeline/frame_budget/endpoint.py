"""Asking a model behind an OpenAI-compatible endpoint (/chat/completions), over HTTP."""

import base64
import http.client
import json
import os
import random
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np

from input_pipeline.frame_budget.tools import ModelError, Refused

_RETRIED = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
_REFUSED = frozenset({400, 413, 415, 422})  # this question's fault; any other code is the set-up's
_LONGEST_WAIT_S = 60.0
_MOST_BYTES = 4 << 20
_JPEG_QUALITY = 90


class Endpoint:
    """An `Ask` over HTTP, for a canonical "judge" spec with a "url". Safe to share by threads.

    What may pass (an overloaded server, a lost connection, a timeout) is tried again, "attempts"
    times in all, after 1, 2, 4, … seconds or as long as the server says. At most "concurrency"
    requests are under way, and at most "requests_per_minute" start, evenly spaced.
    """

    def __init__(self, spec: Mapping[str, Any], *, first_wait_s: float = 1.0):
        """Raises ModelError where the environment lacks the API key."""
        self._spec = spec
        self._url = spec["url"].rstrip("/") + "/chat/completions"
        self._headers = {"Content-Type": "application/json"} | _authorization(spec)
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
        body = json.dumps(_request(self._spec, prompt, frames)).encode()
        with self._slots:
            return self._try(body)

    def _try(self, body: bytes) -> str:
        attempts = self._spec["attempts"]
        for attempt in range(attempts):
            self._pace.wait()
            asked_to_wait = None
            try:
                return _content(self._post(body))
            except urllib.error.HTTPError as error:
                problem, asked_to_wait = self._judge_status(error)
            except (OSError, http.client.HTTPException) as error:  # timeouts are OSErrors
                problem = f"{type(error).__name__}: {getattr(error, 'reason', error)}"
            except ValueError as error:
                problem = str(error)
            if attempt + 1 < attempts:
                wait = self._first_wait_s * 2**attempt * random.uniform(0.75, 1.25)
                wait = wait if asked_to_wait is None else asked_to_wait
                time.sleep(min(wait, _LONGEST_WAIT_S))
        raise ModelError(
            f"frame budget: the judge at 'url' {self._url} did not answer in {attempts} attempts, "
            f"last with {problem}. Answers so far are kept: prepare again when it is back, or "
            "raise 'timeout_s' and 'attempts' of the spec"
        )

    def _post(self, body: bytes) -> bytes:
        request = urllib.request.Request(self._url, body, self._headers, method="POST")
        with urllib.request.urlopen(request, timeout=self._spec["timeout_s"]) as response:
            return response.read(_MOST_BYTES)

    def _judge_status(self, error: urllib.error.HTTPError) -> tuple[str, float | None]:
        """What went wrong and for how long the server wants to be left alone, if trying again may
        help. Raises Refused or ModelError where it cannot."""
        with error:
            said = _excerpt(error)
        problem = f"status {error.code}: {said}"
        if error.code in _RETRIED:
            return problem, _seconds(error.headers.get("Retry-After"))
        if error.code in _REFUSED:
            raise Refused(problem) from error
        keys = {401: "'api_key_env'", 403: "'api_key_env'", 404: "'url' and 'model'"}
        named = keys.get(error.code, "'url'")
        raise ModelError(
            f"frame budget: the judge at 'url' {self._url} says {problem}; check {named} of the "
            f"spec (now {self._named(named)})"
        ) from error

    def _named(self, keys: str) -> str:
        spec = self._spec
        values = [spec[key.strip("'")] for key in keys.split(" and ")]
        return ", ".join(repr(value) for value in values)


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


def _authorization(spec: Mapping[str, Any]) -> dict[str, str]:
    name = spec["api_key_env"]
    if not name:
        return {}
    key = os.environ.get(name, "").strip()
    if not key:
        raise ModelError(
            f"frame budget: the judge's 'api_key_env' is {name!r}, and no environment variable of "
            f"that name is set: export {name}=…, or leave 'api_key_env' empty for a server that "
            "needs no key"
        )
    return {"Authorization": f"Bearer {key}"}


def _request(spec: Mapping[str, Any], prompt: str, frames: np.ndarray) -> dict[str, Any]:
    pictures = [{"type": "image_url", "image_url": {"url": _data_url(f)}} for f in frames]
    content = [*pictures, {"type": "text", "text": prompt}]
    body = {
        "model": spec["model"],
        "messages": [{"role": "user", "content": content}],
        "max_tokens": spec["max_tokens"],
        "temperature": 0.0,
    } | spec["request"]
    return {key: value for key, value in body.items() if value is not None}


def _data_url(frame: np.ndarray) -> str:
    """A JPEG of uint8[h, w, 3] RGB."""
    options = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
    _, data = cv2.imencode(".jpg", np.ascontiguousarray(frame[..., ::-1]), options)
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode("ascii")


def _content(body: bytes) -> str:
    """The text of a chat completion. Raises ValueError for anything else."""
    try:
        content = json.loads(body)["choices"][0]["message"]["content"]
    except (ValueError, LookupError, TypeError) as error:
        raise ValueError(f"no chat completion: {body[:200]!r}") from error
    # A model that ran out of tokens while thinking has said nothing: an answer, if a useless one.
    return content if isinstance(content, str) else ""


def _excerpt(error: urllib.error.HTTPError) -> str:
    try:
        return error.read(300).decode("utf-8", "replace").strip() or error.reason
    except OSError:
        return str(error.reason)


def _seconds(retry_after: str | None) -> float | None:
    """A Retry-After header in seconds; None where there is none, or it is a date."""
    try:
        return max(float(retry_after), 0.0) if retry_after else None
    except ValueError:
        return None
