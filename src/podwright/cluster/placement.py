"""``podwright explain-placement``: the scheduler's rules, asked about a Pod of a running cluster."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Any

from podwright.api import objects
from podwright.api.resources import (
    CSIDRIVERS,
    CSINODES,
    CSISTORAGECAPACITIES,
    DEVICECLASSES,
    NAMESPACES,
    NODES,
    PERSISTENTVOLUMECLAIMS,
    PERSISTENTVOLUMES,
    PODS,
    REPLICASETS,
    REPLICATIONCONTROLLERS,
    RESOURCECLAIMS,
    RESOURCESLICES,
    SERVICES,
    STATEFULSETS,
    STORAGECLASSES,
    VOLUMEATTACHMENTS,
)
from podwright.cluster.admin import admin_client
from podwright.cluster.down import find_cluster
from podwright.cluster.pki import Pki
from podwright.scheduler.config import DEFAULT_SCHEDULER
from podwright.scheduler.explanation import explain

_ALSO_ASKED = (
    NAMESPACES, PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES, STORAGECLASSES,
    SERVICES, REPLICATIONCONTROLLERS, REPLICASETS, STATEFULSETS, CSINODES, CSIDRIVERS, CSISTORAGECAPACITIES,
    VOLUMEATTACHMENTS, RESOURCECLAIMS, RESOURCESLICES, DEVICECLASSES,
)  # fmt: skip
"""What rules about volumes, devices, other Pods and spreading look at."""


def explain_placement(cluster: str, namespace: str, name: str) -> dict[str, Any]:
    """The Pod's node, its PodScheduled condition, and each node's answer. Raises NoSuchCluster, ApiError,
    ServerUnreachable."""
    return asyncio.run(_explain(cluster, namespace, name))


async def _explain(cluster: str, namespace: str, name: str) -> dict[str, Any]:
    spec, layout, _ = find_cluster(cluster)
    async with admin_client(spec, Pki(layout.pki)) as client:
        pod = await client.get(PODS, name, namespace=namespace)
        nodes, pods = await client.items(NODES), await client.items(PODS)
        others = {row: await client.items(row) for row in _ALSO_ASKED}
    condition = objects.condition(pod, "PodScheduled") or {}
    return {
        "pod": objects.key(pod),
        "scheduler": (pod.get("spec") or {}).get("schedulerName") or DEFAULT_SCHEDULER,
        "node": (pod.get("spec") or {}).get("nodeName") or "",
        "message": condition.get("message", ""),
        "nodes": [asdict(answer) for answer in explain(pod, nodes, pods, others=others)],
    }
