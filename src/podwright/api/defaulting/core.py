"""Defaults of the kinds of the core group that need few of them, and the table of all of the group."""

from __future__ import annotations

from podwright.api.defaulting import quantities
from podwright.api.defaulting.core_pod import pod
from podwright.api.defaulting.core_service import endpoints, service
from podwright.api.defaulting.core_storage import persistent_volume, persistent_volume_claim
from podwright.api.defaulting.pod_spec import pod_template as template
from podwright.api.objects import Object


def namespace(obj: Object) -> None:
    metadata = obj.setdefault("metadata", {})
    if name := metadata.get("name"):
        labels = metadata.get("labels")
        if labels is None:
            labels = metadata["labels"] = {}
        labels["kubernetes.io/metadata.name"] = name
    status = obj.setdefault("status", {})
    if not status.get("phase"):
        status["phase"] = "Active"


def node(obj: Object) -> None:
    obj.setdefault("spec", {})
    status = obj.get("status")
    if not status:
        return
    quantities.resource_list(status, "capacity")
    quantities.resource_list(status, "allocatable")
    if status.get("allocatable") is None and status.get("capacity") is not None:
        status["allocatable"] = dict(status["capacity"])


def pod_template(obj: Object) -> None:
    template(obj.setdefault("template", {}))


def replication_controller(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    pod = spec.get("template")
    labels = ((pod or {}).get("metadata") or {}).get("labels")
    if labels:
        if not spec.get("selector"):
            spec["selector"] = dict(labels)
        metadata = obj.setdefault("metadata", {})
        if not metadata.get("labels"):
            metadata["labels"] = dict(labels)
    if spec.get("replicas") is None:
        spec["replicas"] = 1
    template(pod)


def limit_range(obj: Object) -> None:
    for item in (obj.get("spec") or {}).get("limits") or ():
        for name in ("max", "min", "default", "defaultRequest", "maxLimitRequestRatio"):
            quantities.resource_list(item, name)
        if item.get("type") != "Container":
            continue
        default = item.get("default") or {}
        request = item.get("defaultRequest") or {}
        for name, amount in (item.get("max") or {}).items():
            default.setdefault(name, amount)
        for name, amount in (default | {}).items():
            request.setdefault(name, amount)
        for name, amount in (item.get("min") or {}).items():
            request.setdefault(name, amount)
        if default:
            item["default"] = default
        if request:
            item["defaultRequest"] = request


def resource_quota(obj: Object) -> None:
    quantities.resource_list(obj.get("spec"), "hard")
    quantities.resource_list(obj.get("status"), "hard")
    quantities.resource_list(obj.get("status"), "used")


def secret(obj: Object) -> None:
    if not obj.get("type"):
        obj["type"] = "Opaque"


DEFAULTERS = {
    ("", "", "Endpoints"): endpoints,
    ("", "", "LimitRange"): limit_range,
    ("", "", "Namespace"): namespace,
    ("", "", "Node"): node,
    ("", "", "PersistentVolume"): persistent_volume,
    ("", "", "PersistentVolumeClaim"): persistent_volume_claim,
    ("", "", "Pod"): pod,
    ("", "", "PodTemplate"): pod_template,
    ("", "", "ReplicationController"): replication_controller,
    ("", "", "ResourceQuota"): resource_quota,
    ("", "", "Secret"): secret,
    ("", "", "Service"): service,
}
