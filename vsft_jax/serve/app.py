"""The routes: a request in, an answer or an error out, whatever happens in between."""

import asyncio
import contextlib
import functools
import tempfile
import time
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from pathlib import Path
from typing import Any, TypeVar

from ml_collections import ConfigDict
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from vsft_jax.inference import Piece
from vsft_jax.serve import replies
from vsft_jax.serve.batching import Batcher
from vsft_jax.serve.engine import Engine, Prompt
from vsft_jax.serve.errors import RequestError, error_body
from vsft_jax.serve.media import Allowed, find_medium
from vsft_jax.serve.requests import parse_json, read_request
from vsft_jax.serve.transcript import Transcript

Result = TypeVar("Result")


def make_app(engine: Engine, config: ConfigDict, allowed: Allowed) -> Starlette:
    """The ASGI application that answers with a model."""
    service = _Service(engine, config, allowed)
    routes = [
        Route("/v1/chat/completions", service.chat, methods=["POST"]),
        Route("/v1/models", service.models),
        Route("/v1/models/{name:path}", service.model),
        Route("/health", service.health),
    ]
    handlers: dict[Any, Any] = {
        RequestError: _refused,
        ClientDisconnect: _gone,
        HTTPException: _no_route,
        Exception: _fault,
    }
    return Starlette(routes=routes, exception_handlers=handlers, lifespan=service.lifespan)


class _Service:
    def __init__(self, engine: Engine, config: ConfigDict, allowed: Allowed):
        self._engine, self._config, self._allowed = engine, config, allowed
        self._created = int(time.time())
        self._batcher: Batcher[Prompt, Piece] = Batcher(
            engine.answer, engine.decoded, most=engine.most, waiting=config.serve.waiting
        )

    @contextlib.asynccontextmanager
    async def lifespan(self, app: Starlette) -> AsyncIterator[None]:
        """While the server runs."""
        work = asyncio.create_task(self._batcher.work())
        try:
            yield
        finally:
            work.cancel()
            await asyncio.to_thread(self._batcher.close)
            self._engine.close()

    async def chat(self, http: Request) -> Response:
        """POST /v1/chat/completions."""
        body = await _body(http, int(self._config.serve.max_request_mb * 1e6))
        self._batcher.check_room()
        begin, timeout = asyncio.get_running_loop().time(), self._config.serve.timeout_s
        # Media are decoded when the first token comes.
        with tempfile.TemporaryDirectory(prefix="vsft-request-") as folder:
            prompt, said, more = await _while_wanted(
                http, self._answer(body, Path(folder)), timeout
            )
        if prompt.request.stream:
            rest = _until(begin + timeout, more, timeout)
            return _Events(replies.chunks(self._engine, prompt, said, rest))
        return JSONResponse(replies.completion(self._engine, prompt, said))

    async def models(self, http: Request) -> Response:
        """GET /v1/models."""
        card = replies.model_card(self._engine, self._created)
        return JSONResponse({"object": "list", "data": [card]})

    async def model(self, http: Request) -> Response:
        """GET /v1/models/NAME."""
        name = http.path_params["name"]
        if name != self._engine.name:
            raise RequestError(
                f"the model {name!r:.80} does not exist; here is {self._engine.name!r}",
                param="model",
                code="model_not_found",
                status=404,
            )
        return JSONResponse(replies.model_card(self._engine, self._created))

    async def health(self, http: Request) -> Response:
        """GET /health."""
        return JSONResponse({"status": "ok", "waiting": self._batcher.waiting})

    async def _answer(
        self, body: bytes, folder: Path
    ) -> tuple[Prompt, Transcript, AsyncGenerator[Piece]]:
        """The whole answer; for a stream its first token, and the rest as it comes."""
        prompt = await asyncio.to_thread(self._read, body, folder)
        said = Transcript(prompt.request, self._engine.tokenizer)
        pieces = self._batcher.ask(prompt)
        try:
            said.add(await anext(pieces))
            while not (said.ended or prompt.request.stream):
                said.add(await anext(pieces))
        except BaseException:
            await pieces.aclose()
            raise
        if said.ended:
            await pieces.aclose()
        return prompt, said, pieces

    def _read(self, body: bytes, folder: Path) -> Prompt:
        find = functools.partial(_find, self._allowed, folder)
        request = read_request(parse_json(body), self._config, self._engine.name, find)
        return self._engine.lay_out(request)


class _Events(StreamingResponse):
    """Server-sent events that are closed with the response, also when the client leaves."""

    def __init__(self, events: AsyncGenerator[str]):
        headers = {"Cache-Control": "no-cache"}
        super().__init__(events, media_type="text/event-stream", headers=headers)
        self._events = events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with contextlib.aclosing(self._events):
            await super().__call__(scope, receive, send)


async def _until(
    deadline: float, pieces: AsyncGenerator[Piece], timeout_s: float
) -> AsyncGenerator[Piece]:
    """The pieces, closed with this. Raises RequestError when the time is over."""
    async with contextlib.aclosing(pieces):
        while True:
            try:
                async with asyncio.timeout_at(deadline):
                    piece = await anext(pieces)
            except TimeoutError:
                raise _late(timeout_s) from None
            yield piece


def _late(timeout_s: float) -> RequestError:
    return RequestError(
        f"no answer within {timeout_s:g} s (config.serve.timeout_s)", code="timeout", status=408
    )


def _find(allowed: Allowed, folder: Path, kind: Any, url: str, param: str) -> Any:
    return find_medium(kind, url, allowed, folder, param)


async def _body(http: Request, most: int) -> bytes:
    """What was sent, within the bound. Raises RequestError."""
    found = bytearray()
    async for piece in http.stream():
        found += piece
        if len(found) > most:
            raise RequestError(
                f"the request has more than {most} bytes (config.serve.max_request_mb)",
                code="request_too_large",
                status=413,
            )
    return bytes(found)


async def _while_wanted(
    http: Request, work: Coroutine[Any, Any, Result], timeout_s: float
) -> Result:
    """What `work` gives; it is cancelled when the client leaves or the time is over.

    Raises RequestError, and ClientDisconnect for a client that has left.
    """
    task = asyncio.create_task(work)
    gone = asyncio.create_task(_left(http))
    try:
        await asyncio.wait({task, gone}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        if gone.done():
            raise ClientDisconnect
        raise _late(timeout_s)
    finally:
        task.cancel()
        gone.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def _left(http: Request) -> None:
    while (await http.receive())["type"] != "http.disconnect":
        pass


# ── Errors. ─────────────────────────────────────────────────────────────────────────────────────


async def _refused(http: Request, error: RequestError) -> Response:
    body = error_body(error.status, str(error), error.param, error.code)
    return JSONResponse(body, error.status)


async def _gone(http: Request, error: Exception) -> Response:
    """To a client that has left: nobody reads it, and it is no fault to log."""
    return Response(status_code=499)


async def _no_route(http: Request, error: HTTPException) -> Response:
    message = f"{http.method} {http.url.path}: {error.detail}"
    return JSONResponse(
        error_body(error.status_code, message, None, None), error.status_code, error.headers
    )


async def _fault(http: Request, error: Exception) -> Response:
    """The traceback goes to the log; see `ServerErrorMiddleware`."""
    return JSONResponse(error_body(500, "a fault of the server: see its log", None, None), 500)
