"""What a node's DNS server answers: of the cluster's domain from its zone, of the rest what the host's say."""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Sequence

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

from podwright.network.dns.records import TTL, Record, Zone

log = logging.getLogger(__name__)

_UPSTREAM_TIMEOUT = 4.0
_CNAME_DEPTH = 8


class Answers:
    """Messages in, messages out. `upstreams` are asked in order."""

    def __init__(self, zone: Zone, upstreams: Sequence[str]) -> None:
        self._zone = zone
        self._upstreams = upstreams

    async def answer(self, query: bytes, limit: int) -> bytes | None:
        """The answer to a query's bytes, at most `limit` bytes long; None for what is no query."""
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
            pointers = self._zone.reverse(reverse)
            if pointers:
                return self._own(message, question.name, pointers)
        if not self._zone.owns(name):
            return await self._forward(message)
        records = self._zone.lookup(name)
        if records is None:
            reply = self._own(message, question.name, [])
            reply.set_rcode(dns.rcode.NXDOMAIN)
            return reply
        aliases = [r for r in records if r.kind == "CNAME"]
        if aliases and question.rdtype != dns.rdatatype.CNAME:
            return await self._follow(message, question.name, aliases[0])
        return self._own(message, question.name, records)

    def _own(self, message: dns.message.Message, name: dns.name.Name, records: Sequence[Record]) -> dns.message.Message:
        reply = dns.message.make_response(message, recursion_available=True)
        reply.flags |= dns.flags.AA
        wanted = message.question[0].rdtype
        for kind in ("A", "AAAA", "CNAME", "SRV", "PTR", "TXT"):
            data = [r.data for r in records if r.kind == kind]
            if data and wanted in (dns.rdatatype.from_text(kind), dns.rdatatype.ANY):
                reply.answer.append(dns.rrset.from_text(name, TTL, "IN", kind, *data))
        if not reply.answer:
            domain = self._zone.domain
            soa = f"ns.dns.{domain}. hostmaster.{domain}. 1 7200 1800 86400 {TTL}"
            reply.authority.append(dns.rrset.from_text(domain + ".", TTL, "IN", "SOA", soa))
        return reply

    async def _follow(
        self, message: dns.message.Message, name: dns.name.Name, alias: Record, depth: int = _CNAME_DEPTH
    ) -> dns.message.Message:
        """The CNAME with what it points to, as a resolver gives it."""
        target = dns.name.from_text(alias.data)
        query = dns.message.make_query(target, message.question[0].rdtype)
        if depth and self._zone.owns(alias.data.rstrip(".").lower()):
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


def _reverse_address(name: str) -> str | None:
    if not name.endswith(".in-addr.arpa"):
        return None
    try:
        return str(ipaddress.IPv4Address(".".join(name.removesuffix(".in-addr.arpa").split(".")[::-1])))
    except ValueError:
        return None
