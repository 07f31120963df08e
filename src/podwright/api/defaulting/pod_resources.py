"""What a whole Pod asks for, as quantities in text."""

from __future__ import annotations

from podwright.api import quantity
from podwright.api.objects import Object

Amounts = dict[str, str]

DISK_IO_PREFIX = "podwright.io/disk-"
"""Disk I/O limits of a container or Pod: read-bps, write-bps, read-iops, write-iops."""


def supported_at_pod_level(name: str) -> bool:
    """Resources that a Pod as a whole can ask for (KEP-2837: cpu, memory and huge pages), and disk I/O."""
    return name in ("cpu", "memory") or name.startswith(("hugepages-", DISK_IO_PREFIX))


def aggregate(spec: Object, which: str) -> Amounts:
    """The `which` ("requests" or "limits") of all containers together: the sum over containers and sidecars, or what
    an init container needs beside the sidecars that started before it, if that is more.

    Raises:
        QuantityError: an amount is no quantity.
    """
    total: Amounts = {}
    for ctr in spec.get("containers") or ():
        _add(total, _amounts(ctr, which))
    sidecars: Amounts = {}
    highest: Amounts = {}
    for ctr in spec.get("initContainers") or ():
        amounts = dict(_amounts(ctr, which))
        if ctr.get("restartPolicy") == "Always":
            _add(total, amounts)
            _add(sidecars, amounts)
            amounts = dict(sidecars)
        else:
            _add(amounts, sidecars)
        _max(highest, amounts)
    _max(total, highest)
    return total


def _amounts(ctr: Object, which: str) -> Amounts:
    return (ctr.get("resources") or {}).get(which) or {}


def _add(total: Amounts, more: Amounts) -> None:
    for name, amount in more.items():
        total[name] = quantity.add(total[name], amount) if name in total else amount


def _max(total: Amounts, other: Amounts) -> None:
    for name, amount in other.items():
        if name not in total or quantity.compare(total[name], amount) < 0:
            total[name] = amount
