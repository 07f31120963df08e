"""Topology Aware Routing: each zone gets as large a share of a Service's endpoints as it has of the nodes' CPU, its own
ones first (KEP-2433). Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from podwright.api import objects, quantity
from podwright.api.objects import Object
from podwright.controllers.endpoints.backends import ZONE

_MODES = ("service.kubernetes.io/topology-aware-hints", "service.kubernetes.io/topology-mode")
_CONTROL_PLANE = ("node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master")
_OVERLOAD = 0.2
"""How much more than its share an endpoint may have to bear."""


class NoHints(Exception):
    """Why the Service's endpoints get no hints."""


def is_asked_for(service: Object) -> bool:
    annotations = objects.annotations(service)
    return next((annotations[m] for m in _MODES if m in annotations), "") in ("Auto", "auto")


def zone_shares(nodes: Iterable[Object]) -> Mapping[str, float]:
    """Each zone's part of the CPU of all ready nodes. Raises NoHints."""
    cpu: Counter[str] = Counter()
    for node in nodes:
        labels = objects.labels(node)
        if any(label in labels for label in _CONTROL_PLANE) or not objects.condition_is_true(node, "Ready"):
            continue
        has = quantity.milli(((node.get("status") or {}).get("allocatable") or {}).get("cpu", "0"))
        if not labels.get(ZONE) or not has:
            raise NoHints("Insufficient Node information: allocatable CPU or zone not specified on one or more nodes")
        cpu[labels[ZONE]] += has
    if len(cpu) < 2:
        raise NoHints("Nodes only ready in one zone")
    return {zone: has / cpu.total() for zone, has in cpu.items()}


def spread(endpoints: Sequence[Object], shares: Mapping[str, float]) -> list[str]:
    """The zone that each of the (ready) endpoints is for. Raises NoHints."""
    count = len(endpoints)
    if count < len(shares):
        raise NoHints(f"Insufficient number of endpoints ({count} endpoints, {len(shares)} zones)")
    least = {zone: math.ceil(share * count / (1 + _OVERLOAD)) for zone, share in shares.items()}
    if sum(least.values()) > count:
        raise NoHints(
            "Minimum allocation of required endpoints exceeds overload threshold "
            f"({count} endpoints, {len(shares)} zones)"
        )
    if not all(e.get("zone") for e in endpoints):
        raise NoHints("One or more endpoints do not have a zone specified")
    zones = [str(e["zone"]) for e in endpoints]
    has = Counter(zones)
    wanted = {zone: max(share * count, least[zone]) for zone, share in shares.items()}
    # A zone without nodes needs none of its endpoints.
    gives = {zone: has[zone] - wanted.get(zone, 0.0) for zone in sorted({*has, *shares})}
    while True:
        giver, taker = max(gives, key=gives.__getitem__), min(gives, key=gives.__getitem__)
        spare, need = gives[giver], -gives[taker]
        if (spare < 1.0 and need < 1.0) or spare < 0.5 or need < 0.5:
            return zones
        zones[zones.index(giver)] = taker
        gives[giver] -= 1
        gives[taker] += 1
