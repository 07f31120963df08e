"""NamespaceAutoProvision: a namespace is made when something is first put into it."""

from __future__ import annotations

from podwright.api.resources import NAMESPACES
from podwright.api.status import ApiError
from podwright.apiserver.admission.chain import Plugin
from podwright.apiserver.admission.refusals import forbidden
from podwright.apiserver.requests import AdmissionRequest, Objects, Writer


class NamespaceAutoProvision(Plugin):
    name = "NamespaceAutoProvision"

    def __init__(self, objects: Objects, writer: Writer) -> None:
        self._objects = objects
        self._writer = writer

    def handles(self, request: AdmissionRequest) -> bool:
        return request.operation == "CREATE" and request.resource.namespaced

    async def admit(self, request: AdmissionRequest) -> None:
        ns = request.namespace
        if request.dry_run or self._objects.get(NAMESPACES, "", ns) is not None:
            return
        try:
            await self._writer.create(NAMESPACES, {"metadata": {"name": ns}})
        except ApiError as error:
            if error.code != 409:
                raise forbidden(request, str(error)) from None
