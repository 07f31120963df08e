"""The admission rules of volumes: default class, finalizers that guard what is in use, growing claims."""

from __future__ import annotations

from podwright.api.objects import Object, name, parse_time
from podwright.api.quantity import parse
from podwright.api.resources import STORAGECLASSES
from podwright.apiserver.admission.chain import Plugin
from podwright.apiserver.admission.refusals import forbidden
from podwright.apiserver.requests import AdmissionRequest, Objects

DEFAULT_CLASS = ("storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class")
BETA_CLASS = "volume.beta.kubernetes.io/storage-class"
_FINALIZERS = {
    ("", "persistentvolumeclaims"): "kubernetes.io/pvc-protection",
    ("", "persistentvolumes"): "kubernetes.io/pv-protection",
    ("storage.k8s.io", "volumeattributesclasses"): "kubernetes.io/vac-protection",
}


def _is_claim(request: AdmissionRequest, operation: str) -> bool:
    return (
        request.resource.plural == "persistentvolumeclaims"
        and not request.resource.group
        and not request.subresource
        and request.operation == operation
    )


def newest_default(candidates: list[Object], keys: tuple[str, ...]) -> Object | None:
    """Among objects one of whose annotations `keys` is "true": the one made last, by name if that is a draw."""
    found = [o for o in candidates if any((o["metadata"].get("annotations") or {}).get(key) == "true" for key in keys)]
    found.sort(key=lambda o: (-parse_time(o["metadata"].get("creationTimestamp") or "1970-01-01T00:00:00Z"), name(o)))
    return found[0] if found else None


class DefaultStorageClass(Plugin):
    """A claim that names no class gets the default one, if there is one."""

    name = "DefaultStorageClass"

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    def handles(self, request: AdmissionRequest) -> bool:
        return _is_claim(request, "CREATE")

    async def admit(self, request: AdmissionRequest) -> None:
        claim = request.object
        if claim is None or claim["spec"].get("storageClassName") is not None:
            return
        if BETA_CLASS in (claim["metadata"].get("annotations") or {}):
            return
        default = newest_default(list(self._objects.list(STORAGECLASSES)), DEFAULT_CLASS)
        if default is not None:
            claim["spec"]["storageClassName"] = name(default)


class StorageObjectInUseProtection(Plugin):
    """Volumes and claims carry the finalizer that keeps them while they are used."""

    name = "StorageObjectInUseProtection"

    def handles(self, request: AdmissionRequest) -> bool:
        return (
            request.operation == "CREATE"
            and not request.subresource
            and (request.resource.group, request.resource.plural) in _FINALIZERS
        )

    async def admit(self, request: AdmissionRequest) -> None:
        if request.object is None:
            return
        metadata = request.object["metadata"]
        wanted = _FINALIZERS[request.resource.group, request.resource.plural]
        finalizers = metadata.get("finalizers") or []
        if wanted not in finalizers:
            metadata["finalizers"] = [*finalizers, wanted]


class PersistentVolumeClaimResize(Plugin):
    """A claim grows only where its class allows it."""

    name = "PersistentVolumeClaimResize"

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    def handles(self, request: AdmissionRequest) -> bool:
        return _is_claim(request, "UPDATE")

    async def validate(self, request: AdmissionRequest) -> None:
        if request.object is None or request.old_object is None:
            return
        new, old = (
            (((o["spec"].get("resources") or {}).get("requests")) or {}).get("storage")
            for o in (request.object, request.old_object)
        )
        if new is None or old is None or parse(new) <= parse(old):
            return
        if (request.old_object.get("status") or {}).get("phase") != "Bound":
            raise forbidden(request, "Only bound persistent volume claims can be expanded")
        called = (request.object["metadata"].get("annotations") or {}).get(BETA_CLASS) or request.object["spec"].get(
            "storageClassName"
        )
        storage_class = self._objects.get(STORAGECLASSES, "", called) if called else None
        if storage_class is None or not storage_class.get("allowVolumeExpansion"):
            raise forbidden(
                request,
                "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must"
                " support resize",
            )
