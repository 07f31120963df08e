"""gRPC over a CRI socket, by grpclib and the table-driven codec: messages are JSON objects."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from grpclib.client import Channel, Stream
from grpclib.const import Cardinality, Status
from grpclib.encoding.base import CodecBase
from grpclib.exceptions import GRPCError, ProtocolError, StreamTerminatedError

from podwright.api.objects import Object
from podwright.api.protobuf import messages
from podwright.runtime.protocol import NoSuchThing, RuntimeFailure

RUNTIME, IMAGES = "runtime.v1.RuntimeService", "runtime.v1.ImageService"
TIMEOUT = 120.0
"""Upstream's --runtime-request-timeout."""
_BROKEN = (OSError, StreamTerminatedError, ProtocolError, AssertionError)


class Unimplemented(RuntimeFailure):
    """The runtime does not have this call."""


class NoAnswer(RuntimeFailure):
    """The runtime let the time for a call pass."""


class _Codec(CodecBase):
    __content_subtype__ = "proto"

    def encode(self, message: Any, message_type: Any) -> bytes:
        return messages.encode(message_type, message)

    def decode(self, data: bytes, message_type: Any) -> Any:
        return messages.decode(message_type, data)


class Calls:
    """One connection to the socket, made when it is first needed and again when it broke."""

    def __init__(self, socket: Path) -> None:
        self.socket = socket
        self._channel: Channel | None = None

    def __enter__(self) -> Calls:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    def _open(self) -> Channel:
        if self._channel is None:
            self._channel = Channel(path=str(self.socket), codec=_Codec())
        return self._channel

    async def __call__(
        self, method: str, request: Object | None = None, *, service: str = RUNTIME, timeout: float = TIMEOUT
    ) -> Object:
        """The answer to ``runtime.v1.METHODRequest``.

        Raises:
            NoSuchThing, Unimplemented, NoAnswer, RuntimeFailure: with the runtime's words.
            TimeoutError: its own deadline for the call is over.
        """
        try:
            stream: Stream[Any, Any] = self._open().request(
                f"/{service}/{method}",
                Cardinality.UNARY_UNARY,
                f"runtime.v1.{method}Request",  # type: ignore[arg-type]
                f"runtime.v1.{method}Response",  # type: ignore[arg-type]
                timeout=timeout,
            )
            async with asyncio.timeout(timeout), stream:
                await stream.send_message(request or {}, end=True)
                answer = await stream.recv_message()
        except GRPCError as refused:
            raise _failure(refused) from refused
        except TimeoutError:
            raise NoAnswer(f"{method}: no answer from {self.socket} within {timeout:g} s") from None
        except _BROKEN as broken:
            raise self._lost(broken) from broken
        if answer is None:
            raise RuntimeFailure(f"{method}: {self.socket} gave no answer")
        return dict(answer)

    async def stream(self, service: str, method: str, request: str, answer: str) -> AsyncIterator[Object]:
        """Each answer of a call that goes on; a first empty one when the runtime has been asked. Raises as a call."""
        try:
            opened: Stream[Any, Any] = self._open().request(
                f"/{service}/{method}",
                Cardinality.UNARY_STREAM,
                request,  # type: ignore[arg-type]
                answer,  # type: ignore[arg-type]
            )
            async with opened:
                await opened.send_message({}, end=True)
                yield {}
                async for found in opened:
                    yield dict(found)
        except GRPCError as refused:
            raise _failure(refused) from refused
        except _BROKEN as broken:
            raise self._lost(broken) from broken

    def _lost(self, broken: BaseException) -> RuntimeFailure:
        return RuntimeFailure(f"runtime at {self.socket}: {str(broken) or type(broken).__name__}")


def _failure(refused: GRPCError) -> Exception:
    text = refused.message or refused.status.name
    if refused.status == Status.NOT_FOUND:
        return NoSuchThing(text)
    if refused.status == Status.UNIMPLEMENTED:
        return Unimplemented(text)
    if refused.status == Status.DEADLINE_EXCEEDED:
        return TimeoutError(text)
    return RuntimeFailure(text)
