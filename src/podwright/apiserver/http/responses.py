"""Responses written straight to the connection: one head and one body, without header dictionaries."""

from __future__ import annotations

from email.utils import formatdate
from http import HTTPStatus
from typing import Any

from aiohttp import web

_REASONS = {status.value: status.phrase for status in HTTPStatus}


class _Date:
    """The Date header, made once a second."""

    def __init__(self) -> None:
        self._second = -1
        self._text = ""

    def at(self, now: float) -> str:
        second = int(now)
        if second != self._second:
            self._second = second
            self._text = formatdate(second, usegmt=True)
        return self._text


date = _Date()


def warning_header(text: str) -> str:
    """RFC 9111's warn-value with code 299, as upstream sends warnings."""
    clean = "".join(c if c.isprintable() else " " for c in text)[:4096]
    quoted = clean.replace("\\", "\\\\").replace('"', '\\"')
    return f'299 - "{quoted}"'


def head(status: int, headers: list[tuple[str, str]], now: float) -> bytes:
    lines = [f"HTTP/1.1 {status} {_REASONS.get(status, 'Unknown')}"]
    lines += [f"{name}: {_clean(value)}" for name, value in headers]
    lines.append(f"Date: {date.at(now)}")
    return ("\r\n".join(lines) + "\r\n").encode("utf-8", "replace")


def _clean(value: str) -> str:
    return value.replace("\r", " ").replace("\n", " ") if "\n" in value or "\r" in value else value


class Finished:
    """A whole response as bytes. aiohttp only ever calls ``prepare`` and ``write_eof`` on a handler's result and reads
    ``keep_alive``; that is all this class offers."""

    __slots__ = ("_body", "_head", "keep_alive", "status")

    def __init__(self, status: int, head: bytes, body: bytes, keep_alive: bool) -> None:
        self.status = status
        self.keep_alive = keep_alive
        self._head = head
        self._body = body

    async def prepare(self, request: web.BaseRequest) -> None:
        writer = request._payload_writer
        transport = writer.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client is gone")
        body = self._body
        end = b"" if self.keep_alive else b"Connection: close\r\n"
        first = b"%b%bContent-Length: %d\r\n\r\n" % (self._head, end, len(body))
        if request.method == "HEAD":
            transport.write(first)
            return
        if len(body) < 65536:
            transport.write(first + body)
            return
        transport.write(first)
        transport.write(body)
        await writer.drain()

    async def write_eof(self) -> None:
        """All was written by prepare."""


def finished_request(request: Any) -> Finished:
    """For a handler that has written and ended its own response."""
    return Finished(0, b"", b"", False)
