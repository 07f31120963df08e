"""ExtendedResourceToleration: a Pod that asks for devices tolerates the taint by which their nodes are kept for it."""

from __future__ import annotations

from podwright.api.pods import EPHEMERAL, all_containers
from podwright.api.validation.pod_resources import is_extended
from podwright.apiserver.admission.chain import PodPlugin
from podwright.apiserver.requests import AdmissionRequest


class ExtendedResourceToleration(PodPlugin):
    name = "ExtendedResourceToleration"

    async def admit(self, request: AdmissionRequest) -> None:
        if request.object is None:
            return
        asked = {
            name
            for kind, container in all_containers(request.object)
            for name in (container.get("resources") or {}).get("requests") or ()
            if kind != EPHEMERAL and is_extended(name)
        }
        spec = request.object["spec"]
        tolerations = list(spec.get("tolerations") or ())
        for name in sorted(asked):
            wanted = {"key": name, "operator": "Exists", "effect": "NoSchedule"}
            if wanted not in tolerations:
                tolerations.append(wanted)
        if tolerations:
            spec["tolerations"] = tolerations
