"""Volumes and where they let a Pod run: disks that are mounted once, zones, limits of drivers, space left."""

from __future__ import annotations

from typing import Any

from tests.unit.scheduler.test_scheduler import node, pod

from podwright.api.objects import Object
from podwright.api.resources import (
    CSIDRIVERS,
    CSINODES,
    CSISTORAGECAPACITIES,
    PERSISTENTVOLUMECLAIMS,
    PERSISTENTVOLUMES,
    STORAGECLASSES,
    VOLUMEATTACHMENTS,
)
from podwright.scheduler.config import ProfileConfig, SchedulerConfig
from podwright.scheduler.explanation import explain

ZONE = "topology.kubernetes.io/zone"
LATE = {"metadata": {"name": "late"}, "provisioner": "d.example", "volumeBindingMode": "WaitForFirstConsumer"}
STATIC = {**LATE, "metadata": {"name": "static"}, "provisioner": "kubernetes.io/no-provisioner"}


def claim(name: str, volume: str = "", storage_class: str = "late", size: str = "1Gi", **spec: Any) -> Object:
    named = {"volumeName": volume} if volume else {}
    return {
        "metadata": {"name": name, "namespace": "default", "uid": name},
        "spec": {
            "accessModes": ["ReadWriteOnce"], "storageClassName": storage_class,
            "resources": {"requests": {"storage": size}}, **named, **spec,
        },
    }  # fmt: skip


def volume(name: str, size: str = "1Gi", labels: dict[str, str] | None = None, on: str = "", **spec: Any) -> Object:
    wanted = {"required": {"nodeSelectorTerms": [{"matchFields": [
        {"key": "metadata.name", "operator": "In", "values": [on]}]}]}}
    return {
        "metadata": {"name": name, "labels": labels or {}},
        "spec": {"capacity": {"storage": size}, "accessModes": ["ReadWriteOnce"], "storageClassName": "static",
                 **({"nodeAffinity": wanted} if on else {}), **spec},
        "status": {"phase": "Available"},
    }  # fmt: skip


def using(name: str, *claims: str, where: str = "", **spec: Any) -> Object:
    volumes = [{"name": c, "persistentVolumeClaim": {"claimName": c}} for c in claims]
    made = pod(name, volumes=[*volumes, *spec.pop("volumes", ())], **spec)
    made["metadata"]["uid"] = name
    if where:
        made["spec"]["nodeName"] = where
    return made


def refusals(wanted: Object, nodes: list[Object], placed: list[Object] | None = None, **found: Any) -> dict[str, Any]:
    return {p.node: list(p.refusals) for p in explain(wanted, nodes, placed or [], **found)}


def test_a_disk_is_written_by_one_pod_of_a_node() -> None:
    disk = {"name": "d", "gcePersistentDisk": {"pdName": "x"}}
    shared = {"name": "d", "gcePersistentDisk": {"pdName": "x", "readOnly": True}}
    nodes = [node("a"), node("b")]
    holder = using("holder", volumes=[disk], where="a")
    assert refusals(using("p", volumes=[disk]), nodes, [holder]) == {"a": ["node(s) had no available disk"], "b": []}
    reader = using("reader", volumes=[shared], where="a")
    assert refusals(using("p", volumes=[shared]), nodes, [reader]) == {"a": [], "b": []}
    ebs = {"name": "d", "awsElasticBlockStore": {"volumeID": "v", "readOnly": True}}
    assert refusals(using("p", volumes=[ebs]), nodes, [using("o", volumes=[ebs], where="b")])["b"]
    rbd = {"name": "d", "rbd": {"monitors": ["m1", "m2"], "image": "i"}}
    other = {"name": "d", "rbd": {"monitors": ["m2"], "pool": "rbd", "image": "i"}}
    assert refusals(using("p", volumes=[rbd]), nodes, [using("o", volumes=[other], where="b")])["b"]


def test_a_volume_stays_in_its_zone() -> None:
    nodes = [node("a", labels={ZONE: "1"}), node("b", labels={ZONE: "3"}), node("c")]
    old = {"failure-domain.beta.kubernetes.io/zone": "1__2"}
    for labels in ({ZONE: "1"}, old):
        others = {PERSISTENTVOLUMECLAIMS: [claim("c", "v")], PERSISTENTVOLUMES: [volume("v", labels=labels)]}
        said = refusals(using("p", "c"), nodes, others=others)
        assert said == {"a": [], "b": ["node(s) had no available volume zone"], "c": []}


