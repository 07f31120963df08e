"""Defaults of the resource.k8s.io group (dynamic resource allocation)."""

from __future__ import annotations

from podwright.api.defaulting import quantities
from podwright.api.objects import Object


def resource_claim(obj: Object) -> None:
    claim_spec(obj.get("spec"))


def resource_claim_template(obj: Object) -> None:
    spec = obj.get("spec")
    if spec is not None:
        claim_spec(spec.setdefault("spec", {}))


def claim_spec(spec: Object | None) -> None:
    for request in ((spec or {}).get("devices") or {}).get("requests") or ():
        if (exactly := request.get("exactly")) is not None:
            _request(exactly)
        for choice in request.get("firstAvailable") or ():
            _request(choice)


def _request(request: Object) -> None:
    if not request.get("allocationMode"):
        request["allocationMode"] = "ExactCount"
    if request["allocationMode"] == "ExactCount" and not request.get("count"):
        request["count"] = 1
    for toleration in request.get("tolerations") or ():
        if not toleration.get("operator"):
            toleration["operator"] = "Equal"
    capacity = request.get("capacity")
    if capacity:
        quantities.resource_list(capacity, "requests")


def resource_slice(obj: Object) -> None:
    spec = obj.get("spec") or {}
    for counters in spec.get("sharedCounters") or ():
        _values(counters.get("counters"))
    for device in spec.get("devices") or ():
        _values(device.get("capacity"))
        for use in device.get("consumesCounters") or ():
            _values(use.get("counters"))


def _values(entries: Object | None) -> None:
    for entry in (entries or {}).values():
        quantities.field(entry, "value")


DEFAULTERS = {
    ("resource.k8s.io", "", "ResourceClaim"): resource_claim,
    ("resource.k8s.io", "", "ResourceClaimTemplate"): resource_claim_template,
    ("resource.k8s.io", "", "ResourceSlice"): resource_slice,
}
