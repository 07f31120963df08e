"""grpc: what the server says of its health (grpc.health.v1).

A probe is one request and one tiny answer on a connection of its own, so the few HTTP/2 frames it takes are written and
read here; only header compression is left to the library.
"""

from __future__ import annotations

import asyncio
import struct
from typing import cast
from urllib.parse import unquote

import hpack

from podwright.kubelet.probes.deadline import deadline
from podwright.kubelet.probes.outcomes import USER_AGENT, Outcome, Result, failure, host_port

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING, _GOAWAY, _CONTINUATION = 0, 1, 3, 4, 6, 7, 9
_END_STREAM, _ACK, _END_HEADERS, _PADDED, _PRIORITY = 0x1, 0x1, 0x4, 0x8, 0x20
_STATUSES = {0: "UNKNOWN", 1: "SERVING", 2: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}
_SERVING = 1
_CODES = (
    "OK", "Canceled", "Unknown", "InvalidArgument", "DeadlineExceeded", "NotFound", "AlreadyExists",
    "PermissionDenied", "ResourceExhausted", "FailedPrecondition", "Aborted", "OutOfRange", "Unimplemented",
    "Internal", "Unavailable", "DataLoss", "Unauthenticated",
)  # fmt: skip
_DEADLINE_EXCEEDED, _UNIMPLEMENTED = 4, 12
_RETRY = 1.0
"""gRPC's first delay before a connection is tried again."""


class _RpcFailed(Exception):
    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def _frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + payload


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _request(authority: str, service: str) -> bytes:
    headers = hpack.Encoder().encode(
        [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", "/grpc.health.v1.Health/Check"),
            (":authority", authority),
            ("content-type", "application/grpc"),
            ("user-agent", USER_AGENT),
            ("te", "trailers"),
        ],
        huffman=False,
    )
    raw = service.encode()
    message = b"\x0a" + _varint(len(raw)) + raw if raw else b""
    return (
        _PREFACE
        + _frame(_SETTINGS, 0, 0)
        + _frame(_HEADERS, _END_HEADERS, 1, headers)
        + _frame(_DATA, _END_STREAM, 1, b"\x00" + struct.pack(">I", len(message)) + message)
    )


def _status(message: bytes) -> int:
    """Field 1 of a HealthCheckResponse; 0 if it is not there."""
    if len(message) >= 2 and message[0] == 0x08:
        return message[1] & 0x7F
    return 0


class _Check(asyncio.Protocol):
    """One call of Check; `done` gets the serving status, or _RpcFailed."""

    def __init__(self, request: bytes, done: asyncio.Future[int]) -> None:
        self._request = request
        self._done = done
        self._data = bytearray()
        self._block = bytearray()
        self._message = bytearray()
        self._headers: dict[str, str] = {}
        self._decoder = hpack.Decoder()
        self._transport: asyncio.Transport | None = None
        self.settled = False
        """Whether the server has spoken HTTP/2 at all: gRPC counts only then as connected."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no asyncio.Transport.
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._data += data
        while len(self._data) >= 9:
            length = int.from_bytes(self._data[:3], "big")
            if length > 1 << 20:
                self._fail(14, "connection error: frame too large")
                return
            if len(self._data) < 9 + length:
                return
            kind, flags = self._data[3], self._data[4]
            stream = int.from_bytes(self._data[5:9], "big") & 0x7FFFFFFF
            payload = bytes(self._data[9 : 9 + length])
            del self._data[: 9 + length]
            self._read(kind, flags, stream, payload)

    def _read(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        assert self._transport is not None
        if kind == _SETTINGS:
            self.settled = True
            if not flags & _ACK:
                self._transport.write(_frame(_SETTINGS, _ACK, 0))
        elif kind == _PING and not flags & _ACK:
            self._transport.write(_frame(_PING, _ACK, 0, payload))
        elif kind == _GOAWAY:
            if int.from_bytes(payload[:4], "big") < 1:
                self._fail(14, "the server is going away")
        elif stream != 1:
            return
        elif kind in (_HEADERS, _CONTINUATION):
            if kind == _HEADERS:
                payload = _unpadded(flags, payload)
                if flags & _PRIORITY:
                    payload = payload[5:]
            self._block += payload
            if flags & _END_HEADERS:
                self._take_headers()
                if flags & _END_STREAM or "grpc-status" in self._headers:
                    self._finish()
        elif kind == _DATA:
            self._message += _unpadded(flags, payload)
            if flags & _END_STREAM:
                self._finish()
        elif kind == _RST_STREAM:
            self._fail(13, f"stream terminated by RST_STREAM with error code: {int.from_bytes(payload[:4], 'big')}")

    def _take_headers(self) -> None:
        try:
            for name, value in self._decoder.decode(bytes(self._block)):
                self._headers[str(name)] = str(value)
        except hpack.HPACKError as bad:
            self._fail(13, f"connection error: {bad}")
        self._block.clear()

    def _finish(self) -> None:
        http = self._headers.get(":status", "200")
        code = self._headers.get("grpc-status")
        if code is None:
            known = {"404": 12, "401": 16, "403": 7, "400": 13}
            self._fail(
                known.get(http, 14 if http in ("429", "502", "503", "504") else 2),
                f"unexpected HTTP status code received from server: {http}",
            )
        elif code != "0":
            self._fail(int(code) if code.isdecimal() else 2, unquote(self._headers.get("grpc-message", "")))
        elif not self._done.done():
            self._done.set_result(_status(bytes(self._message[5:])))

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(14, f"connection error: {exc or 'EOF'}")

    def _fail(self, code: int, message: str) -> None:
        if not self._done.done():
            self._done.set_exception(_RpcFailed(code, message))


def _unpadded(flags: int, payload: bytes) -> bytes:
    if flags & _PADDED and payload:
        return payload[1 : len(payload) - payload[0]]
    return payload


async def probe(host: str, port: int, service: str, timeout: float) -> Outcome:
    """Healthy if the server answers SERVING for `service` within `timeout` seconds, connection included."""
    address, loop = host_port(host, port), asyncio.get_running_loop()
    request, check = _request(address, service), None
    try:
        async with deadline(timeout):
            delay = _RETRY
            while True:
                done: asyncio.Future[int] = loop.create_future()
                check = _Check(request, done)
                try:
                    transport, _ = await loop.create_connection(_hand(check), host, port)
                except ConnectionError:
                    # As gRPC does, a refused connection is tried again as long as there is time.
                    await asyncio.sleep(delay)
                    delay *= 1.6
                    continue
                try:
                    status = await done
                    break
                finally:
                    transport.close()
    except TimeoutError:
        if check is None or not check.settled:
            return failure(
                f'timeout: failed to connect service "{address}" within {timeout:g}s: context deadline exceeded'
            )
        return failure(f"timeout: health rpc did not complete within {timeout:g}s")
    except OSError as failed:
        return failure(f'error: failed to connect service at "{address}": {failed}')
    except _RpcFailed as failed:
        return failure(_explain(failed))
    if status != _SERVING:
        return failure(f'service unhealthy (responded with "{_STATUSES.get(status, status)}")')
    return Outcome(Result.SUCCESS, "service healthy")


def _hand(check: _Check) -> type[asyncio.Protocol]:
    return lambda: check  # type: ignore[return-value]


def _explain(failed: _RpcFailed) -> str:
    if failed.code == _UNIMPLEMENTED:
        return (
            "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): "
            f"{failed}"
        )
    code = _CODES[failed.code] if failed.code < len(_CODES) else f"Code({failed.code})"
    return f"error: health rpc probe failed: rpc error: code = {code} desc = {failed}"
