"""``podwright status``: which processes of a cluster run, and how its nodes are."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from podwright.api import objects
from podwright.api.objects import Object
from podwright.api.resources import NODES, PODS
from podwright.api.status import ApiError
from podwright.client.transport import ServerUnreachable
from podwright.cluster import processes
from podwright.cluster.admin import local_client
from podwright.cluster.down import find_cluster
from podwright.cluster.pki import Pki
from podwright.cluster.spec import ClusterSpec
from podwright.cluster.up import process_names
from podwright.kubelet.simulated.nodes import SIMULATED


def status(name: str) -> dict[str, Any]:
    """Processes with pid (0 if not running), nodes with readiness and Pod counts. Raises NoSuchCluster."""
    spec, layout, ranges = find_cluster(name)
    running = {p: processes.find(layout, p) for p in process_names(spec)}
    report: dict[str, Any] = {
        "name": name,
        "server": spec.server or f"https://127.0.0.1:{spec.port}",
        "data": str(layout.data),
        "podCIDR": str(ranges.pods),
        "serviceCIDR": str(ranges.services),
        "processes": [{"name": n, "pid": p.pid if p else 0, "running": p is not None} for n, p in running.items()],
        "nodes": [],
        "ready": False,
    }
    if spec.joined_node or running["server"] is not None:
        try:
            report["nodes"] = asyncio.run(_nodes(spec, Pki(layout.pki)))
        except (ApiError, ServerUnreachable, TimeoutError) as failed:
            report["error"] = str(failed)
    report["ready"] = (
        all(p is not None for p in running.values())
        and len(report["nodes"]) >= spec.nodes
        and all(n["ready"] for n in report["nodes"])
    )
    return report


async def _nodes(spec: ClusterSpec, pki: Pki) -> list[dict[str, Any]]:
    async with local_client(spec, pki) as client, asyncio.timeout(10):
        if spec.joined_node:
            # It may see no other than itself.
            nodes: Sequence[Object] = [await client.get(NODES, spec.joined_node)]
            pods = await client.items(PODS, field_selector=f"spec.nodeName={spec.joined_node}")
        else:
            nodes = await client.items(NODES)
            pods = await client.items(PODS)
    counts: dict[str, int] = {}
    for pod in pods:
        node = (pod.get("spec") or {}).get("nodeName")
        if node:
            counts[node] = counts.get(node, 0) + 1
    return [
        {
            "name": objects.name(node),
            "ready": objects.condition_is_true(node, "Ready"),
            "addresses": [a["address"] for a in (node.get("status") or {}).get("addresses") or []],
            "pods": counts.get(objects.name(node), 0),
            "simulated": SIMULATED in (node["metadata"].get("labels") or {}),
        }
        for node in nodes
    ]
