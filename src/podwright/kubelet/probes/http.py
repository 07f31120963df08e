"""httpGet: whether a GET is answered with a code from 200 to 399.

One short-lived connection a probe, spoken on a bare transport: a whole HTTP client would cost more than all the rest
of a probe.
"""

from __future__ import annotations

import asyncio
import errno
import ssl
from dataclasses import dataclass, field
from functools import lru_cache
from typing import cast
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from podwright.api.objects import Object
from podwright.kubelet.probes.deadline import deadline
from podwright.kubelet.probes.outcomes import (
    MAX_OUTPUT,
    USER_AGENT,
    Outcome,
    ProbeErrored,
    Result,
    dial_error,
    failure,
    host_port,
    resolve_port,
)

_MAX_HEAD = 1 << 20
_MAX_REDIRECTS = 10
_REDIRECTS = (301, 302, 303, 307, 308)
_UNRESERVED = "/:@!$&'()*+,;=~%-._"


class _Broken(Exception):
    """The answer is none. The message is how Go's client says so."""


@dataclass(slots=True)
class _Answer:
    code: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


class _Exchange(asyncio.Protocol):
    """Sends one request; `done` gets the answer, with as much of its body as probes look at."""

    def __init__(self, request: bytes, done: asyncio.Future[_Answer]) -> None:
        self._request = request
        self._done = done
        self._data = bytearray()
        self._answer: _Answer | None = None
        self._body_at = 0
        self._length = -1
        self._chunked = False
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no asyncio.Transport.
        self.transport = cast(asyncio.Transport, transport)
        self.transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._data += data
        try:
            if self._answer is None and not self._head():
                return
        except _Broken as broken:
            self._fail(broken)
            return
        have = len(self._data) - self._body_at
        whole = self._data.endswith(b"0\r\n\r\n") if self._chunked else 0 <= self._length <= have
        if whole or have >= MAX_OUTPUT:
            self._finish()

    def _head(self) -> bool:
        """Reads status line and headers once they are all there; skips 1xx answers."""
        end = self._data.find(b"\r\n\r\n")
        if end < 0:
            if not b"HTTP/".startswith(self._data[:5]) or len(self._data) > _MAX_HEAD:
                raise _malformed(self._data)
            return False
        lines = self._data[:end].decode("latin-1").split("\r\n")
        version, _, rest = lines[0].partition(" ")
        if not version.startswith("HTTP/1.") or not rest[:3].isdecimal():
            raise _malformed(self._data)
        code = int(rest[:3])
        if 100 <= code < 200:
            del self._data[: end + 4]
            return self._head() if self._data else False
        answer = _Answer(code)
        for line in lines[1:]:
            name, _, value = line.partition(":")
            answer.headers[name.strip().lower()] = value.strip()
        self._answer, self._body_at = answer, end + 4
        self._chunked = "chunked" in answer.headers.get("transfer-encoding", "").lower()
        length = answer.headers.get("content-length", "")
        if code in (204, 304):
            self._length = 0
        elif length.isdecimal() and not self._chunked:
            self._length = int(length)
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        if self._done.done():
            return
        if self._answer is not None and self._length < 0 and not self._chunked and exc is None:
            self._finish()
        elif isinstance(exc, OSError) and exc.errno == errno.ECONNRESET:
            self._fail(_Broken("read: connection reset by peer"))
        else:
            self._fail(_Broken("unexpected EOF" if self._data else "EOF"))

    def _finish(self) -> None:
        answer = self._answer
        if answer is not None and not self._done.done():
            body = bytes(self._data[self._body_at : self._body_at + MAX_OUTPUT])
            answer.body = _dechunked(body) if self._chunked else body
            self._done.set_result(answer)

    def _fail(self, why: Exception) -> None:
        if not self._done.done():
            self._done.set_exception(why)

    @property
    def has_head(self) -> bool:
        return self._answer is not None


def _malformed(data: bytes | bytearray) -> _Broken:
    line = bytes(data).split(b"\r\n", 1)[0][:200].decode(errors="replace")
    return _Broken(f'net/http: HTTP/1.x transport connection broken: malformed HTTP response "{line}"')


def _dechunked(body: bytes) -> bytes:
    out = bytearray()
    while body:
        size, _, rest = body.partition(b"\r\n")
        try:
            length = int(size.split(b";")[0], 16)
        except ValueError:
            break
        if length == 0:
            break
        out += rest[:length]
        body = rest[length + 2 :]
    return bytes(out)


