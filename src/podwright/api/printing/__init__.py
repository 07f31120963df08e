"""Tables: what ``kubectl get`` shows of each kind.

The server makes the cells, as upstream does, so that every client shows the same. Columns and texts are those of
upstream's printers; columns of priority 1 are always sent, and the client shows them with ``-o wide``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from importlib import import_module

from podwright.api.objects import Object
from podwright.api.printing import tables
from podwright.api.printing.tables import NAME, Cells, Column, Printer
from podwright.api.resources import Resource

METADATA = "Metadata"
OBJECT = "Object"
NONE = "None"

_MODULES = {
    "": ("pods", "core"),
    "apps": ("workloads",),
    "batch": ("workloads",),
    "autoscaling": ("autoscaling",),
    "policy": ("workloads",),
    "networking.k8s.io": ("network",),
    "discovery.k8s.io": ("network",),
    "events.k8s.io": ("events",),
    "storage.k8s.io": ("storage",),
    "rbac.authorization.k8s.io": ("access",),
    "certificates.k8s.io": ("access",),
    "admissionregistration.k8s.io": ("extension",),
    "apiregistration.k8s.io": ("extension",),
    "coordination.k8s.io": ("scheduling",),
    "node.k8s.io": ("scheduling",),
    "scheduling.k8s.io": ("scheduling",),
    "flowcontrol.apiserver.k8s.io": ("scheduling",),
    "resource.k8s.io": ("scheduling",),
    "storagemigration.k8s.io": ("extension",),
}
"""API group → modules of this package with its printers."""


def _default_cells(obj: Object, _now: float) -> Cells:
    return [tables.name(obj), tables.meta(obj).get("creationTimestamp")]


_DEFAULT = Printer((NAME, Column("Created At", type="date")), _default_cells)


@cache
def _printer(group: str, kind: str) -> Printer:
    for module in _MODULES.get(group, ()):
        printers: tables.Printers = import_module(f"{__name__}.{module}").PRINTERS
        if (group, kind) in printers:
            return printers[group, kind]
    return _DEFAULT


def table(row: Resource, objects: Iterable[Object], *, now: float, include_object: str = METADATA) -> Object:
    """A meta.k8s.io/v1 ``Table`` of the objects. The caller adds the list's metadata.

    Args:
        now: seconds since the epoch; ages are counted from it.
        include_object: what each row says of its object beside the cells: "Metadata", "Object" or "None".
    """
    return tables.build(_printer(row.group, row.kind), objects, now, include_object)


def custom_table(
    columns: Sequence[Object], objects: Iterable[Object], now: float, include_object: str = METADATA
) -> Object:
    """The Table of custom resources. `columns` are the definition's additionalPrinterColumns; without any, the age."""
    from podwright.api.printing import custom

    return tables.build(custom.printer(columns), objects, now, include_object)
