"""LimitPodHardAntiAffinityTopology: no Pod keeps others off more than its own node."""

from __future__ import annotations

from podwright.apiserver.admission.chain import PodPlugin
from podwright.apiserver.admission.refusals import forbidden
from podwright.apiserver.requests import AdmissionRequest

HOSTNAME = "kubernetes.io/hostname"


class LimitPodHardAntiAffinityTopology(PodPlugin):
    name = "LimitPodHardAntiAffinityTopology"

    async def validate(self, request: AdmissionRequest) -> None:
        affinity = ((request.object or {}).get("spec") or {}).get("affinity") or {}
        rules = affinity.get("podAntiAffinity") or {}
        for term in rules.get("requiredDuringSchedulingIgnoredDuringExecution") or ():
            if (key := term.get("topologyKey")) != HOSTNAME:
                said = f"affinity.PodAntiAffinity.RequiredDuringScheduling has TopologyKey {key}"
                raise forbidden(request, f"{said} but only key {HOSTNAME} is allowed")
