"""Defaults of PersistentVolumes and PersistentVolumeClaims."""

from __future__ import annotations

from podwright.api.defaulting import quantities
from podwright.api.defaulting.pod_volumes import claim_template, network_sources
from podwright.api.objects import Object


def persistent_volume(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    quantities.resource_list(spec, "capacity")
    if not spec.get("persistentVolumeReclaimPolicy"):
        spec["persistentVolumeReclaimPolicy"] = "Retain"
    spec.setdefault("volumeMode", "Filesystem")
    if (path := spec.get("hostPath")) is not None:
        path.setdefault("type", "")
    network_sources(spec)
    _phase(obj)


def persistent_volume_claim(obj: Object) -> None:
    claim_template(obj)
    status = _phase(obj)
    quantities.resource_list(status, "capacity")
    quantities.resource_list(status, "allocatedResources")


def _phase(obj: Object) -> Object:
    status: Object = obj.setdefault("status", {})
    if not status.get("phase"):
        status["phase"] = "Pending"
    return status
