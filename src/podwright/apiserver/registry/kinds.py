"""Which strategy each kind has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from podwright.api import status
from podwright.api.objects import Object
from podwright.api.resources import Resource
from podwright.api.status import FieldError
from podwright.api.validation import field_errors
from podwright.apiserver.flowcontrol import FLOW_SCHEMAS, PRIORITY_LEVELS, includes, mandatory
from podwright.apiserver.registry.certificates import PodCertificateRequests, SigningRequests
from podwright.apiserver.registry.devices import Claims, ClaimTemplates, Slices, TaintRules
from podwright.apiserver.registry.namespaces import NamespaceStrategy
from podwright.apiserver.registry.pods import PodStrategy
from podwright.apiserver.registry.services import ServiceStrategy
from podwright.apiserver.registry.strategies import ORPHAN_DEPENDENTS, UNSUPPORTED, Strategy

if TYPE_CHECKING:
    from podwright.apiserver.registry.registry import Registry


class _CreateOnUpdate(Strategy):
    create_on_update = True


class _Event(Strategy):
    create_on_update = True
    garbage_collection = UNSUPPORTED


class _Orphaning(Strategy):
    """Kinds of before garbage collection keep their dependents by default."""

    garbage_collection = ORPHAN_DEPENDENTS


class _ReturnsDeleted(Strategy):
    returns_deleted = True


class _Lease(Strategy):
    create_on_update = True
    unconditional_update = False


class _Conditional(Strategy):
    unconditional_update = False


class _PriorityClass(Strategy):
    def begin_delete(self, obj: Object, now: str) -> bool:
        name = obj["metadata"]["name"]
        if name in ("system-cluster-critical", "system-node-critical"):
            why = "this is a system priority class and cannot be deleted"
            raise status.forbidden("scheduling.k8s.io", "priorityclasses", name, why)
        return False


class _FlowControl(Strategy):
    def __init__(self, row: Resource) -> None:
        self._row = row

    def errors(self, registry: Registry, obj: Object, old: Object | None, subresource: str) -> Sequence[FieldError]:
        name = obj["metadata"].get("name") or ""
        wanted = mandatory(self._row, name)
        if subresource or wanted is None or includes(obj.get("spec"), wanted):
            return ()
        but = " except the 'spec.exempt' field" if self._row is PRIORITY_LEVELS and name == "exempt" else ""
        return (field_errors.invalid("spec", obj.get("spec"), f"spec of '{name}'{but} must equal the fixed value"),)


_RETURNS_DELETED = (
    ("", "persistentvolumeclaims"), ("", "persistentvolumes"), ("", "podtemplates"), ("", "resourcequotas"),
    ("", "serviceaccounts"), ("storage.k8s.io", "csidrivers"), ("storage.k8s.io", "csinodes"),
    ("storage.k8s.io", "csistoragecapacities"), ("storage.k8s.io", "storageclasses"),
    ("storage.k8s.io", "volumeattachments"), ("storage.k8s.io", "volumeattributesclasses"),
)


def strategies(service_cidr: str, node_ports: tuple[int, int]) -> dict[tuple[str, str], Strategy]:
    """By (group, plural)."""
    found: dict[tuple[str, str], Strategy] = dict.fromkeys(_RETURNS_DELETED, _ReturnsDeleted())
    found.update(
        {
            ("", "namespaces"): NamespaceStrategy(),
            ("", "pods"): PodStrategy(),
            ("", "services"): ServiceStrategy(service_cidr, node_ports),
            ("", "endpoints"): _CreateOnUpdate(),
            ("", "limitranges"): _CreateOnUpdate(),
            ("", "events"): _Event(),
            ("events.k8s.io", "events"): _Event(),
            ("coordination.k8s.io", "leases"): _Lease(),
            ("", "replicationcontrollers"): _Orphaning(),
            ("networking.k8s.io", "servicecidrs"): _Conditional(),
            ("scheduling.k8s.io", "priorityclasses"): _PriorityClass(),
            **{(row.group, row.plural): _FlowControl(row) for row in (FLOW_SCHEMAS, PRIORITY_LEVELS)},
            ("certificates.k8s.io", "certificatesigningrequests"): SigningRequests(),
            ("certificates.k8s.io", "podcertificaterequests"): PodCertificateRequests(),
            ("resource.k8s.io", "resourceclaims"): Claims(),
            ("resource.k8s.io", "resourceclaimtemplates"): ClaimTemplates(),
            ("resource.k8s.io", "resourceslices"): Slices(),
            ("resource.k8s.io", "devicetaintrules"): TaintRules(),
        }
    )
    return found
