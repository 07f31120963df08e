"""DefaultIngressClass: an Ingress that names no class gets the default one."""

from __future__ import annotations

from podwright.api.objects import name
from podwright.api.resources import INGRESSCLASSES
from podwright.apiserver.admission.chain import Plugin
from podwright.apiserver.admission.storage import newest_default
from podwright.apiserver.requests import AdmissionRequest, Objects

DEFAULT_CLASS = "ingressclass.kubernetes.io/is-default-class"
ANNOTATION = "kubernetes.io/ingress.class"


class DefaultIngressClass(Plugin):
    name = "DefaultIngressClass"

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    def handles(self, request: AdmissionRequest) -> bool:
        resource = request.resource
        return (
            (resource.group, resource.plural) == ("networking.k8s.io", "ingresses")
            and not request.subresource
            and request.operation == "CREATE"
        )

    async def admit(self, request: AdmissionRequest) -> None:
        ingress = request.object
        if ingress is None or (ingress.get("spec") or {}).get("ingressClassName") is not None:
            return
        if ANNOTATION in (ingress["metadata"].get("annotations") or {}):
            return
        default = newest_default(list(self._objects.list(INGRESSCLASSES)), (DEFAULT_CLASS,))
        if default is not None:
            ingress.setdefault("spec", {})["ingressClassName"] = name(default)
