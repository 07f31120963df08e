"""PodTopologyLabels: a Pod has the zone and the region of its node among its labels (KEP-4742)."""

from __future__ import annotations

from podwright.api.resources import NODES
from podwright.apiserver.admission.chain import Plugin
from podwright.apiserver.requests import AdmissionRequest, Objects

LABELS = ("topology.kubernetes.io/zone", "topology.kubernetes.io/region")


class PodTopologyLabels(Plugin):
    name = "PodTopologyLabels"

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    def handles(self, request: AdmissionRequest) -> bool:
        resource = request.resource
        return (
            resource.plural == "pods"
            and not resource.group
            and request.operation == "CREATE"
            and request.subresource in ("", "binding")
        )

    async def admit(self, request: AdmissionRequest) -> None:
        """A Binding's labels become its Pod's; a label that is there stays."""
        obj = request.object
        if obj is None:
            return
        if request.subresource:
            target = obj.get("target") or {}
            name = target.get("name") if target.get("kind") in (None, "", "Node") else None
        else:
            name = (obj.get("spec") or {}).get("nodeName")
        node = self._objects.get(NODES, "", str(name)) if name else None
        found = (node["metadata"].get("labels") or {}) if node is not None else {}
        wanted = {key: found[key] for key in LABELS if key in found}
        if wanted:
            metadata = obj.setdefault("metadata", {})
            metadata["labels"] = {**wanted, **(metadata.get("labels") or {})}