def test_a_driver_takes_so_many_volumes_on_a_node() -> None:
    nodes = [node("a"), node("b")]
    limits = [{"metadata": {"name": n}, "spec": {"drivers": [{"name": "d.example", "allocatable": {"count": c}}]}}
              for n, c in (("a", 2), ("b", 3))]
    attached = [{"metadata": {"name": "x"}, "spec": {"attacher": "d.example", "nodeName": "b",
                                                      "source": {"persistentVolumeName": "elsewhere"}}}]
    others = {CSINODES: limits, VOLUMEATTACHMENTS: attached, STORAGECLASSES: [LATE],
              PERSISTENTVOLUMECLAIMS: [claim(n) for n in ("c1", "c2", "c3")]}
    placed = [using("o1", "c1", "c2", where="a"), using("o2", "c1", where="b")]
    assert refusals(using("p", "c3"), nodes, placed, others=others) == {
        "a": ["node(s) exceed max volume count"], "b": []}
    # One that is there already counts once; with those attached for others b is full.
    assert refusals(using("p", "c1"), nodes, placed, others=others) == {"a": [], "b": []}
    assert refusals(using("p", "c2", "c3"), nodes, placed, others=others)["b"]


def test_a_new_volume_needs_space() -> None:
    nodes = [node("a", labels={"rack": "1"}), node("b", labels={"rack": "2"}), node("c")]
    space = [
        {"metadata": {"name": "1"}, "storageClassName": "late", "capacity": "10Gi",
         "nodeTopology": {"matchLabels": {"rack": "1"}}},
        {"metadata": {"name": "2"}, "storageClassName": "late", "capacity": "10Gi", "maximumVolumeSize": "1Gi",
         "nodeTopology": {"matchExpressions": [{"key": "rack", "operator": "In", "values": ["2"]}]}},
    ]  # fmt: skip
    others = {STORAGECLASSES: [LATE], CSISTORAGECAPACITIES: space, PERSISTENTVOLUMECLAIMS: [claim("c", size="5Gi")],
              CSIDRIVERS: [{"metadata": {"name": "d.example"}, "spec": {"storageCapacity": True}}]}
    full = ["node(s) did not have enough free storage"]
    assert refusals(using("p", "c"), nodes, others=others) == {"a": [], "b": full, "c": full}
    others[CSIDRIVERS] = []
    assert refusals(using("p", "c"), nodes, others=others) == {"a": [], "b": [], "c": []}


def test_two_claims_need_two_volumes() -> None:
    nodes = [node("a"), node("b")]
    others = {
        STORAGECLASSES: [STATIC],
        PERSISTENTVOLUMECLAIMS: [claim("small", storage_class="static"), claim("big", storage_class="static",
                                                                               size="5Gi")],
        PERSISTENTVOLUMES: [volume("v1", on="a"), volume("v2", "5Gi", on="a"), volume("v3", "5Gi", on="b")],
    }
    none = ["node(s) didn't find available persistent volumes to bind"]
    assert refusals(using("p", "small", "big"), nodes, others=others) == {"a": [], "b": none}
    others[PERSISTENTVOLUMES] = [volume("v", "9Gi", accessModes=["ReadOnlyMany"])]
    assert refusals(using("p", "small"), nodes, others=others) == {"a": none, "b": none}


def test_the_best_filled_volume_wins_where_asked_for() -> None:
    shape = {"shape": [{"utilization": 0, "score": 0}, {"utilization": 100, "score": 10}]}
    config = SchedulerConfig(profiles=(ProfileConfig(args={"VolumeBinding": shape}),))
    others = {
        STORAGECLASSES: [STATIC], PERSISTENTVOLUMECLAIMS: [claim("c", storage_class="static")],
        PERSISTENTVOLUMES: [volume("v1", "4Gi", on="a"), volume("v2", "1Gi", on="b")],
    }  # fmt: skip
    said = {p.node: p.plugins["VolumeBinding"] for p in explain(
        using("p", "c"), [node("a"), node("b")], [], others=others, config=config)}
    assert said == {"a": 25, "b": 100}
