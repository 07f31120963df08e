"""TaintNodesByCondition: a new node takes no Pods before it has reported itself ready."""

from __future__ import annotations

from podwright.apiserver.admission.chain import Plugin
from podwright.apiserver.requests import AdmissionRequest

TAINT = {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}


class TaintNodesByCondition(Plugin):
    name = "TaintNodesByCondition"

    def handles(self, request: AdmissionRequest) -> bool:
        resource = request.resource
        return (
            resource.plural == "nodes"
            and not resource.group
            and not request.subresource
            and request.operation == "CREATE"
        )

    async def admit(self, request: AdmissionRequest) -> None:
        if request.object is None:
            return
        spec = request.object.setdefault("spec", {})
        taints = spec.get("taints") or []
        if not any(t.get("key") == TAINT["key"] and t.get("effect") == TAINT["effect"] for t in taints):
            spec["taints"] = [*taints, dict(TAINT)]
