"""gRPC calls over a Unix socket, with messages as plain JSON objects (see ``api/protobuf``)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from podwright.api.objects import Object


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


class PluginSocket:
    """A connection for a few calls: ``async with PluginSocket(path) as socket: await socket.call(…)``."""

    def __init__(self, path: Path) -> None:
        from podwright.kubelet.plugins import grpc_calls

        self._path = path
        self._calls = grpc_calls
        self._channel = grpc_calls.channel(path)

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
        return await self._calls.call(self._channel, self._path, service, method, request, timeout)

    async def stream(self, service: str, method: str, request: Object, seen: Callable[[Object], None]) -> None:
        """`seen` is given each answer until the other side is done.

        Raises:
            PluginFailure
        """
        await self._calls.stream(self._channel, self._path, service, method, request, seen)
