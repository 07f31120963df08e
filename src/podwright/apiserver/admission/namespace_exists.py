"""NamespaceExists: nothing is written into, and nothing deleted from, a namespace that is not there."""

from __future__ import annotations

from podwright.api.resources import NAMESPACES
from podwright.api.status import not_found
from podwright.apiserver.admission.arrivals import get_soon
from podwright.apiserver.admission.chain import Plugin
from podwright.apiserver.admission.namespace_lifecycle import MISSING_NAMESPACE_WAIT
from podwright.apiserver.requests import AdmissionRequest, Objects


class NamespaceExists(Plugin):
    name = "NamespaceExists"

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    def handles(self, request: AdmissionRequest) -> bool:
        return request.resource.namespaced and request.operation in ("CREATE", "UPDATE", "DELETE")

    async def validate(self, request: AdmissionRequest) -> None:
        ns = request.namespace
        if await get_soon(self._objects, NAMESPACES, "", ns, MISSING_NAMESPACE_WAIT) is None:
            raise not_found("", "namespaces", ns)
