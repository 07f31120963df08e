from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from grpclib.const import Status
from grpclib.exceptions import GRPCError
from grpclib.server import Server

from podwright.kubelet.probes import grpc, tcp
from podwright.kubelet.probes.http import HttpProbe
from podwright.kubelet.probes.outcomes import Outcome, ProbeErrored, Result


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Site:
    def __init__(self, port: int) -> None:
        self.port = port
        self.requests: list[web.BaseRequest] = []

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        self.requests.append(request)
        match request.path:
            case "/bad":
                return web.Response(status=500, text="broken")
            case "/there":
                return web.Response(status=302, headers={"Location": "/ok"})
            case "/to-bad":
                return web.Response(status=302, headers={"Location": "/bad"})
            case "/away":
                return web.Response(status=302, text="bye", headers={"Location": "http://example.invalid/"})
            case "/round":
                return web.Response(status=302, headers={"Location": "/round"})
            case "/slow":
                await asyncio.sleep(5)
            case "/chunks":
                response = web.StreamResponse()
                response.enable_chunked_encoding()
                await response.prepare(request)
                await response.write(b"one")
                await response.write_eof(b"two")
                return response
            case "/stuck":
                response = web.StreamResponse(headers={"Content-Length": "9"})
                await response.prepare(request)
                await response.write(b"one")
                await asyncio.sleep(5)
        return web.Response(text="ok")


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    made = Site(free_port())
    runner = web.ServerRunner(web.Server(made.answer), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", made.port).start()
    yield made
    await runner.cleanup()


async def get(site: Site, path: str, timeout: float = 30.0, **action: Any) -> Outcome:
    return await HttpProbe.of({"path": path, "port": site.port, **action}, {}, "127.0.0.1").run(timeout)


async def test_http_sends_what_upstream_sends(site: Site) -> None:
    headers = [{"name": "x-one", "value": "1"}, {"name": "Host", "value": "shop.example"}]
    outcome = await get(site, "health?deep=1", httpHeaders=headers)
    assert outcome == Outcome(Result.SUCCESS, "ok")
    request = site.requests[0]
    assert request.path_qs == "/health?deep=1"
    assert request.headers["User-Agent"] == "kube-probe/1.37"
    assert request.headers["Accept"] == "*/*"
    assert request.headers["X-One"] == "1"
    assert request.host == "shop.example"


@pytest.mark.parametrize(
    ("path", "result", "output"),
    [
        ("/bad", Result.FAILURE, "HTTP probe failed with statuscode: 500"),
        ("/there", Result.SUCCESS, "ok"),
        ("/to-bad", Result.FAILURE, "HTTP probe failed with statuscode: 500"),
        ("/away", Result.WARNING, "Probe terminated redirects, Response body: bye"),
        ("/chunks", Result.SUCCESS, "onetwo"),
    ],
)
async def test_http_outcomes(site: Site, path: str, result: Result, output: str) -> None:
    assert await get(site, path) == Outcome(result, output)


async def test_http_redirects_without_end_have_failed(site: Site) -> None:
    outcome = await get(site, "/round")
    assert outcome.result is Result.FAILURE and "stopped after 10 redirects" in outcome.output


async def test_http_time_out(site: Site) -> None:
    outcome = await get(site, "/slow", 0.5)
    url = f"http://127.0.0.1:{site.port}/slow"
    why = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
    assert outcome == Outcome(Result.FAILURE, f'Get "{url}": {why}')


async def test_http_body_that_does_not_come_says_nothing(site: Site) -> None:
    with pytest.raises(ProbeErrored):
        await get(site, "/stuck", 0.5)


async def test_refused_connections() -> None:
    port = free_port()
    refused = f"dial tcp 127.0.0.1:{port}: connect: connection refused"
    http = HttpProbe.of({"path": "/", "port": port}, {}, "127.0.0.1")
    assert await http.run(1) == Outcome(Result.FAILURE, f'Get "http://127.0.0.1:{port}/": {refused}')
    assert await tcp.probe("127.0.0.1", port, 1) == Outcome(Result.FAILURE, refused)
    assert await grpc.probe("127.0.0.1", port, "", 0.1) == Outcome(
        Result.FAILURE,
        f'timeout: failed to connect service "127.0.0.1:{port}" within 0.1s: context deadline exceeded',
    )


async def test_tcp_succeeds_where_something_listens(site: Site) -> None:
    assert (await tcp.probe("127.0.0.1", site.port, 1)).result is Result.SUCCESS


def test_named_ports_and_ipv6() -> None:
    ctr = {"ports": [{"name": "web", "containerPort": 8080}]}
    probe = HttpProbe.of({"path": "/a b", "port": "web", "scheme": "HTTPS"}, ctr, "fd00::1")
    assert probe.url == "https://[fd00::1]:8080/a%20b"
    with pytest.raises(ProbeErrored, match="invalid syntax"):
        HttpProbe.of({"port": "other"}, ctr, "10.0.0.1")


class Health:
    """grpc.health.v1 by hand: the answer's bytes, or the error that is raised."""

    def __init__(self, answer: bytes | GRPCError) -> None:
        self.answer = answer
        self.asked: list[bytes] = []

    async def check(self, stream: Any) -> None:
        self.asked.append(await stream.recv_message())
        self.agent = stream.metadata.get("user-agent") or stream.user_agent
        if isinstance(self.answer, GRPCError):
            raise self.answer
        await stream.send_message(self.answer)

    def __mapping__(self) -> dict[str, Any]:
        from grpclib.const import Cardinality, Handler

        return {"/grpc.health.v1.Health/Check": Handler(self.check, Cardinality.UNARY_UNARY, bytes, bytes)}


class Bytes:
    __content_subtype__ = "proto"

    def encode(self, message: bytes, kind: Any) -> bytes:
        return message

    def decode(self, data: bytes, kind: Any) -> bytes:
        return data


@contextlib.asynccontextmanager
async def serving(*handlers: Any) -> AsyncIterator[int]:
    server, port = Server(list(handlers), codec=Bytes()), free_port()  # type: ignore[arg-type]
    await server.start("127.0.0.1", port)
    try:
        yield port
    finally:
        server.close()
        await server.wait_closed()


async def test_grpc_healthy() -> None:
    health = Health(b"\x08\x01")
    async with serving(health) as port:
        assert await grpc.probe("127.0.0.1", port, "shop", 1) == Outcome(Result.SUCCESS, "service healthy")
    assert health.asked == [b"\x0a\x04shop"]
    assert health.agent == "kube-probe/1.37"


@pytest.mark.parametrize(
    ("answer", "output"),
    [
        (b"\x08\x02", 'service unhealthy (responded with "NOT_SERVING")'),
        (
            GRPCError(Status.NOT_FOUND, "unknown service"),
            "error: health rpc probe failed: rpc error: code = NotFound desc = unknown service",
        ),
    ],
)
async def test_grpc_unhealthy(answer: Any, output: str) -> None:
    async with serving(Health(answer)) as port:
        assert await grpc.probe("127.0.0.1", port, "", 1) == Outcome(Result.FAILURE, output)


async def test_grpc_without_health_service() -> None:
    async with serving() as port:
        outcome = await grpc.probe("127.0.0.1", port, "", 1)
    assert outcome.output.startswith("error: this server does not implement the grpc health protocol")


async def test_under_the_loop_that_nodes_run_on() -> None:
    """uvloop's transports are not asyncio's, and only its own loop shows what comes of that."""
    import uvloop

    async def all_kinds() -> list[Outcome]:
        made = Site(port := free_port())
        runner = web.ServerRunner(web.Server(made.answer))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        async with serving(Health(b"\x08\x01")) as health:
            found = [
                await get(made, "/"),
                await tcp.probe("127.0.0.1", port, 1),
                await grpc.probe("127.0.0.1", health, "", 1),
            ]
        await runner.cleanup()
        return found

    outcomes = await asyncio.to_thread(uvloop.run, all_kinds())
    assert [o.result for o in outcomes] == [Result.SUCCESS] * 3


@pytest.mark.parametrize("kind", ["http", "grpc"])
async def test_an_answer_that_waits_while_the_prober_is_kept_from_running_counts(kind: str) -> None:
    """The server's thread answers while the event loop stands still beyond the timeout."""
    answers = {
        "http": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        # SETTINGS; HEADERS :status 200; DATA: serving; HEADERS grpc-status: 0
        "grpc": bytes.fromhex(
            "000000040000000000" "000001010400000001" "88" "000007000000000001" "00000000020801"
            "00000f010500000001" "000b677270632d7374617475730130"
        ),
    }  # fmt: skip
    loop, standing = asyncio.get_running_loop(), threading.Event()

    def stand_still() -> None:
        standing.set()
        time.sleep(0.8)  # Standing still is the thing tested.

    def serve(listening: socket.socket) -> None:
        connection, _ = listening.accept()
        with connection:
            connection.recv(4096)
            loop.call_soon_threadsafe(stand_still)
            assert standing.wait(60)
            connection.sendall(answers[kind])
            connection.recv(4096)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        thread = threading.Thread(target=serve, args=(listening,))
        thread.start()
        if kind == "http":
            outcome = await HttpProbe.of({"port": port}, {}, "127.0.0.1").run(0.5)
        else:
            outcome = await grpc.probe("127.0.0.1", port, "", 0.5)
        await asyncio.to_thread(thread.join)
    assert outcome.result is Result.SUCCESS, outcome
