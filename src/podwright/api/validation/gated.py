"""Fields behind feature gates that are off in 1.37: dropped from what is written, unless the object had them before
(upstream's ``dropDisabledFields``). A field that Podwright acts on all the same is not among them
(docs/differences.md)."""

from __future__ import annotations

from collections.abc import Iterable
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
Tree = dict[str, Any]


def _tree(paths: Iterable[str]) -> Tree:
    """The paths step by step; below the last one stands the whole path."""
    root: Tree = {}
    for path in paths:
        *parents, field = path.split(".")
        node = root
        for step in parents:
            node = node.setdefault(step, {})
        node[field] = path
    return root


_TREES: dict[tuple[str, str], Tree] = {
    kind: _tree((*_FIELDS.get(kind, ()), *(f"{_POD_SPECS[kind]}.{p}" for p in _OF_POD_SPEC if kind in _POD_SPECS)))
    for kind in _FIELDS.keys() | _POD_SPECS.keys()
}


def drop(row: Resource, obj: Object, old: Object | None = None) -> None:
    """Remove them from `obj`, in place."""
    tree = _TREES.get((row.group, row.kind))
    if tree is not None and (found := _found(tree, obj, [])):
        before = {path for _, path in _found(tree, old or {}, [])}
        for holder, path in found:
            if path not in before:
                holder.pop(path.rpartition(".")[2], None)  # A patch may put one object in two places.


def _found(tree: Tree, value: Any, found: list[tuple[Object, str]]) -> list[tuple[Object, str]]:
    """`found`, and what is there of the tree: the holder and the path of each field. "*" is every item of a list or
    map."""
    for step, below in tree.items():
        if below.__class__ is str:
            if step in value:
                found.append((value, below))
        elif step == "*":
            for item in value.values() if isinstance(value, dict) else value:
                if item:
                    _found(below, item, found)
        elif inner := value.get(step):
            _found(below, inner, found)
    return found