@lru_cache(maxsize=1)
def _tls() -> ssl.SSLContext:
    """Certificates of probed servers are not verified, as documented."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _canonical(name: str) -> str:
    return "-".join(part[:1].upper() + part[1:].lower() for part in name.split("-"))


@dataclass(frozen=True, slots=True)
class HttpProbe:
    """A prepared httpGet. `headers` without Host; `host_header` "" for the address."""

    url: str
    headers: tuple[tuple[str, str], ...]
    host_header: str

    @staticmethod
    def of(action: Object, ctr: Object, pod_ip: str) -> HttpProbe:
        """Raises ProbeErrored: there is no such port, or no address yet."""
        host = action.get("host") or pod_ip
        port = resolve_port(action.get("port"), ctr)
        if not host:
            raise ProbeErrored("the Pod has no IP address yet")
        parts = urlsplit(str(action.get("path") or ""))
        path = parts.path if parts.path.startswith("/") or not parts.path else "/" + parts.path
        scheme = str(action.get("scheme") or "HTTP").lower()
        query = f"?{quote(parts.query, safe=_UNRESERVED + '?/')}" if parts.query else ""
        url = f"{scheme}://{host_port(host, port)}{quote(path, safe=_UNRESERVED)}{query}"
        headers: list[tuple[str, str]] = []
        host_header = ""
        for entry in action.get("httpHeaders") or ():
            name, value = _canonical(str(entry["name"])), str(entry.get("value") or "")
            if name == "Host":
                host_header = host_header or value
            else:
                headers.append((name, value))
        names = {name for name, _ in headers}
        if "User-Agent" not in names:
            headers.append(("User-Agent", USER_AGENT))
        if "Accept" not in names:
            headers.append(("Accept", "*/*"))
        else:
            headers = [(n, v) for n, v in headers if n != "Accept" or v]
        return HttpProbe(url, tuple(headers), host_header)

    async def run(self, timeout: float) -> Outcome:
        """Follows redirects as long as they stay on the host; one that leads elsewhere is a warning, and passes.

        Raises:
            ProbeErrored: the body of the answer did not come.
        """
        url, began = self.url, urlsplit(self.url)
        progress: list[_Exchange] = []
        try:
            async with deadline(timeout):
                for _ in range(_MAX_REDIRECTS):
                    answer = await self._get(urlsplit(url), progress, first=url is self.url)
                    location = answer.headers.get("location", "")
                    if answer.code not in _REDIRECTS or not location:
                        break
                    target = urljoin(url, location)
                    if urlsplit(target).hostname != began.hostname:
                        break
                    url = target
                else:
                    return failure(f'Get "{url}": stopped after {_MAX_REDIRECTS} redirects')
        except _Broken as broken:
            return failure(f'Get "{url}": {broken}')
        except TimeoutError:
            if progress and progress[-1].has_head:
                why = "context deadline exceeded (Client.Timeout or context cancellation while reading body)"
                raise ProbeErrored(why) from None
            return failure(
                f'Get "{url}": context deadline exceeded (Client.Timeout exceeded while awaiting headers)'
            )
        if 300 <= answer.code < 400:
            body = answer.body.decode(errors="replace")
            return Outcome(Result.WARNING, f"Probe terminated redirects, Response body: {body}")
        if 200 <= answer.code < 400:
            return Outcome(Result.SUCCESS, answer.body.decode(errors="replace"))
        return failure(f"HTTP probe failed with statuscode: {answer.code}")

    async def _get(self, url: SplitResult, progress: list[_Exchange], *, first: bool) -> _Answer:
        host, secure = url.hostname or "", url.scheme == "https"
        try:
            port = url.port or (443 if secure else 80)
        except ValueError as bad:
            raise _Broken(str(bad)) from bad
        target = (url.path or "/") + (f"?{url.query}" if url.query else "")
        said = self.host_header if first and self.host_header else url.netloc
        lines = [f"GET {target} HTTP/1.1", f"Host: {said}", *(f"{n}: {v}" for n, v in self.headers)]
        request = ("\r\n".join(lines) + "\r\nConnection: close\r\n\r\n").encode("utf-8", "replace")
        loop = asyncio.get_running_loop()
        done: asyncio.Future[_Answer] = loop.create_future()
        exchange = _Exchange(request, done)
        try:
            if secure:
                name = self.host_header.partition(":")[0] or host
                await loop.create_connection(lambda: exchange, host, port, ssl=_tls(), server_hostname=name)
            else:
                await loop.create_connection(lambda: exchange, host, port)
        except TimeoutError:
            raise
        except ssl.SSLError as failed:
            plain = "WRONG_VERSION_NUMBER" in str(failed) or "HTTP_REQUEST" in str(failed)
            why = "http: server gave HTTP response to HTTPS client" if plain else f"tls: {failed.reason}"
            raise _Broken(why) from failed
        except ConnectionResetError as failed:
            raise _Broken("read: connection reset by peer") from failed
        except OSError as failed:
            raise _Broken(dial_error(host, port, failed)) from failed
        progress.append(exchange)
        try:
            return await done
        finally:
            if exchange.transport is not None:
                exchange.transport.close()
