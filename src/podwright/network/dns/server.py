"""The DNS server of a node: on the cluster's DNS address, over UDP and TCP."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import struct
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

from podwright.api.resources import ENDPOINTSLICES, NAMESPACES, SERVICES
from podwright.client.client import Client
from podwright.client.informers import Informer
from podwright.network.dns.records import TTL, Record, Zone
from podwright.network.services.ports import SERVICE_NAME_LABEL

log = logging.getLogger(__name__)

_UPSTREAM_TIMEOUT = 4.0
_IDLE_TIMEOUT = 10.0
_IN_FLIGHT = 1000
_CNAME_DEPTH = 8


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
        """The answer to a query's bytes, at most `limit` bytes long; None for what is no query."""
        if self._slots.locked():
            return None
        async with self._slots:
            try:
                message = dns.message.from_wire(query)
            except dns.exception.DNSException:
                return None
            if message.flags & dns.flags.QR or not message.question:
                return None
            reply = await self._reply(message)
            size = max(512, min(limit, message.payload)) if message.edns >= 0 else min(limit, 512)
            if limit == 65535:
                size = limit
            try:
                return reply.to_wire(max_size=size)
            except dns.exception.TooBig:
                short = dns.message.make_response(message)
                short.flags |= dns.flags.TC
                return short.to_wire()

    async def _reply(self, message: dns.message.Message) -> dns.message.Message:
        question = message.question[0]
        name = question.name.to_text(omit_final_dot=True).lower()
        reverse = _reverse_address(name)
        if reverse is not None and question.rdtype == dns.rdatatype.PTR:
            pointers = self.zone.reverse(reverse)
            if pointers:
                return self._own(message, question.name, pointers)
        if not self.zone.owns(name):
            return await self._forward(message)
        records = self.zone.lookup(name)
        if records is None:
            reply = self._own(message, question.name, [])
            reply.set_rcode(dns.rcode.NXDOMAIN)
            return reply
        aliases = [r for r in records if r.kind == "CNAME"]
        if aliases and question.rdtype != dns.rdatatype.CNAME:
            return await self._follow(message, question.name, aliases[0])
        return self._own(message, question.name, records)

    def _own(
        self, message: dns.message.Message, name: dns.name.Name, records: Sequence[Record]
    ) -> dns.message.Message:
        reply = dns.message.make_response(message, recursion_available=True)
        reply.flags |= dns.flags.AA
        wanted = message.question[0].rdtype
        for kind in ("A", "AAAA", "CNAME", "SRV", "PTR", "TXT"):
            data = [r.data for r in records if r.kind == kind]
            if data and wanted in (dns.rdatatype.from_text(kind), dns.rdatatype.ANY):
                reply.answer.append(dns.rrset.from_text(name, TTL, "IN", kind, *data))
        if not reply.answer:
            domain = self.zone.domain
            soa = f"ns.dns.{domain}. hostmaster.{domain}. 1 7200 1800 86400 {TTL}"
            reply.authority.append(dns.rrset.from_text(domain + ".", TTL, "IN", "SOA", soa))
        return reply

    async def _follow(
        self, message: dns.message.Message, name: dns.name.Name, alias: Record, depth: int = _CNAME_DEPTH
    ) -> dns.message.Message:
        """The CNAME with what it points to, as a resolver gives it."""
        target = dns.name.from_text(alias.data)
        query = dns.message.make_query(target, message.question[0].rdtype)
        if depth and self.zone.owns(alias.data.rstrip(".").lower()):
            answer = await self._reply(query)
        else:
            answer = await self._forward(query)
        reply = dns.message.make_response(message, recursion_available=True)
        reply.answer.append(dns.rrset.from_text(name, TTL, "IN", "CNAME", alias.data))
        reply.answer.extend(answer.answer)
        return reply

    async def _forward(self, message: dns.message.Message) -> dns.message.Message:
        # Only a node that forwards pays for it: what is installed of HTTP and QUIC comes along.
        import dns.asyncquery

        for upstream in self._upstreams:
            try:
                answer, _ = await dns.asyncquery.udp_with_fallback(message, upstream, timeout=_UPSTREAM_TIMEOUT)
                return answer
            except (dns.exception.DNSException, OSError) as failed:
                log.debug("resolver %s: %s", upstream, failed)
        reply = dns.message.make_response(message, recursion_available=True)
        reply.set_rcode(dns.rcode.SERVFAIL)
        return reply

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
    def __init__(
        self, answer: Callable[[bytes, int], Awaitable[bytes | None]], group: asyncio.TaskGroup
    ) -> None:
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


def _reverse_address(name: str) -> str | None:
    if not name.endswith(".in-addr.arpa"):
        return None
    try:
        return str(ipaddress.IPv4Address(".".join(name.removesuffix(".in-addr.arpa").split(".")[::-1])))
    except ValueError:
        return None


def host_resolvers(file: Path = Path("/etc/resolv.conf")) -> list[str]:
    """The addresses of the host's resolvers."""
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return []
    found = [line.split()[1] for line in lines if line.startswith("nameserver") and len(line.split()) > 1]
    return [address for address in found if "%" not in address]
