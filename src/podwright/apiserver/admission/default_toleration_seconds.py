"""DefaultTolerationSeconds: a Pod stays five minutes on a node that is not ready or cannot be reached, unless it says
otherwise."""

from __future__ import annotations

from podwright.api.objects import Object
from podwright.apiserver.admission.chain import Plugin
from podwright.apiserver.requests import AdmissionRequest

NOT_READY = "node.kubernetes.io/not-ready"
UNREACHABLE = "node.kubernetes.io/unreachable"


class DefaultTolerationSeconds(Plugin):
    name = "DefaultTolerationSeconds"

    def __init__(self, not_ready: int = 300, unreachable: int = 300) -> None:
        self._seconds = {NOT_READY: not_ready, UNREACHABLE: unreachable}

    def handles(self, request: AdmissionRequest) -> bool:
        resource = request.resource
        return (
            resource.plural == "pods"
            and not resource.group
            and not request.subresource
            and request.operation in ("CREATE", "UPDATE")
        )

    async def admit(self, request: AdmissionRequest) -> None:
        pod = request.object
        if pod is None:
            return
        tolerations: list[Object] = pod["spec"].get("tolerations") or []
        tolerated: set[str] = set()
        for toleration in tolerations:
            if toleration.get("effect") in (None, "", "NoExecute"):
                key = toleration.get("key")
                tolerated.update((key,) if key else (NOT_READY, UNREACHABLE))
        added = [
            {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds}
            for key, seconds in self._seconds.items()
            if key not in tolerated
        ]
        if added:
            pod["spec"]["tolerations"] = [*tolerations, *added]
