"""gRPC for plugins, by grpclib: imported only when a node has a plugin, for most have none."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from grpclib.client import Channel, Stream
from grpclib.const import Cardinality
from grpclib.encoding.base import CodecBase
from grpclib.exceptions import GRPCError, ProtocolError, StreamTerminatedError

from podwright.api.objects import Object
from podwright.api.protobuf import messages
from podwright.kubelet.plugins.sockets import PluginFailure

_BROKEN = (OSError, StreamTerminatedError, ProtocolError, AssertionError)


class MessageCodec(CodecBase):
    """For grpclib; message types are the names of the codec's table."""

    __content_subtype__ = "proto"

    def encode(self, message: Any, message_type: Any) -> bytes:
        return messages.encode(message_type, message)

    def decode(self, data: bytes, message_type: Any) -> Any:
        return messages.decode(message_type, data)


def channel(path: Path) -> Channel:
    return Channel(path=str(path), codec=MessageCodec())


async def stream(
    on: Channel, path: Path, service: str, method: str, request: Object, seen: Callable[[Object], None]
) -> None:
    """A call that is answered again and again; returns when the other side is done. Raises PluginFailure."""
    package = service.rpartition(".")[0]
    name, answer = _MESSAGES.get(method) or (f"{method}Request", f"{method}Response")
    try:
        opened: Stream[Any, Any] = on.request(
            f"/{service}/{method}",
            Cardinality.UNARY_STREAM,
            f"{package}.{name}",  # type: ignore[arg-type]
            f"{package}.{answer}",  # type: ignore[arg-type]
        )
        async with opened:
            await opened.send_message(request, end=True)
            async for found in opened:
                seen(dict(found))
    except GRPCError as refused:
        raise PluginFailure(refused.message or "", refused.status.name) from refused
    except ValueError as malformed:
        raise PluginFailure(f"not understood: {malformed}", "INTERNAL") from malformed
    except _BROKEN as broken:
        raise PluginFailure(f"connection error: {path}: {str(broken) or type(broken).__name__}") from broken


async def call(on: Channel, path: Path, service: str, method: str, request: Object, timeout: float) -> Object:
    """Raises PluginFailure."""
    package = service.rpartition(".")[0]
    name, answer = _MESSAGES.get(method) or (f"{method}Request", f"{method}Response")
    try:
        stream: Stream[Any, Any] = on.request(
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
        raise PluginFailure(f"connection error: {path}: {why}") from broken
    if found is None:
        raise PluginFailure("no answer", "INTERNAL")
    return dict(found)


_MESSAGES = {
    "GetInfo": ("InfoRequest", "PluginInfo"),
    "NotifyRegistrationStatus": ("RegistrationStatus", "RegistrationStatusResponse"),
    "GetDevicePluginOptions": ("Empty", "DevicePluginOptions"),
    "ListAndWatch": ("Empty", "ListAndWatchResponse"),
    "Register": ("RegisterRequest", "Empty"),
    "List": ("ListPodResourcesRequest", "ListPodResourcesResponse"),
    "Get": ("GetPodResourcesRequest", "GetPodResourcesResponse"),
    "GetAllocatableResources": ("AllocatableResourcesRequest", "AllocatableResourcesResponse"),
    "GetPreferredAllocation": ("PreferredAllocationRequest", "PreferredAllocationResponse"),
}
