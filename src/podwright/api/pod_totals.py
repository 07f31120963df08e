"""What a Pod asks for as a whole: the sums that quotas and limit ranges compare (Kubernetes documentation, "Resource
Management for Pods and Containers", "Sidecar Containers" for restartable init containers, KEP-2837 for Pod-level
resources)."""

from __future__ import annotations

from decimal import Decimal

from podwright.api.objects import Object
from podwright.api.quantity import parse

Amounts = dict[str, Decimal]
ZERO = Decimal(0)
POD_LEVEL = ("cpu", "memory")


def _of(container: Object, field: str) -> Amounts:
    return {k: parse(v) for k, v in ((container.get("resources") or {}).get(field) or {}).items()}


def _add(into: Amounts, more: Amounts) -> None:
    for key, amount in more.items():
        into[key] = into.get(key, ZERO) + amount


def _most(into: Amounts, other: Amounts) -> None:
    for key, amount in other.items():
        if amount > into.get(key, ZERO) or key not in into:
            into[key] = amount


def total(pod: Object, field: str) -> Amounts:
    """The Pod's "requests" or "limits": containers and sidecars together, or the largest init container beside the
    sidecars started before it; Pod-level values win; overhead comes on top (for limits only where there is a limit)."""
    spec = pod.get("spec") or {}
    sums: Amounts = {}
    for container in spec.get("containers") or ():
        _add(sums, _of(container, field))
    sidecars: Amounts = {}
    init_peak: Amounts = {}
    for container in spec.get("initContainers") or ():
        own = _of(container, field)
        if container.get("restartPolicy") == "Always":
            _add(sums, own)
            _add(sidecars, own)
            _most(init_peak, dict(sidecars))
        else:
            beside = dict(sidecars)
            _add(beside, own)
            _most(init_peak, beside)
    _most(sums, init_peak)
    for key, quantity in ((spec.get("resources") or {}).get(field) or {}).items():
        if key in POD_LEVEL or key.startswith("hugepages-"):
            sums[key] = parse(quantity)
    for key, quantity in (spec.get("overhead") or {}).items():
        if field == "requests" or key in sums:
            sums[key] = sums.get(key, ZERO) + parse(quantity)
    return sums
