"""Streams over a real connection, with OpenAI's client: each token is sent when it is there."""

import asyncio
import contextlib
import socket

import openai
import pytest
import uvicorn

from configs import default
from tests.vsft_jax.serve.stub_engine import SAID, StubEngine
from vsft_jax.serve.app import make_app
from vsft_jax.serve.media import Allowed


@contextlib.asynccontextmanager
async def _client(engine, **settings):
    config = default.get_config()
    config.serve.update(settings)
    app = make_app(engine, config, Allowed("", ()))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        running = asyncio.create_task(server.serve([listening]))
        address = f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
        async with openai.AsyncOpenAI(
            base_url=address, api_key="none", max_retries=0, timeout=60
        ) as client:
            try:
                yield client
            finally:
                engine.go_on.set()
                engine.go_on_again.set()
                server.should_exit = True
                await running


def _stream(client, text, **options):
    messages = [{"role": "user", "content": text}]
    return client.chat.completions.create(model="stub", messages=messages, stream=True, **options)


async def _left_off(engine):
    while engine.left_off is None:
        await asyncio.sleep(0.01)


def test_tokens_are_sent_before_the_answer_is_complete():
    async def check():
        engine = StubEngine()
        engine.go_on.set()
        async with _client(engine) as client:
            said = ""
            async for event in await _stream(client, "slow"):
                said += event.choices[0].delta.content or ""
                if said == "yesyes":  # the model waits for this
                    engine.go_on_again.set()
            assert said == SAID and engine.left_off is None

    asyncio.run(check())


def test_nothing_is_computed_for_a_client_that_leaves():
    async def check():
        engine = StubEngine()
        engine.go_on.set()
        async with _client(engine) as client:
            events = await _stream(client, "slow")
            async for event in events:
                if event.choices[0].delta.content:
                    break
            await events.close()
            await asyncio.sleep(0.2)
            engine.go_on_again.set()
            await asyncio.wait_for(_left_off(engine), 30)
            assert engine.left_off < 5

    asyncio.run(check())


@pytest.mark.parametrize(
    ("options", "said", "why"),
    [({"max_tokens": 2}, "yesyes", "length"), ({"stop": "ye", "max_tokens": 9}, "", "stop")],
)
def test_nothing_is_computed_behind_the_end_of_a_request(options, said, why):
    async def check():
        engine = StubEngine()
        engine.go_on.set()
        async with _client(engine) as client:
            events = [event async for event in await _stream(client, "slow", **options)]
            engine.go_on_again.set()
            await asyncio.wait_for(_left_off(engine), 30)
        assert "".join(event.choices[0].delta.content or "" for event in events) == said
        assert events[-1].choices[0].finish_reason == why

    asyncio.run(check())


@pytest.mark.parametrize(
    ("text", "settings", "message"),
    [("fail later", {}, "see the server's log"), ("slow", {"timeout_s": 0.5}, "timeout_s")],
)
def test_what_goes_wrong_on_the_way_is_the_last_event(text, settings, message):
    async def check():
        engine = StubEngine()
        engine.go_on.set()
        async with _client(engine, **settings) as client:
            said = ""
            with pytest.raises(openai.APIError, match=message):
                async for event in await _stream(client, text):
                    said += event.choices[0].delta.content or ""
            assert said == "yesyes"

    asyncio.run(check())


def test_what_goes_wrong_before_the_first_token_is_a_status():
    async def check():
        engine = StubEngine()
        engine.go_on.set()
        async with _client(engine) as client:
            with pytest.raises(openai.InternalServerError, match="see the server's log"):
                await _stream(client, "fail")

    asyncio.run(check())
