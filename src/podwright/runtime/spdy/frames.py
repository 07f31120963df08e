"""SPDY/3.1 frames and header blocks. The numbers are those of the SPDY draft, version 3."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field

SYN_STREAM, SYN_REPLY, RST_STREAM, PING, GOAWAY, HEADERS, WINDOW_UPDATE = 1, 2, 3, 6, 7, 8, 9
FLAG_FIN = 0x01
_VERSION = 3
_MAX_HEADERS = 1 << 20

_COUNTED = """
options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges age allow
authorization cache-control connection content-base content-encoding content-language content-length content-location
content-md5 content-range content-type date etag expect expires from host if-match if-modified-since if-none-match
if-range if-unmodified-since last-modified location max-forwards pragma proxy-authenticate proxy-authorization range
referer retry-after server te trailer transfer-encoding upgrade user-agent vary via warning www-authenticate method get
status
"""
_CODES = (
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
    "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized"
    "403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable"
    "Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT"
    "chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,"
    "text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0."
)


def _dictionary() -> bytes:
    words = [*_COUNTED.split(), "200 OK", "version", "HTTP/1.1", "url", "public", "set-cookie", "keep-alive", "origin"]
    return b"".join(struct.pack("!I", len(w)) + w.encode() for w in words) + _CODES.encode()


DICTIONARY = _dictionary()
"""What header compression starts from; its Adler-32 is 0xe3c6a7c2."""


class ProtocolError(Exception):
    """The peer sent what is no SPDY/3.1."""


@dataclass(frozen=True, slots=True)
class Frame:
    """`kind` 0 is a data frame, else a control frame's type."""

    kind: int
    stream: int = 0
    flags: int = 0
    data: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def fin(self) -> bool:
        return bool(self.flags & FLAG_FIN)


class Decoder:
    """Bytes in, frames out. Keep one a connection: header blocks share one compression state."""

    def __init__(self) -> None:
        self._pending = bytearray()
        self._zlib = zlib.decompressobj(zdict=DICTIONARY)

    def feed(self, data: bytes) -> list[Frame]:
        """Raises ProtocolError."""
        self._pending += data
        frames = []
        while len(self._pending) >= 8:
            first, second = struct.unpack_from("!II", self._pending)
            length = second & 0xFFFFFF
            if len(self._pending) < 8 + length:
                break
            body = bytes(self._pending[8 : 8 + length])
            del self._pending[: 8 + length]
            flags = second >> 24
            if first & 0x80000000:
                frames.append(self._control((first >> 16) & 0x7FFF, first & 0xFFFF, flags, body))
            else:
                frames.append(Frame(0, first & 0x7FFFFFFF, flags, body))
        return frames

    def _control(self, version: int, kind: int, flags: int, body: bytes) -> Frame:
        if version != _VERSION:
            raise ProtocolError(f"SPDY version {version}")
        try:
            if kind == SYN_STREAM:
                return Frame(kind, _id(body), flags, headers=self._headers(body[10:]))
            if kind in (SYN_REPLY, HEADERS):
                return Frame(kind, _id(body), flags, headers=self._headers(body[4:]))
            if kind in (RST_STREAM, WINDOW_UPDATE):
                return Frame(kind, _id(body), flags, body[4:])
            return Frame(kind, 0, flags, body)
        except (struct.error, zlib.error, UnicodeDecodeError) as bad:
            raise ProtocolError(f"control frame {kind}: {bad}") from bad

    def _headers(self, block: bytes) -> dict[str, str]:
        plain = self._zlib.decompress(block, _MAX_HEADERS)
        if self._zlib.unconsumed_tail:
            raise ProtocolError("header block too large")
        (count,) = struct.unpack_from("!I", plain)
        at, headers = 4, {}
        for _ in range(count):
            name, at = _text(plain, at)
            value, at = _text(plain, at)
            headers[name.lower()] = value.split("\0")[0]
        return headers


class Encoder:
    """Frames out. Keep one a connection."""

    def __init__(self) -> None:
        self._zlib = zlib.compressobj(zdict=DICTIONARY)

    def data(self, stream: int, data: bytes, *, fin: bool = False) -> bytes:
        """At most 16 MiB - 1."""
        return struct.pack("!II", stream, (FLAG_FIN << 24 if fin else 0) | len(data)) + data

    def syn_reply(self, stream: int) -> bytes:
        return self._control(SYN_REPLY, 0, struct.pack("!I", stream) + self._headers({}))

    def syn_stream(self, stream: int, headers: Mapping[str, str], *, fin: bool = False) -> bytes:
        """What clients send; for tests and for those who dial."""
        body = struct.pack("!IIH", stream, 0, 0) + self._headers(headers)
        return self._control(SYN_STREAM, FLAG_FIN if fin else 0, body)

    def ping(self, identity: bytes) -> bytes:
        return self._control(PING, 0, identity)

    def rst_stream(self, stream: int, status: int) -> bytes:
        return self._control(RST_STREAM, 0, struct.pack("!II", stream, status))

    def goaway(self, last_stream: int) -> bytes:
        return self._control(GOAWAY, 0, struct.pack("!II", last_stream, 0))

    def _headers(self, headers: Mapping[str, str]) -> bytes:
        plain = struct.pack("!I", len(headers))
        for name, value in headers.items():
            for text in (name.lower().encode(), value.encode()):
                plain += struct.pack("!I", len(text)) + text
        return self._zlib.compress(plain) + self._zlib.flush(zlib.Z_SYNC_FLUSH)

    @staticmethod
    def _control(kind: int, flags: int, body: bytes) -> bytes:
        return struct.pack("!HHI", 0x8000 | _VERSION, kind, flags << 24 | len(body)) + body


def _id(body: bytes) -> int:
    return int(struct.unpack_from("!I", body)[0]) & 0x7FFFFFFF


def _text(plain: bytes, at: int) -> tuple[str, int]:
    (length,) = struct.unpack_from("!I", plain, at)
    end = at + 4 + length
    if end > len(plain):
        raise ProtocolError("header block cut short")
    return plain[at + 4 : end].decode(), end
