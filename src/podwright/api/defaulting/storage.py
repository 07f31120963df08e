"""Defaults of the storage.k8s.io group."""

from __future__ import annotations

from podwright.api.defaulting import quantities
from podwright.api.defaulting.pod_volumes import network_sources
from podwright.api.objects import Object


def storage_class(obj: Object) -> None:
    obj.setdefault("reclaimPolicy", "Delete")
    obj.setdefault("volumeBindingMode", "Immediate")


def csi_driver(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    spec.setdefault("attachRequired", True)
    spec.setdefault("podInfoOnMount", False)
    spec.setdefault("storageCapacity", False)
    spec.setdefault("fsGroupPolicy", "ReadWriteOnceWithFSType")
    if not spec.get("volumeLifecycleModes"):
        spec["volumeLifecycleModes"] = ["Persistent"]
    spec.setdefault("requiresRepublish", False)
    spec.setdefault("seLinuxMount", False)
    if spec.get("tokenRequests"):
        spec.setdefault("serviceAccountTokenInSecrets", False)


def csi_storage_capacity(obj: Object) -> None:
    quantities.field(obj, "capacity")
    quantities.field(obj, "maximumVolumeSize")


def volume_attachment(obj: Object) -> None:
    inline = ((obj.get("spec") or {}).get("source") or {}).get("inlineVolumeSpec")
    if inline:
        quantities.resource_list(inline, "capacity")
        inline.setdefault("volumeMode", "Filesystem")
        network_sources(inline)


DEFAULTERS = {
    ("storage.k8s.io", "", "CSIDriver"): csi_driver,
    ("storage.k8s.io", "", "CSIStorageCapacity"): csi_storage_capacity,
    ("storage.k8s.io", "", "StorageClass"): storage_class,
    ("storage.k8s.io", "", "VolumeAttachment"): volume_attachment,
}
