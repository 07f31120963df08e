"""Unary gRPC calls over a Unix socket, with messages as plain JSON objects (see ``api/protobuf``)."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from grpclib.client import Channel, Stream
from grpclib.const import Cardinality
from grpclib.encoding.base import CodecBase
from grpclib.exceptions import GRPCError, ProtocolError, StreamTerminatedError

from podwright.api.objects import Object
from podwright.api.protobuf import messages

_BROKEN = (OSError, StreamTerminatedError, ProtocolError, AssertionError)


class PluginFailure(Exception):
    """A plugin refused, or does not answer. `code` is gRPC's name of the status ("UNAVAILABLE" if there was none);
    `unsure` is True if the call may still have taken effect, or take it later."""

    def __init__(self, message: str, code: str = "UNAVAILABLE") -> None:
        super().__init__(f"rpc error: code = {_spoken(code)} desc = {message}")
        self.code = code

    @property
    def unsure(self) -> bool:
        return self.code in ("CANCELLED", "DEADLINE_EXCEEDED", "UNAVAILABLE", "RESOURCE_EXHAUSTED", "ABORTED")


def _spoken(code: str) -> str:
    """DEADLINE_EXCEEDED as the field writes it: DeadlineExceeded."""
    return "".join(part.capitalize() for part in code.split("_"))


class MessageCodec(CodecBase):
    """For grpclib; message types are the names of the codec's table."""

    __content_subtype__ = "proto"

    def encode(self, message: Any, message_type: Any) -> bytes:
        return messages.encode(message_type, message)

    def decode(self, data: bytes, message_type: Any) -> Any:
        return messages.decode(message_type, data)


class PluginSocket:
    """A connection for a few calls: ``async with PluginSocket(path) as socket: await socket.call(…)``."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._channel = Channel(path=str(path), codec=MessageCodec())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._channel.close()

    async def call(self, service: str, method: str, request: Object, *, timeout: float = 120.0) -> Object:
        """`service` is the full name, "csi.v1.Node"; the messages are those of its package.

        Raises:
            PluginFailure
        """
        package = service.rpartition(".")[0]
        name, answer = _MESSAGES.get(method) or (f"{method}Request", f"{method}Response")
        try:
            stream: Stream[Any, Any] = self._channel.request(
                f"/{service}/{method}",
                Cardinality.UNARY_UNARY,
                f"{package}.{name}",  # type: ignore[arg-type]
                f"{package}.{answer}",  # type: ignore[arg-type]
                timeout=timeout,
            )
            async with asyncio.timeout(timeout), stream:
                await stream.send_message(request, end=True)
                found = await stream.recv_message()
        except GRPCError as refused:
            raise PluginFailure(refused.message or "", refused.status.name) from refused
        except TimeoutError as late:
            raise PluginFailure("context deadline exceeded", "DEADLINE_EXCEEDED") from late
        except ValueError as malformed:
            raise PluginFailure(f"not understood: {malformed}", "INTERNAL") from malformed
        except _BROKEN as broken:
            why = str(broken) or type(broken).__name__
            raise PluginFailure(f"connection error: {self._path}: {why}") from broken
        if found is None:
            raise PluginFailure("no answer", "INTERNAL")
        return dict(found)


_MESSAGES = {
    "GetInfo": ("InfoRequest", "PluginInfo"),
    "NotifyRegistrationStatus": ("RegistrationStatus", "RegistrationStatusResponse"),
}
