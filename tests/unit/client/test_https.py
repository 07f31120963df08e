"""One client, several API servers: what is tried elsewhere, and what never twice."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from podwright.api.status import ApiError
from podwright.client import https
from podwright.client.https import HttpsTransport
from podwright.client.transport import Call, ServerUnreachable
from podwright.cluster.pki import Pki


class Fake:
    """An API server that counts, and fails as it is told."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.answer = 200
        self.hang_up = False
        self.hang = False
        self.ready = True
        self.url = ""
        self._runner: web.AppRunner | None = None

    async def start(self, tls: ssl.SSLContext, port: int = 0) -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", port, ssl_context=tls)
        await site.start()
        self.url = f"https://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        if self.hang:
            await asyncio.Event().wait()
        if request.path == "/readyz":
            return web.Response(status=200 if self.ready else 500)
        self.calls.append(request.method)
        if self.hang_up:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        if request.query.get("watch"):
            response = web.StreamResponse()
            await response.prepare(request)
            await response.write(b'{"type":"ADDED","object":{"metadata":{"name":"a"}}}\n')
            await asyncio.Event().wait()
        status = {"kind": "Status", "code": self.answer, "reason": "ServiceUnavailable", "message": "no"}
        return web.json_response(status if self.answer >= 400 else {"by": self.url}, status=self.answer)


@pytest.fixture
async def servers(tmp_path: Path) -> AsyncIterator[tuple[list[Fake], HttpsTransport]]:
    pki = Pki(tmp_path)
    pair = pki.server("s", "s", ["127.0.0.1"])
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(pair.certificate, pair.key)
    async with contextlib.AsyncExitStack() as stack:
        fakes = [Fake(), Fake()]
        for fake in fakes:
            await fake.start(tls)
            stack.push_async_callback(fake.stop)
        transport = HttpsTransport([f.url for f in fakes], ca_file=pki.ca.certificate)
        stack.push_async_callback(transport.aclose)
        yield fakes, transport


async def test_a_server_that_is_gone_is_left_and_not_returned_to(servers: tuple[list[Fake], HttpsTransport]) -> None:
    (one, two), transport = servers
    assert (await transport.call(Call("GET", "/x")))["by"] == one.url
    await one.stop()
    assert (await transport.call(Call("POST", "/x", body={})))["by"] == two.url
    assert (await transport.call(Call("GET", "/x")))["by"] == two.url


async def test_a_write_without_an_answer_is_not_repeated(servers: tuple[list[Fake], HttpsTransport]) -> None:
    (one, two), transport = servers
    one.hang_up = True
    with pytest.raises(ServerUnreachable):
        await transport.call(Call("POST", "/x", body={}))
    assert (len(one.calls), len(two.calls)) == (1, 0)
    assert (await transport.call(Call("POST", "/x", body={})))["by"] == two.url, "whoever tries again is answered"


async def test_a_server_that_lost_its_store_is_left(servers: tuple[list[Fake], HttpsTransport]) -> None:
    (one, two), transport = servers
    one.answer = 503
    with pytest.raises(ApiError):
        await transport.call(Call("GET", "/x"))
    assert len(two.calls) == 0, "it is ready: something behind it is not"
    one.ready = False
    assert (await transport.call(Call("GET", "/x")))["by"] == two.url
    one.answer, two.answer, two.ready = 200, 503, False
    with pytest.raises(ApiError):
        await transport.call(Call("POST", "/x", body={}))
    assert (await transport.call(Call("POST", "/x", body={})))["by"] == one.url
    one.answer, one.ready = 503, False
    with pytest.raises(ApiError):
        await transport.call(Call("GET", "/x"))


async def test_watches_end_with_the_server_that_others_left(servers: tuple[list[Fake], HttpsTransport]) -> None:
    (one, _), transport = servers
    watch = transport.watch(Call("GET", "/x"))
    assert (await anext(watch)).type == "ADDED"
    following = asyncio.ensure_future(anext(watch))
    await asyncio.sleep(0)
    one.answer, one.ready = 503, False
    await transport.call(Call("GET", "/y"))
    async with asyncio.timeout(60):
        with pytest.raises((ServerUnreachable, StopAsyncIteration)):
            await following


async def test_servers_can_be_learned_later(servers: tuple[list[Fake], HttpsTransport]) -> None:
    (one, two), transport = servers
    transport.servers = [one.url]
    await transport.call(Call("GET", "/x"))
    transport.servers = [two.url, one.url]
    assert (await transport.call(Call("GET", "/x")))["by"] == one.url, "a server that works is stayed with"
    with pytest.raises(ValueError, match="no server"):
        transport.servers = []


async def test_a_server_that_hangs_is_left_with_its_calls_and_watches(
    servers: tuple[list[Fake], HttpsTransport], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(https, "_SILENCE", 0.5)
    monkeypatch.setattr(https, "_FAILOVER_SECONDS", 0.5)
    (one, two), transport = servers
    watch, idle = transport.watch(Call("GET", "/x")), transport.watch(Call("GET", "/z"))
    await anext(watch)
    await anext(idle)
    quiet = asyncio.ensure_future(anext(idle))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1.2):
            await anext(watch)  # nothing comes, and the server answers
    assert not quiet.done()
    one.hang = True
    async with asyncio.timeout(60):
        with pytest.raises(ServerUnreachable):
            await transport.call(Call("POST", "/x", body={}))
        with pytest.raises((ServerUnreachable, StopAsyncIteration)):
            await quiet
        assert (await transport.call(Call("POST", "/x", body={})))["by"] == two.url
