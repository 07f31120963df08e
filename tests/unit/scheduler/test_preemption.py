"""Pods of higher priority get room, with as little harm as can be."""

from __future__ import annotations

from typing import Any

from tests.unit.scheduler.test_scheduler import add_node, admin, node, placed, pod, refused, server, until

from podwright.api.objects import Object
from podwright.api.resources import (
    PERSISTENTVOLUMECLAIMS,
    PERSISTENTVOLUMES,
    PODDISRUPTIONBUDGETS,
    PODS,
    PRIORITYCLASSES,
)
from podwright.api.status import ApiError
from podwright.client.client import Client

__all__ = ["admin", "server"]


async def classes(admin: Client) -> None:
    for name, value, more in (("low", 1, {}), ("middle", 5, {}), ("high", 9, {}),
                              ("polite", 9, {"preemptionPolicy": "Never"})):
        await admin.create(PRIORITYCLASSES, {
            "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name}, "value": value,
            **more})


def ranked(name: str, rank: str, cpu: str = "800m", **more: Any) -> Object:
    return pod(name, cpu=cpu, priorityClassName=rank, **more)


async def gone(admin: Client, name: str) -> bool:
    """Ended at once if it has begun to end: there is no kubelet here."""
    try:
        found = await admin.get(PODS, name, namespace="default")
    except ApiError as missing:
        return missing.code == 404
    if found["metadata"].get("deletionTimestamp"):
        await admin.delete(PODS, name, namespace="default", grace_period_seconds=0)
    return False


async def test_the_lowest_goes_for_the_highest(admin: Client) -> None:
    await classes(admin)
    for name in ("a", "b"):
        await add_node(admin, node(name, cpu="1"))
    await admin.create(PODS, ranked("low", "low"))
    await admin.create(PODS, ranked("middle", "middle"))
    where = await placed(admin, "low")
    await placed(admin, "middle")
    await admin.create(PODS, ranked("high", "high"))

    async def nominated() -> str:
        return str((await admin.get(PODS, "high", namespace="default"))["status"].get("nominatedNodeName") or "")

    assert await until(nominated) == where
    # The room is kept: a newcomer of lower priority waits.
    await admin.create(PODS, ranked("newcomer", "low", cpu="500m"))
    await until(lambda: gone(admin, "low"))
    assert await placed(admin, "high") == where
    await refused(admin, "newcomer")
    assert (await admin.get(PODS, "middle", namespace="default"))["spec"]["nodeName"] != where


async def test_a_polite_pod_waits(admin: Client) -> None:
    await classes(admin)
    await add_node(admin, node("a", cpu="1"))
    await admin.create(PODS, ranked("low", "low"))
    await placed(admin, "low")
    await admin.create(PODS, ranked("polite", "polite"))
    assert await refused(admin, "polite") == (
        "0/1 nodes are available: 1 Insufficient cpu. preemption: not eligible due to preemptionPolicy=Never."
    )


async def test_a_budget_spares_its_pods(admin: Client) -> None:
    await classes(admin)
    for name in ("a", "b"):
        await add_node(admin, node(name, cpu="1"))
    kept = ranked("kept", "low")
    kept["metadata"]["labels"] = {"app": "kept"}
    await admin.create(PODS, kept)
    await placed(admin, "kept")
    await admin.create(PODS, ranked("free", "middle"))
    where = await placed(admin, "free")
    await admin.create(PODDISRUPTIONBUDGETS, {
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
        "metadata": {"name": "b", "namespace": "default"},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "kept"}}}})
    await admin.create(PODS, ranked("high", "high"))
    await until(lambda: gone(admin, "free"))
    assert await placed(admin, "high") == where


async def test_nobody_is_evicted_in_vain(admin: Client) -> None:
    await classes(admin)
    await add_node(admin, node("a", cpu="1"))
    await admin.create(PODS, ranked("low", "low"))
    await placed(admin, "low")
    await admin.create(PODS, ranked("giant", "high", cpu="5"))
    assert await refused(admin, "giant") == (
        "0/1 nodes are available: 1 Insufficient cpu. "
        "preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
    )
    assert not (await admin.get(PODS, "low", namespace="default"))["metadata"].get("deletionTimestamp")


async def test_a_claim_for_one_pod_goes_to_the_higher(admin: Client) -> None:
    await classes(admin)
    for name in ("a", "b"):
        await add_node(admin, node(name))
    room = {"accessModes": ["ReadWriteOncePod"], "storageClassName": ""}
    await admin.create(PERSISTENTVOLUMES, {
        "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "v"},
        "spec": {**room, "capacity": {"storage": "1Gi"}, "csi": {"driver": "d.example", "volumeHandle": "v"}}})
    await admin.create(PERSISTENTVOLUMECLAIMS, {
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "c", "namespace": "default"},
        "spec": {**room, "volumeName": "v", "resources": {"requests": {"storage": "1Gi"}}}})
    volumes = [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]
    await admin.create(PODS, ranked("holder", "low", volumes=volumes))
    where = await placed(admin, "holder")
    await admin.create(PODS, ranked("polite", "polite", volumes=volumes))
    assert (await refused(admin, "polite")).startswith(
        "0/2 nodes are available: 2 node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod "
        "access mode. preemption: not eligible due to preemptionPolicy=Never."
    )
    await admin.delete(PODS, "polite", namespace="default", grace_period_seconds=0)
    await admin.create(PODS, ranked("high", "high", volumes=volumes))
    await until(lambda: gone(admin, "holder"))
    assert await placed(admin, "high") == where
