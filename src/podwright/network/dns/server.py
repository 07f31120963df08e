"""The DNS server of a node: on the cluster's DNS address, over UDP and TCP."""

from __future__ import annotations

import asyncio
import importlib
import logging
import struct
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from podwright.api.resources import ENDPOINTSLICES, NAMESPACES, SERVICES
from podwright.client.client import Client
from podwright.client.informers import Informer
from podwright.network.dns.records import Zone
from podwright.network.services.ports import SERVICE_NAME_LABEL

if TYPE_CHECKING:
    from podwright.network.dns.answers import Answers

log = logging.getLogger(__name__)

_IDLE_TIMEOUT = 10.0
_IN_FLIGHT = 1000


class DnsServer:
    """Answers for the cluster's `domain` and forwards the rest to `upstreams`, in order. `address` must be one of this
    network namespace's own; see :func:`podwright.network.dns.interface.ensure`."""

    def __init__(
        self, client: Client, *, address: str, domain: str = "cluster.local", upstreams: Sequence[str], port: int = 53
    ) -> None:
        self._address = address
        self._port = port
        self._upstreams = upstreams
        self._services = Informer(client, SERVICES)
        self._slices = Informer(client, ENDPOINTSLICES)
        self._slices.add_index(
            "service", lambda s: (f"{s['metadata'].get('namespace')}/{_owner(s)}",) if _owner(s) else ()
        )
        self._namespaces = Informer(client, NAMESPACES)
        self.zone = Zone(
            domain,
            lambda namespace, name: self._services.get(f"{namespace}/{name}"),
            lambda namespace, name: self._slices.by_index("service", f"{namespace}/{name}"),
            self._services.items,
            lambda name: self._namespaces.get(name) is not None,
        )
        self._slots = asyncio.Semaphore(_IN_FLIGHT)
        self._answers: Answers | None = None

    async def run(self) -> None:
        """Serves until cancelled."""
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as group:
            for informer in (self._services, self._slices, self._namespaces):
                group.create_task(informer.run(), name=f"dns {informer.resource.plural}")
            for informer in (self._services, self._slices, self._namespaces):
                await informer.synced()
            transport, _ = await loop.create_datagram_endpoint(
                lambda: _Datagrams(self._answer, group), local_addr=(self._address, self._port)
            )
            server = await asyncio.start_server(self._stream, self._address, self._port)
            try:
                await asyncio.Event().wait()
            finally:
                transport.close()
                server.close()

    async def _answer(self, query: bytes, limit: int) -> bytes | None:
        """None where there is no answer, or none any more."""
        if self._slots.locked():
            return None
        async with self._slots:
            if self._answers is None:  # 3 MB of forms of messages, for nodes that are asked something
                module = await asyncio.to_thread(importlib.import_module, "podwright.network.dns.answers")
                self._answers = module.Answers(self.zone, self._upstreams)
            return await self._answers.answer(query, limit)

    async def _stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                async with asyncio.timeout(_IDLE_TIMEOUT):
                    length = struct.unpack("!H", await reader.readexactly(2))[0]
                    query = await reader.readexactly(length)
                answer = await self._answer(query, 65535)
                if answer is None:
                    return
                writer.write(struct.pack("!H", len(answer)) + answer)
                await writer.drain()
        except (TimeoutError, asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, answer: Callable[[bytes, int], Awaitable[bytes | None]], group: asyncio.TaskGroup) -> None:
        self._answer = answer
        self._group = group
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._group.create_task(self._handle(data, addr))

    async def _handle(self, data: bytes, addr: tuple[str, int]) -> None:
        try:
            answer = await self._answer(data, 4096)
        except Exception:
            log.exception("query from %s failed", addr[0])
            return
        if answer is not None and self._transport is not None:
            self._transport.sendto(answer, addr)


def _owner(endpoint_slice: dict[str, object]) -> str:
    metadata = endpoint_slice.get("metadata") or {}
    assert isinstance(metadata, dict)
    return str((metadata.get("labels") or {}).get(SERVICE_NAME_LABEL) or "")


def host_resolvers(file: Path = Path("/etc/resolv.conf")) -> list[str]:
    """The addresses of the host's resolvers."""
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return []
    found = [line.split()[1] for line in lines if line.startswith("nameserver") and len(line.split()) > 1]
    return [address for address in found if "%" not in address]
