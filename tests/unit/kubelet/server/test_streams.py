"""exec and port-forward over both transports, against a real HTTP server and a process that is none."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from podwright.kubelet.server import port_forward, remote_command
from podwright.runtime.protocol import RuntimeFailure
from podwright.runtime.spdy.frames import RST_STREAM, Decoder, Encoder, ProtocolError


class Echo:
    """A session that writes back its input in upper case and ends with a code."""

    def __init__(self, code: int = 0) -> None:
        self.code = code
        self.out: asyncio.Queue[bytes] = asyncio.Queue()
        self.ended = asyncio.Event()
        self.sizes: list[tuple[int, int]] = []
        self.closed = False

    async def write_stdin(self, data: bytes) -> None:
        await self.out.put(data.upper())

    async def close_stdin(self) -> None:
        await self.out.put(b"")
        self.ended.set()

    async def read_stdout(self) -> bytes:
        return await self.out.get()

    async def read_stderr(self) -> bytes:
        return b""

    async def resize(self, width: int, height: int) -> None:
        self.sizes.append((width, height))

    async def wait(self) -> int:
        await self.ended.wait()
        return self.code

    async def aclose(self) -> None:
        self.closed = True


@pytest.fixture
async def serve() -> AsyncIterator[Callable[[Callable[[web.Request], Awaitable[web.StreamResponse]]], Awaitable[int]]]:
    runners = []

    async def start(handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> int:
        runner = web.ServerRunner(web.Server(handler), shutdown_timeout=0.1)
        runners.append(runner)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        return site._server.sockets[0].getsockname()[1]

    yield start
    for runner in runners:
        await runner.cleanup()


def command(session: Any, *, tty: bool = False) -> Any:
    async def start() -> Any:
        if isinstance(session, Exception):
            raise session
        return session

    return lambda r: remote_command.serve(r, start, stdin=True, stdout=True, stderr=True, tty=tty)


@pytest.mark.parametrize(("code", "status"), [(0, "Success"), (7, "Failure")])
async def test_exec_over_websocket_channels(serve: Any, code: int, status: str) -> None:
    session = Echo(code)
    port = await serve(command(session, tty=True))
    async with aiohttp.ClientSession() as client:
        async with client.ws_connect(f"http://127.0.0.1:{port}/", protocols=("v5.channel.k8s.io",)) as ws:
            await ws.send_bytes(b'\x04{"Width":80,"Height":24}')
            await ws.send_bytes(b"\x00hello")
            assert await ws.receive_bytes() == b"\x01HELLO"
            await ws.send_bytes(b"\xff\x00")
            end = await ws.receive_bytes()
    assert end[0] == 3
    told = json.loads(end[1:])
    assert told["status"] == status
    if code:
        assert told["reason"] == "NonZeroExitCode"
        assert told["details"]["causes"] == [{"reason": "ExitCode", "message": "7"}]
    assert session.sizes == [(80, 24)] and session.closed


async def test_a_command_that_cannot_start_is_told_on_the_error_channel(serve: Any) -> None:
    port = await serve(command(RuntimeFailure("no such file")))
    async with aiohttp.ClientSession() as client:
        async with client.ws_connect(f"http://127.0.0.1:{port}/", protocols=("v4.channel.k8s.io",)) as ws:
            told = json.loads((await ws.receive_bytes())[1:])
    assert "no such file" in told["message"] and told["status"] == "Failure"


async def test_a_client_that_goes_away_ends_the_session(serve: Any) -> None:
    session = Echo()
    port = await serve(command(session))
    async with aiohttp.ClientSession() as client:
        ws = await client.ws_connect(f"http://127.0.0.1:{port}/", protocols=("v5.channel.k8s.io",))
        await ws.close()
    async with asyncio.timeout(60):
        while not session.closed:
            await asyncio.sleep(0.005)


class SpdyClient:
    def __init__(self, read: Callable[[], Awaitable[bytes]], write: Callable[[bytes], Awaitable[None]]) -> None:
        self._read, self.write = read, write
        self.encoder, self.decoder = Encoder(), Decoder()
        self.data: dict[int, bytes] = {}
        self.ended: set[int] = set()
        self.reset: set[int] = set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not condition():
                chunk = await self._read()
                assert chunk, "the server closed the connection"
                for frame in self.decoder.feed(chunk):
                    if frame.kind == 0:
                        self.data[frame.stream] = self.data.get(frame.stream, b"") + frame.data
                        if frame.fin:
                            self.ended.add(frame.stream)
                    elif frame.kind == RST_STREAM:
                        self.reset.add(frame.stream)


async def spdy(port: int, protocol: str) -> tuple[SpdyClient, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        f"POST / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n"
        f"X-Stream-Protocol-Version: {protocol}\r\nContent-Length: 0\r\n\r\n".encode()
    )
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 ") and protocol.encode() in head

    async def write(data: bytes) -> None:
        writer.write(data)
        await writer.drain()

    return SpdyClient(lambda: reader.read(65536), write), writer


async def test_exec_over_spdy(serve: Any) -> None:
    port = await serve(command(Echo(3)))
    client, writer = await spdy(port, "v4.channel.k8s.io")
    for identity, kind in ((1, "error"), (3, "stdin"), (5, "stdout"), (7, "stderr")):
        await client.write(client.encoder.syn_stream(identity, {"streamType": kind}))
    await client.write(client.encoder.data(3, b"hello", fin=True))
    await client.until(lambda: {1, 5} <= client.ended)
    assert client.data[5] == b"HELLO"
    assert json.loads(client.data[1])["details"]["causes"][0]["message"] == "3"
    writer.close()


async def dial_upper(port: int) -> tuple[Any, Any]:
    if port != 80:
        raise RuntimeFailure(f"connection refused to {port}")

    async def upper(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data.upper())
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(upper, "127.0.0.1", 0)
    async with server:
        return await asyncio.open_connection(*server.sockets[0].getsockname())


async def exchange(client: SpdyClient) -> None:
    blob = random.Random(1).randbytes(300_000).hex().encode()
    for pair, (target, base) in enumerate((("80", 1), ("80", 5), ("81", 9))):
        for identity, kind in ((base, "error"), (base + 2, "data")):
            headers = {"streamtype": kind, "port": target, "requestid": str(pair)}
            await client.write(client.encoder.syn_stream(identity, headers))
    await client.write(client.encoder.data(3, b"first", fin=True))
    for at in range(0, len(blob), 30_000):
        await client.write(client.encoder.data(7, blob[at : at + 30_000], fin=at + 30_000 >= len(blob)))
    await client.until(lambda: {1, 3, 5, 7, 9, 11} <= client.ended)
    assert client.data[3] == b"FIRST"
    assert client.data[7] == blob.upper()
    assert b"an error occurred forwarding 81: connection refused" in client.data[9]


async def test_port_forward_over_spdy_many_at_once(serve: Any) -> None:
    port = await serve(lambda r: port_forward.serve(r, dial_upper))
    client, writer = await spdy(port, "portforward.k8s.io")
    await exchange(client)
    writer.close()


async def test_port_forward_tunnelled_in_a_websocket(serve: Any) -> None:
    port = await serve(lambda r: port_forward.serve(r, dial_upper))
    async with aiohttp.ClientSession() as http:
        protocol = "SPDY/3.1+portforward.k8s.io"
        async with http.ws_connect(f"http://127.0.0.1:{port}/", protocols=(protocol,)) as ws:
            await exchange(SpdyClient(ws.receive_bytes, ws.send_bytes))


async def test_port_forward_over_channels(serve: Any) -> None:
    """Two channels a port, which begin with its number; text ones carry base64."""
    port = await serve(lambda r: port_forward.serve(r, dial_upper))
    async with aiohttp.ClientSession() as http:
        async with http.ws_connect(f"http://127.0.0.1:{port}/?port=80,81", protocols=("v4.channel.k8s.io",)) as ws:
            first = [await ws.receive_bytes() for _ in range(5)]
            assert sorted(first)[:4] == [b"\x00\x50\0", b"\x01\x50\0", b"\x02\x51\0", b"\x03\x51\0"]
            assert first[-1].startswith(b"\x03an error occurred forwarding 81: connection refused")
            await ws.send_bytes(b"\0hello")
            assert await ws.receive_bytes() == b"\0HELLO"
        async with http.ws_connect(f"http://127.0.0.1:{port}/?port=80", protocols=("v4.base64.channel.k8s.io",)) as ws:
            assert [await ws.receive_str() for _ in range(2)] == ["0UAA=", "1UAA="]
            await ws.send_str("0aGVsbG8=")
            assert await ws.receive_str() == "0SEVMTE8="
        for query in ("", "?port=0", "?port=x"):
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await http.ws_connect(f"http://127.0.0.1:{port}/{query}")
            assert refused.value.status == 400


def test_frames_survive_any_cut_and_nonsense_is_refused() -> None:
    encoder = Encoder()
    wire = encoder.syn_stream(1, {"a": "b"}) + encoder.data(1, b"x" * 1000, fin=True) + encoder.ping(b"\0\0\0\1")
    for size in (1, 7, 4096):
        decoder = Decoder()
        frames = [f for at in range(0, len(wire), size) for f in decoder.feed(wire[at : at + size])]
        assert [f.kind for f in frames] == [1, 0, 6]
        assert frames[0].headers == {"a": "b"} and frames[1].fin
    with pytest.raises(ProtocolError):
        Decoder().feed(b"\x80\x02\x00\x01\x00\x00\x00\x00")
    with pytest.raises(ProtocolError):
        Decoder().feed(b"\x80\x03\x00\x01\x00\x00\x00\x0c" + b"\x00" * 12)
