"""Defaults that the API fills in for absent fields, kind by kind.

The rules are those of the Kubernetes API reference ("Defaults to …"). They run on a request's own copy of an object,
after decoding and before admission, so that what is stored and read back is complete. Quantities are brought into
their canonical form at the same time, because upstream's decoder does so.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import import_module

from podwright.api.objects import Object
from podwright.api.resources import Resource

Defaulter = Callable[[Object], None]

_MODULES: dict[str, str] = {
    "": "core", "apps": "apps", "batch": "batch", "autoscaling": "autoscaling", "networking.k8s.io": "networking",
    "discovery.k8s.io": "networking", "rbac.authorization.k8s.io": "rbac", "storage.k8s.io": "storage",
    "scheduling.k8s.io": "scheduling", "node.k8s.io": "scheduling", "admissionregistration.k8s.io": "admission",
    "apiextensions.k8s.io": "extensions", "apiregistration.k8s.io": "extensions",
    "flowcontrol.apiserver.k8s.io": "flowcontrol", "resource.k8s.io": "dra",
}
"""API group → module of this package that holds its defaulters (imported when the group is first written)."""


@cache
def _defaulter(group: str, version: str, kind: str) -> Defaulter | None:
    module = _MODULES.get(group)
    if module is None:
        return None
    table: dict[tuple[str, str, str], Defaulter] = import_module(f"{__name__}.{module}").DEFAULTERS
    return table.get((group, version, kind)) or table.get((group, "", kind))


def apply(row: Resource, obj: Object) -> None:
    """Fill `obj` in place with the defaults of its kind and canonicalize its quantities.

    Kinds without defaults, and custom resources (whose defaults stand in their schema), are left as they are. Every
    condition has a type and a status, if empty ones, as upstream's are never left out.
    """
    if row.custom:
        return
    held = obj.get("status")
    for condition in (held.get("conditions") or () if isinstance(held, dict) else ()):
        condition.setdefault("type", "")
        condition.setdefault("status", "")
    defaulter = _defaulter(row.group, row.version, row.kind)
    if defaulter is not None:
        defaulter(obj)
