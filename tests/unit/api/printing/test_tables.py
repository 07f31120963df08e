"""What kubectl get shows."""

from __future__ import annotations

from typing import Any

import pytest

from podwright.api import printing
from podwright.api.objects import Object
from podwright.api.printing import jsonpath
from podwright.api.resources import BUILTIN, CLUSTERROLES, PODS

NOW = 1_700_000_000.0
MADE = "2023-11-14T22:10:00Z"  # 3m20s before
EARLIER = "2023-11-14T22:11:20Z"  # 2m before


def row(kind: str, obj: Object) -> list[Any]:
    found = BUILTIN.by_kind(*kind.rsplit("/", 1))
    assert found is not None
    meta = {"name": "a", "creationTimestamp": MADE, **obj.pop("metadata", {})}
    table = printing.table(found, [{"metadata": meta, **obj}], now=NOW)
    cells: list[Any] = table["rows"][0]["cells"]
    assert len(cells) == len(table["columnDefinitions"])
    return cells


def pod(status: Object, spec: Object | None = None, **metadata: Any) -> list[Any]:
    full = {"containers": [{"name": "c"}], **(spec or {})}
    return row("v1/Pod", {"metadata": metadata, "spec": full, "status": status})


def state(**kinds: Any) -> Object:
    return {"phase": "Running", "containerStatuses": [{"name": "c", "state": kinds}]}


ENDED = {"lastState": {"terminated": {"finishedAt": EARLIER}}}
INIT = {"initContainers": [{"name": "i"}, {"name": "j"}]}
SIDECAR = {"initContainers": [{"name": "i", "restartPolicy": "Always"}]}
UP = {"name": "c", "ready": True, "state": {"running": {}}}

PODS_SHOWN: dict[str, tuple[list[Any], list[str]]] = {
    "pending": (pod({"phase": "Pending"}), ["0/1", "Pending", "0"]),
    "running": (pod({"phase": "Running", "containerStatuses": [UP]}), ["1/1", "Running", "0"]),
    "waiting": (pod(state(waiting={"reason": "ContainerCreating"})), ["0/1", "ContainerCreating", "0"]),
    "crashing": (
        pod(
            {
                "phase": "Running",
                "containerStatuses": [
                    {"name": "c", "restartCount": 3, "state": {"waiting": {"reason": "CrashLoopBackOff"}}, **ENDED}
                ],
            }
        ),
        ["0/1", "CrashLoopBackOff", "3 (2m ago)"],
    ),
    "completed": (
        pod({"phase": "Succeeded", **state(terminated={"reason": "Completed"})} | {"phase": "Succeeded"}),
        ["0/1", "Completed", "0"],
    ),
    "exit code": (pod(state(terminated={"exitCode": 3})), ["0/1", "ExitCode:3", "0"]),
    "signal": (pod(state(terminated={"signal": 9})), ["0/1", "Signal:9", "0"]),
    "evicted": (pod({"phase": "Failed", "reason": "Evicted"}), ["0/1", "Evicted", "0"]),
    "gated": (
        pod({"phase": "Pending", "conditions": [{"type": "PodScheduled", "reason": "SchedulingGated"}]}),
        ["0/1", "SchedulingGated", "0"],
    ),
    "initializing": (
        pod(
            {
                "phase": "Pending",
                "initContainerStatuses": [
                    {"name": "i", "state": {"terminated": {"exitCode": 0}}}, {"name": "j", "state": {"running": {}}},
                ],
            },
            INIT,
        ),
        ["0/1", "Init:1/2", "0"],
    ),
    "init failed": (
        pod(
            {
                "phase": "Pending",
                "initContainerStatuses": [{"name": "i", "restartCount": 2, "state": {"terminated": {"exitCode": 1}}}],
            },
            INIT,
        ),
        ["0/1", "Init:ExitCode:1", "2"],
    ),
    "init waiting": (
        pod(
            {
                "phase": "Pending",
                "initContainerStatuses": [{"name": "i", "state": {"waiting": {"reason": "ErrImagePull"}}}],
            },
            INIT,
        ),
        ["0/1", "Init:ErrImagePull", "0"],
    ),
    "sidecar": (
        pod(
            {
                "phase": "Running",
                "initContainerStatuses": [{"name": "i", "started": True, "ready": True, "state": {"running": {}}}],
                "containerStatuses": [UP],
            },
            SIDECAR,
        ),
        ["2/2", "Running", "0"],
    ),
    "terminating": (
        pod({"phase": "Running", "containerStatuses": [UP]}, deletionTimestamp=MADE), ["1/1", "Terminating", "0"]
    ),
    "lost": (pod({"phase": "Running", "reason": "NodeLost"}, deletionTimestamp=MADE), ["0/1", "Unknown", "0"]),
    "half completed": (
        pod(
            {
                "phase": "Running",
                "containerStatuses": [{"name": "b", "state": {"terminated": {"reason": "Completed"}}}, UP],
            }
        ),
        ["1/1", "NotReady", "0"],
    ),
}


