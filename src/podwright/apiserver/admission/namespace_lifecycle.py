"""NamespaceLifecycle: nothing is written into a namespace that does not exist, nothing new into one that is going,
and the system's namespaces stay."""

from __future__ import annotations

from podwright.api.resources import NAMESPACES
from podwright.api.status import forbidden as forbidden_status
from podwright.api.status import not_found
from podwright.apiserver.admission.arrivals import get_soon
from podwright.apiserver.admission.chain import Plugin
from podwright.apiserver.admission.refusals import forbidden
from podwright.apiserver.requests import AdmissionRequest, Objects

IMMORTAL = frozenset({"default", "kube-system", "kube-public"})
MISSING_NAMESPACE_WAIT = 0.05
_REVIEW_GROUPS = ("authorization.k8s.io", "authentication.k8s.io")


class NamespaceLifecycle(Plugin):
    name = "NamespaceLifecycle"

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    def handles(self, request: AdmissionRequest) -> bool:
        resource = request.resource
        if resource.plural == "namespaces" and resource.group == "":
            return request.operation == "DELETE" and not request.subresource
        if not resource.namespaced or resource.group in _REVIEW_GROUPS:
            return False
        return request.operation in ("CREATE", "UPDATE")

    async def admit(self, request: AdmissionRequest) -> None:
        if request.operation == "DELETE":
            if request.name in IMMORTAL:
                raise forbidden_status("", "namespaces", request.name, "this namespace may not be deleted")
            return
        ns = request.namespace
        found = self._objects.get(NAMESPACES, "", ns)
        if found is None:
            wait = MISSING_NAMESPACE_WAIT if request.operation == "CREATE" else 0.0
            found = await get_soon(self._objects, NAMESPACES, "", ns, wait)
            if found is None:
                raise not_found("", "namespaces", ns)
        if request.operation == "CREATE" and (found.get("status") or {}).get("phase") == "Terminating":
            error = forbidden(request, f"unable to create new content in namespace {ns} because it is being terminated")
            error.status.setdefault("details", {})["causes"] = [
                {
                    "reason": "NamespaceTerminating",
                    "message": f"namespace {ns} is being terminated",
                    "field": "metadata.namespace",
                }
            ]
            raise error
