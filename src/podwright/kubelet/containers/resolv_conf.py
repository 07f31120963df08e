"""A Pod's /etc/resolv.conf from dnsPolicy and dnsConfig (documentation page "DNS for Services and Pods")."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from podwright.api import objects, pods
from podwright.api.objects import Object
from podwright.runtime.protocol import DnsConfig

MAX_SERVERS = 3
MAX_SEARCHES = 32
MAX_SEARCH_LENGTH = 2048


def host_config(path: Path) -> DnsConfig:
    """What a resolv.conf says."""
    servers: list[str] = []
    searches: list[str] = []
    options: list[str] = []
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    for line in lines:
        fields = line.split()
        if len(fields) < 2:
            continue
        if fields[0] == "nameserver":
            servers.append(fields[1])
        elif fields[0] == "search":
            searches = ["." if f == "." else f.rstrip(".") for f in fields[1:]]
        elif fields[0] == "options":
            options += fields[1:]
    return DnsConfig(servers, searches, options)


def dns_config(
    pod: Object, host: DnsConfig, cluster_dns: Sequence[str], cluster_domain: str
) -> tuple[DnsConfig, Sequence[str]]:
    """The configuration, and complaints for events: limits passed, or no cluster DNS where it is asked for."""
    policy = pod["spec"].get("dnsPolicy") or "ClusterFirst"
    complaints: list[str] = []
    if policy == "ClusterFirst" and pods.host_network(pod):
        policy = "Default"
    base = host
    if policy == "None":
        base = DnsConfig()
    elif policy in ("ClusterFirst", "ClusterFirstWithHostNet"):
        if cluster_dns:
            namespace = objects.namespace(pod)
            domains = [f"{namespace}.svc.{cluster_domain}", f"svc.{cluster_domain}", cluster_domain]
            base = DnsConfig(list(cluster_dns), _unique([*domains, *host.searches]), ["ndots:5"])
        else:
            complaints.append(
                "kubelet does not have ClusterDNS IP configured and cannot create Pod using "
                f'"{policy}" policy. Falling back to "Default" policy.'
            )
    extra = pod["spec"].get("dnsConfig") or {}
    servers = _unique([*base.servers, *(extra.get("nameservers") or ())])
    searches = _unique([*base.searches, *(extra.get("searches") or ())])
    options = _merged(base.options, extra.get("options") or ())
    return _limited(servers, searches, options, complaints), complaints


def _unique(values: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(values))


def _merged(base: Sequence[str], extra: Sequence[Object]) -> list[str]:
    found: dict[str, str] = {}
    for option in base:
        name, _, _ = option.partition(":")
        found[name] = option
    for entry in extra:
        name, value = entry.get("name") or "", entry.get("value")
        found[name] = f"{name}:{value}" if value not in (None, "") else name
    return list(found.values())


def _limited(servers: list[str], searches: list[str], options: list[str], complaints: list[str]) -> DnsConfig:
    if len(servers) > MAX_SERVERS:
        servers = servers[:MAX_SERVERS]
        complaints.append(
            "Nameserver limits were exceeded, some nameservers have been omitted, the applied nameserver line is: "
            + " ".join(servers)
        )
    kept: list[str] = []
    length = 0
    for search in searches[:MAX_SEARCHES]:
        length += len(search) + bool(kept)
        if length > MAX_SEARCH_LENGTH:
            break
        kept.append(search)
    if len(kept) < len(searches):
        complaints.append(
            "Search Line limits were exceeded, some search paths have been omitted, the applied search line is: "
            + " ".join(kept)
        )
    return DnsConfig(servers, kept, options)


def content(config: DnsConfig) -> str:
    lines = []
    if config.searches:
        lines.append("search " + " ".join(config.searches))
    lines += [f"nameserver {server}" for server in config.servers]
    if config.options:
        lines.append("options " + " ".join(config.options))
    return "".join(line + "\n" for line in lines)
