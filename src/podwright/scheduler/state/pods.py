"""Pods as the scheduler sees them: classes of equal Pods, and what is kept of each Pod on a node."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import orjson

from podwright.api import node_affinity, objects, pods
from podwright.api.objects import Object
from podwright.scheduler.state.affinity_terms import TermsOfSpec

DEFAULT_MEMORY = 200 * 1024 * 1024
"""What a container that requests nothing counts for in scores."""

_SPEC_FIELDS = (
    "nodeSelector", "affinity", "tolerations", "topologySpreadConstraints", "overhead", "resources", "schedulerName",
    "hostNetwork", "resourceClaims", "nodeName", "schedulingGates", "priority",
    "preemptionPolicy", "schedulingGroup", "workloadRef",
)
_VOLUMES = (
    "persistentVolumeClaim", "ephemeral", "gcePersistentDisk", "awsElasticBlockStore", "rbd", "iscsi", "azureDisk",
    "cinder", "csi",
)
_CLASSES = 16384


class PodClass:
    """All Pods whose specs are equal in what scheduling looks at. Labels and namespace are not part of it.

    `memo` is for plugins: what they compiled of the spec, by plugin name."""

    __slots__ = (
        "memo", "non_zero_cpu", "non_zero_memory", "ports", "requests", "required_affinity", "spec", "terms",
        "tolerations",
    )

    def __init__(self, pod: Object) -> None:
        self.spec: Object = pod.get("spec") or {}
        bare = {"metadata": {}, "spec": self.spec}
        self.requests = {k: v for k, v in pods.requests(bare).items() if v}
        self.non_zero_cpu, self.non_zero_memory = non_zero_requests(bare)
        self.ports = tuple(dict.fromkeys(pods.host_ports(bare)))
        self.tolerations: tuple[Object, ...] = tuple(self.spec.get("tolerations") or ())
        self.required_affinity = node_affinity.required(bare)
        self.terms = TermsOfSpec(self.spec)
        self.memo: dict[Any, Any] = {}


def non_zero_requests(pod: Object) -> tuple[int, int]:
    """CPU (milli) and memory (bytes) with 100m and 200 MiB for each container that requests none, which scores use so
    that Pods without requests spread too."""
    spec = pod.get("spec") or {}

    def filled(container: Object) -> Object:
        resources = container.get("resources") or {}
        asked = resources.get("requests") or {}
        return {**container, "resources": {"requests": {"cpu": "100m", "memory": str(DEFAULT_MEMORY), **asked}}}

    changed = {**spec, "containers": [filled(c) for c in spec.get("containers") or ()]}
    if spec.get("initContainers"):
        changed["initContainers"] = [filled(c) for c in spec["initContainers"]]
    total = pods.requests({"metadata": {}, "spec": changed})
    return total.get("cpu", 0), total.get("memory", 0)


def _fingerprint(pod: Object) -> bytes:
    spec = pod.get("spec") or {}
    parts: list[Any] = [
        [
            [(c.get("resources"), c.get("image"), c.get("restartPolicy"), [p for p in c.get("ports") or () if
              p.get("hostPort")]) for c in spec.get(field) or ()]
            for field in ("containers", "initContainers")
        ],
        [spec.get(f) for f in _SPEC_FIELDS],
        [v for v in spec.get("volumes") or () if any(kind in v for kind in _VOLUMES)],
    ]  # fmt: skip
    return orjson.dumps(parts)


class PodClasses:
    """The classes seen lately."""

    def __init__(self) -> None:
        self._known: OrderedDict[bytes, PodClass] = OrderedDict()

    def of(self, pod: Object) -> PodClass:
        """Raises:
            QuantityError: a quantity is malformed.
        """
        key = _fingerprint(pod)
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = PodClass(pod)
            if len(self._known) > _CLASSES:
                self._known.popitem(last=False)
        return known


class _Pod:
    __slots__ = ("cls", "key", "labels", "namespace", "pod", "priority", "requests", "uid")

    def __init__(self, pod: Object, cls: PodClass) -> None:
        self.pod = pod
        self.cls = cls
        self.key = objects.key(pod)
        self.uid = objects.uid(pod)
        self.namespace = objects.namespace(pod)
        self.labels: Mapping[str, str] = objects.labels(pod)
        self.priority = pods.priority(pod)
        self.requests = cls.requests

    def amount(self, resource: str) -> int:
        """What it takes, or will take, of a resource, "pods" among them."""
        return 1 if resource == "pods" else self.requests.get(resource, 0)


class PodRecord(_Pod):
    """A Pod on a node: bound, or assumed to be."""

    __slots__ = ("deleting", "node", "non_zero_cpu", "non_zero_memory")

    def __init__(self, pod: Object, cls: PodClass, node: str) -> None:
        super().__init__(pod, cls)
        self.node = node
        self.deleting = objects.is_deleting(pod)
        self.non_zero_cpu = cls.non_zero_cpu
        self.non_zero_memory = cls.non_zero_memory
        if any(sizes_of(pod)):
            asked = pods.requests(pod)
            self.non_zero_cpu += max(0, asked.get("cpu", 0) - self.requests.get("cpu", 0))
            self.non_zero_memory += max(0, asked.get("memory", 0) - self.requests.get("memory", 0))
            self.requests = {k: v for k, v in asked.items() if v}


def sizes_of(pod: Object) -> list[object]:
    """What the status says of the resources of a Pod that has been resized, or is being."""
    status = pod.get("status") or {}
    return [
        (s.get("resources"), s.get("allocatedResources"))
        for field in ("containerStatuses", "initContainerStatuses")
        for s in status.get(field) or ()
        if "resources" in s or "allocatedResources" in s
    ] + [status.get("resources"), status.get("allocatedResources")]


class PodInfo(_Pod):
    """A Pod that waits to be scheduled. `attempts` counts its tries."""

    __slots__ = ("added", "attempts", "refused_by", "state")

    def __init__(self, pod: Object, cls: PodClass, added: float = 0.0) -> None:
        super().__init__(pod, cls)
        self.added = added
        self.attempts = 0
        self.refused_by: frozenset[str] = frozenset()
        self.state: dict[str, Any] = {}
        """What plugins computed in this cycle, by plugin name."""

    @property
    def scheduler_name(self) -> str:
        return str(self.cls.spec.get("schedulerName") or "default-scheduler")

    @property
    def nominated_node(self) -> str:
        return str((self.pod.get("status") or {}).get("nominatedNodeName") or "")
