"""The server side of :mod:`serving`, by grpclib."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from grpclib.const import Cardinality, Handler, Status
from grpclib.exceptions import GRPCError
from grpclib.server import Server, Stream

from podwright.kubelet.plugins.grpc_calls import MessageCodec
from podwright.kubelet.plugins.serving import CallRefused, Method


class _Service:
    def __init__(self, mapping: dict[str, Handler]) -> None:
        self._mapping = mapping

    def __mapping__(self) -> dict[str, Handler]:
        return self._mapping


class UnaryServer(Server):
    """Speaks on connections that somebody else accepts."""

    def __init__(self, service: str, methods: Mapping[str, tuple[str, str, Method]]) -> None:
        mapping = {f"/{service}/{name}": _handler(*method) for name, method in methods.items()}
        super().__init__([_Service(mapping)], codec=MessageCodec())

    def protocol(self) -> asyncio.BaseProtocol:
        """For one connection."""
        return self._protocol_factory()

    def hang_up(self) -> None:
        """Ends what is being answered."""
        for handler in self._handlers:
            handler.close()


def _handler(request_type: str, answer_type: str, method: Method) -> Handler:
    async def serve(stream: Stream[Any, Any]) -> None:
        request = await stream.recv_message()
        try:
            await stream.send_message(await method(request or {}))
        except CallRefused as refused:
            raise GRPCError(Status[refused.code], str(refused)) from refused

    types: Any = (request_type, answer_type)
    return Handler(serve, Cardinality.UNARY_UNARY, *types)
