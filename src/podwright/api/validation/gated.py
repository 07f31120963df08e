"""Fields behind feature gates that are off in 1.37: dropped from what is written, unless the object had them before
(upstream's ``dropDisabledFields``). A field that Podwright acts on all the same is not among them
(docs/differences.md)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from podwright.api.objects import Object
from podwright.api.resources import Resource

_LISTS = tuple(f"attributes.*.{kind}" for kind in ("bools", "ints", "strings", "versions"))
_FIELDS: dict[tuple[str, str], tuple[str, ...]] = {
    ("", "Node"): ("spec.podPreemptionPolicy",),
    ("", "PersistentVolumeClaim"): ("spec.dataSourceRef.namespace", "status.healthStatus"),
    ("batch", "CronJob"): ("spec.jobTemplate.spec.scheduling",),
    ("batch", "Job"): ("spec.scheduling",),
    ("coordination.k8s.io", "Lease"): ("spec.preferredHolder", "spec.strategy"),
    ("resource.k8s.io", "ResourceClaim"): ("status.allocation.devices.results.*.skipNodeOperations",),
    ("resource.k8s.io", "ResourceSlice"): (
        "spec.partitionTypeAttribute",
        "spec.skipNodeOperations",
        *(f"spec.devices.*.{field}" for field in ("nodeAllocatableResources", *_LISTS)),
    ),
    ("storage.k8s.io", "CSINode"): ("status.storageHealth",),
}
_OF_POD_SPEC = (
    "schedulingGroup",
    "evictionResponders",
    "volumes.*.ephemeral.volumeClaimTemplate.spec.dataSourceRef.namespace",
    *(
        f"{group}.*.{probe}.{field}"
        for group in ("containers", "initContainers")
        for probe in ("livenessProbe", "readinessProbe", "startupProbe")
        for field in ("httpGet.protocol", "grpc.mode")
    ),
)
_POD_SPECS: dict[tuple[str, str], str] = {
    ("", "Pod"): "spec",
    ("", "PodTemplate"): "template.spec",
    ("batch", "CronJob"): "spec.jobTemplate.spec.template.spec",
    **dict.fromkeys(
        [("", "ReplicationController"), ("batch", "Job")]
        + [("apps", kind) for kind in ("DaemonSet", "Deployment", "ReplicaSet", "StatefulSet")],
        "spec.template.spec",
    ),
}
_ALL: dict[tuple[str, str], list[list[str]]] = {
    kind: [
        path.split(".")
        for path in (*_FIELDS.get(kind, ()), *(f"{_POD_SPECS[kind]}.{p}" for p in _OF_POD_SPEC if kind in _POD_SPECS))
    ]
    for kind in _FIELDS.keys() | _POD_SPECS.keys()
}


def drop(row: Resource, obj: Object, old: Object | None = None) -> None:
    """Remove them from `obj`, in place."""
    for *parents, field in _ALL.get((row.group, row.kind), ()):
        if old is None or not any(field in holder for holder in _holders(old, parents)):
            for holder in _holders(obj, parents):
                holder.pop(field, None)


def _holders(value: Any, steps: list[str]) -> Iterator[Object]:
    """The objects at the end of the path; "*" is every item of a list or map."""
    if value and not steps:
        yield value
    elif value and steps[0] == "*":
        for item in value.values() if isinstance(value, dict) else value:
            yield from _holders(item, steps[1:])
    elif value:
        yield from _holders(value.get(steps[0]), steps[1:])
