"""What the server does when it is full, late or broken: with a model in whose place a function
answers."""

import asyncio
import contextlib

import httpx
import pytest

from configs import default
from tests.vsft_jax.serve.stub_engine import SAID, StubEngine
from vsft_jax.serve.app import make_app
from vsft_jax.serve.errors import RequestError
from vsft_jax.serve.media import Allowed, find_medium


@contextlib.asynccontextmanager
async def _served(engine, **settings):
    config = default.get_config()
    config.serve.update(settings)
    app = make_app(engine, config, Allowed("", ()))
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            try:
                yield client
            finally:
                engine.go_on.set()


async def _ask(client, text, **options):
    body = {"model": "stub", "messages": [{"role": "user", "content": text}], **options}
    return await client.post("/v1/chat/completions", json=body, timeout=60)


async def _begun(engine):
    """The first batch is under way."""
    while not engine.batches:
        await asyncio.sleep(0.01)


async def _waiting(client, count):
    while (await client.get("/health")).json()["waiting"] != count:
        await asyncio.sleep(0.01)


def test_those_that_wait_and_are_alike_become_a_batch():
    async def check():
        engine = StubEngine()
        async with _served(engine) as client:
            first = asyncio.create_task(_ask(client, "first"))
            await _begun(engine)
            others = []
            for text, temperature in (("a", 0), ("b", 1), ("c", 0), ("d", 0)):
                others.append(asyncio.create_task(_ask(client, text, temperature=temperature)))
                await _waiting(client, len(others))
            engine.go_on.set()
            replies = await asyncio.gather(first, *others)
        assert all(r.json()["choices"][0]["message"]["content"] == SAID for r in replies)
        assert engine.batches == [["first"], ["a", "c"], ["b"], ["d"]]

    asyncio.run(check())


def test_more_than_may_wait_are_refused_and_the_rest_is_answered():
    async def check():
        engine = StubEngine()
        async with _served(engine, waiting=2) as client:
            tasks = [asyncio.create_task(_ask(client, "0"))]
            await _begun(engine)
            tasks += [asyncio.create_task(_ask(client, str(i))) for i in (1, 2)]
            await _waiting(client, 2)
            refused = await _ask(client, "3")
            assert refused.status_code == 429
            assert refused.json()["error"]["type"] == "rate_limit_error"
            assert "config.serve.waiting" in refused.json()["error"]["message"]
            engine.go_on.set()
            assert [r.status_code for r in await asyncio.gather(*tasks)] == [200] * 3

    asyncio.run(check())


def test_who_waits_too_long_is_told_and_not_answered():
    async def check():
        engine = StubEngine()
        async with _served(engine, timeout_s=1.0) as client:
            long = asyncio.create_task(_ask(client, "long"))
            await _begun(engine)
            late = await _ask(client, "late")
            assert late.status_code == (await long).status_code == 408
            assert "config.serve.timeout_s" in late.json()["error"]["message"]
            engine.go_on.set()
            assert (await _ask(client, "again")).status_code == 200
        assert engine.batches == [["long"], ["again"]]

    asyncio.run(check())


def test_a_batch_that_fails_is_an_error_of_its_requests_alone():
    async def check():
        engine = StubEngine()
        engine.go_on.set()
        async with _served(engine) as client:
            failed = await _ask(client, "fail")
            assert failed.status_code == 500 and failed.json()["error"]["type"] == "server_error"
            assert (await _ask(client, "why")).status_code == 200

    asyncio.run(check())


def test_a_fault_while_reading_is_an_error_too():
    async def check():
        engine = StubEngine()
        engine.go_on.set()
        lay_out, engine.lay_out = engine.lay_out, lambda _: 1 / 0
        async with _served(engine) as client:
            failed = await _ask(client, "why")
            assert failed.status_code == 500 and failed.json()["error"]["type"] == "server_error"
            engine.lay_out = lay_out
            assert (await _ask(client, "why")).status_code == 200

    asyncio.run(check())


@pytest.mark.parametrize(
    ("hosts", "url", "allowed"),
    [
        ((), "https://example.org/a.mp4", False),
        (("example.org",), "https://Example.org:8443/a.mp4", True),
        (("*.example.org",), "http://media.example.org/a.mp4", True),
        (("*.example.org",), "http://example.org/a.mp4", False),
        (("example.org",), "http://example.org@evil.net/a.mp4", False),
        (("example.org",), "http://evil.net/?example.org", False),
        (("*",), "http://evil.net/a.mp4", True),
        (("*",), "http:///a.mp4", False),
    ],
)
def test_addresses_are_of_hosts_that_are_allowed(tmp_path, hosts, url, allowed):
    if allowed:
        assert find_medium("video", url, Allowed("", hosts), tmp_path, "url").path == url
        return
    with pytest.raises(RequestError, match="config.serve.media_hosts"):
        find_medium("video", url, Allowed("", hosts), tmp_path, "url")