@pytest.mark.parametrize("case", PODS_SHOWN)
def test_pods(case: str) -> None:
    cells, expected = PODS_SHOWN[case]
    assert cells[1:4] == expected
    assert cells[4] == "3m20s"


def test_where_a_pod_is() -> None:
    cells = pod(
        {"podIPs": [{"ip": "10.0.0.1"}], "nominatedNodeName": "m", "conditions": [{"type": "g", "status": "True"}]},
        {"nodeName": "n", "readinessGates": [{"conditionType": "g"}, {"conditionType": "h"}]},
    )
    assert cells[5:] == ["10.0.0.1", "n", "m", "1/2"]


TEMPLATE = {"spec": {"containers": [{"name": "c", "image": "x"}, {"name": "d", "image": "y"}]}}
SELECTOR = {"matchLabels": {"b": "1"}, "matchExpressions": [{"key": "a", "operator": "In", "values": ["z", "y"]}]}
WORKLOAD = {"replicas": 3, "template": TEMPLATE, "selector": SELECTOR}
WIDE = ["c,d", "x,y", "a in (y,z),b=1"]

ROWS: dict[str, tuple[str, Object, list[Any]]] = {
    "node": (
        "v1/Node",
        {
            "metadata": {"labels": {"node-role.kubernetes.io/control-plane": ""}},
            "spec": {"unschedulable": True},
            "status": {
                "conditions": [{"type": "Ready", "status": "True"}],
                "nodeInfo": {"kubeletVersion": "v1.37.0"},
                "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}],
            },
        },
        [
            "a", "Ready,SchedulingDisabled", "control-plane", "3m20s", "v1.37.0", "10.0.0.1", "<none>", "<unknown>",
            "<unknown>", "<unknown>",
        ],
    ),
    "lost node": (
        "v1/Node",
        {"status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}},
        ["a", "NotReady", "<none>", "3m20s", "", "<none>", "<none>", "<unknown>", "<unknown>", "<unknown>"],
    ),
    "deployment": (
        "apps/v1/Deployment",
        {"spec": WORKLOAD, "status": {"readyReplicas": 1, "updatedReplicas": 2, "availableReplicas": 1}},
        ["a", "1/3", 2, 1, "3m20s", *WIDE],
    ),
    "replica set": (
        "apps/v1/ReplicaSet",
        {"spec": WORKLOAD, "status": {"replicas": 2, "readyReplicas": 1}},
        ["a", 3, 2, 1, "3m20s", *WIDE],
    ),
    "stateful set": (
        "apps/v1/StatefulSet", {"spec": WORKLOAD, "status": {"readyReplicas": 1}}, ["a", "1/3", "3m20s", "c,d", "x,y"]
    ),
    "daemon set": (
        "apps/v1/DaemonSet",
        {"spec": WORKLOAD, "status": {"desiredNumberScheduled": 2, "numberReady": 1}},
        ["a", 2, 0, 1, 0, 0, "<none>", "3m20s", *WIDE],
    ),
    "job": (
        "batch/v1/Job",
        {
            "spec": {"completions": 2, "template": TEMPLATE},
            "status": {"succeeded": 1, "startTime": MADE, "completionTime": EARLIER},
        },
        ["a", "Running", "1/2", "80s", "3m20s", "c,d", "x,y", "<none>"],
    ),
    "cron job": (
        "batch/v1/CronJob",
        {
            "spec": {"schedule": "* * * * *", "suspend": False, "jobTemplate": {"spec": {"template": TEMPLATE}}},
            "status": {"lastScheduleTime": EARLIER, "active": [{}]},
        },
        ["a", "* * * * *", "<none>", "False", 1, "2m", "3m20s", "c,d", "x,y", "<none>"],
    ),
    "namespace": ("v1/Namespace", {"status": {"phase": "Active"}}, ["a", "Active", "3m20s"]),
    "service": (
        "v1/Service",
        {
            "spec": {
                "type": "NodePort",
                "clusterIPs": ["10.0.0.1"],
                "ports": [{"port": 80, "nodePort": 30000, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}],
                "selector": {"b": "2", "a": "1"},
            }
        },
        ["a", "NodePort", "10.0.0.1", "<none>", "80:30000/TCP,53/UDP", "3m20s", "a=1,b=2"],
    ),
    "balanced service": (
        "v1/Service",
        {"spec": {"type": "LoadBalancer"}},
        ["a", "LoadBalancer", "<none>", "<pending>", "<none>", "3m20s", "<none>"],
    ),
    "event": (
        "v1/Event",
        {
            "type": "Normal",
            "reason": "Pulled",
            "message": " m ",
            "involvedObject": {"kind": "Pod", "name": "p", "fieldPath": "f"},
            "source": {"component": "kubelet", "host": "n"},
            "firstTimestamp": MADE,
            "lastTimestamp": EARLIER,
            "count": 2,
        },
        ["2m", "Normal", "Pulled", "pod/p", "f", "kubelet, n", "m", "3m20s", 2, "a"],
    ),
    "secret": ("v1/Secret", {"type": "Opaque", "data": {"a": "", "b": ""}}, ["a", "Opaque", 2, "3m20s"]),
    "config map": ("v1/ConfigMap", {"data": {"a": ""}, "binaryData": {"b": ""}}, ["a", 2, "3m20s"]),
    "endpoints": (
        "v1/Endpoints",
        {"subsets": [{"addresses": [{"ip": f"10.0.0.{i}"} for i in range(5)], "ports": [{"port": 80}]}]},
        ["a", "10.0.0.0:80,10.0.0.1:80,10.0.0.2:80 + 2 more...", "3m20s"],
    ),
    "claim": (
        "v1/PersistentVolumeClaim",
        {
            "spec": {"volumeName": "v", "storageClassName": "s", "volumeMode": "Filesystem"},
            "status": {"phase": "Bound", "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"]},
        },
        ["a", "Bound", "v", "1Gi", "RWO", "s", "<unset>", "3m20s", "Filesystem"],
    ),
    "autoscaler": (
        "autoscaling/v2/HorizontalPodAutoscaler",
        {
            "spec": {
                "scaleTargetRef": {"kind": "Deployment", "name": "d"},
                "minReplicas": 1,
                "maxReplicas": 5,
                "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"averageUtilization": 80}}}],
            },
            "status": {"currentReplicas": 2},
        },
        ["a", "Deployment/d", "cpu: <unknown>/80%", "1", 5, 2, "3m20s"],
    ),
    "budget": (
        "policy/v1/PodDisruptionBudget",
        {"spec": {"minAvailable": 1}, "status": {"disruptionsAllowed": 2}},
        ["a", "1", "N/A", 2, "3m20s"],
    ),
    "lease": ("coordination.k8s.io/v1/Lease", {"spec": {"holderIdentity": "h"}}, ["a", "h", "3m20s"]),
    "ingress": (
        "networking.k8s.io/v1/Ingress",
        {"spec": {"rules": [{}, *({"host": h} for h in "wxyz")], "tls": [{}]}},
        ["a", "<none>", "w,x,y + 2 more...", "", "80, 443", "3m20s"],
    ),
    "migration": (
        "storagemigration.k8s.io/v1/StorageVersionMigration",
        {"spec": {"resource": {"resource": "widgets", "group": "x.org"}}},
        ["a", "widgets.x.org"],
    ),
    "binding": (
        "rbac.authorization.k8s.io/v1/ClusterRoleBinding",
        {
            "roleRef": {"kind": "ClusterRole", "name": "r"},
            "subjects": [{"kind": "User", "name": "u"}, {"kind": "ServiceAccount", "namespace": "n", "name": "s"}],
        },
        ["a", "ClusterRole/r", "3m20s", "u", "", "n/s"],
    ),
    "default class": (
        "storage.k8s.io/v1/StorageClass",
        {"metadata": {"annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}, "provisioner": "p"},
        ["a (default)", "p", "Delete", "Immediate", False, "3m20s"],
    ),
    "request": (
        "certificates.k8s.io/v1/CertificateSigningRequest",
        {
            "spec": {"signerName": "s", "username": "u", "expirationSeconds": 3600},
            "status": {"conditions": [{"type": "Approved"}], "certificate": "x"},
        },
        ["a", "3m20s", "s", "u", "60m", "Approved,Issued"],
    ),
    "quota": (
        "v1/ResourceQuota",
        {"status": {"hard": {"pods": "5", "limits.cpu": "2"}, "used": {"pods": "1"}}},
        ["a", "pods: 1/5", "limits.cpu: 0/2", "3m20s"],
    ),
    "resource claim": (
        "resource.k8s.io/v1/ResourceClaim",
        {"status": {"allocation": {}, "reservedFor": [{}]}},
        ["a", "allocated,reserved", "3m20s"],
    ),
    "plain": ("rbac.authorization.k8s.io/v1/ClusterRole", {}, ["a", MADE]),
}


@pytest.mark.parametrize("case", ROWS)
def test_rows(case: str) -> None:
    kind, obj, expected = ROWS[case]
    assert row(kind, dict(obj)) == expected


def test_every_kind_has_a_table() -> None:
    for resource in BUILTIN:
        table = printing.table(resource, [{"metadata": {"name": "a"}}], now=NOW)
        assert len(table["rows"][0]["cells"]) == len(table["columnDefinitions"]), resource.qualified
        assert all(c["description"] for c in table["columnDefinitions"])


def test_a_table() -> None:
    obj = {"metadata": {"name": "a"}, "status": {"phase": "Succeeded"}}
    table = printing.table(PODS, [obj], now=NOW)
    assert (table["kind"], table["apiVersion"]) == ("Table", "meta.k8s.io/v1")
    assert table["columnDefinitions"][0]["format"] == "name"
    assert [c["priority"] for c in table["columnDefinitions"]] == [0] * 5 + [1] * 4
    assert table["rows"][0]["object"] == {
        "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": {"name": "a"},
    }
    assert table["rows"][0]["conditions"][0]["reason"] == "Succeeded"
    assert printing.table(PODS, [obj], now=NOW, include_object="Object")["rows"][0]["object"] == obj
    assert printing.table(PODS, [obj], now=NOW, include_object="None")["rows"][0]["object"] is None
    names = [c["name"] for c in printing.table(CLUSTERROLES, [], now=NOW)["columnDefinitions"]]
    assert names == ["Name", "Created At"]


OBJ = {
    "metadata": {"name": "x", "creationTimestamp": MADE},
    "spec": {"n": 5, "on": True, "list": [1, 2, 3], "a.b": "dot", "m": {"k": "v"}},
    "status": {"conditions": [{"type": "A", "status": "no"}, {"type": "Ready", "status": "yes", "count": 2}]},
}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (".spec.n", [5]), ("{.spec.n}", [5]), ("$.spec.n", [5]), (".spec.list[0]", [1]), (".spec.list[-1]", [3]),
        (".spec.list[9]", []), (".spec.list[1:]", [2, 3]), (".spec.list[*]", [1, 2, 3]), (".spec['a.b']", ["dot"]),
        (r".spec.a\.b", ["dot"]), ('.status.conditions[?(@.type=="Ready")].status', ["yes"]),
        ('.status.conditions[?(@.type=="None")].status', []), (".status.conditions[?(@.count>1)].type", ["Ready"]),
        (".status.conditions[?(@.count)].type", ["Ready"]), ("..status", ["no", "yes"]), (".spec.nope.deeper", []),
    ],
)
def test_json_paths(path: str, found: list[Any]) -> None:
    values = jsonpath.parse(path).find(OBJ)
    assert [v for v in values if not isinstance(v, dict)] == found


@pytest.mark.parametrize("path", [".a[", ".a[x]", ".a b", ".a[?(x)]"])
def test_bad_json_paths(path: str) -> None:
    with pytest.raises(jsonpath.JsonPathError):
        jsonpath.parse(path)


def test_custom_columns() -> None:
    columns = [
        {"name": "N", "type": "integer", "jsonPath": ".spec.n"},
        {"name": "On", "type": "boolean", "jsonPath": ".spec.on"},
        {"name": "M", "type": "string", "jsonPath": ".spec.m", "priority": 1},
        {"name": "Made", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
        {"name": "Nope", "type": "string", "jsonPath": ".spec.nope"},
    ]
    table = printing.custom_table(columns, [OBJ], NOW)
    assert table["rows"][0]["cells"] == ["x", 5, True, '{"k":"v"}', "3m20s", None]
    assert table["columnDefinitions"][3]["priority"] == 1
    assert printing.custom_table([], [OBJ], NOW)["rows"][0]["cells"] == ["x", "3m20s"]
