"""The way of a manifest: authentication, authorization, validation, and what bad input gets."""

from __future__ import annotations

import json

import yaml
from tests.e2e.harness import Cluster, busybox, pod

PODS = "/api/v1/namespaces/default/pods"


def test_nobody_gets_in_without_credentials_and_nobody_without_a_role_gets_further(cluster: Cluster) -> None:
    code, status = cluster.request("GET", PODS, anonymous=True)
    assert (code, status["kind"], status["reason"]) == (401, "Status", "Unauthorized")
    assert cluster.request("GET", PODS, token="nonsense")[0] == 401
    assert cluster.request("GET", "/healthz", anonymous=True)[0] == 200
    cluster.kubectl("create", "serviceaccount", "nobody")
    token = cluster.kubectl("create", "token", "nobody").strip()
    code, status = cluster.request("GET", PODS, token=token)
    assert code == 403
    assert status["message"] == (
        'pods is forbidden: User "system:serviceaccount:default:nobody" cannot list resource "pods" '
        'in API group "" in the namespace "default"'
    )
    cluster.kubectl("create", "role", "reader", "--verb=list", "--resource=pods")
    cluster.kubectl("create", "rolebinding", "reader", "--role=reader", "--serviceaccount=default:nobody")
    assert cluster.request("GET", PODS, token=token)[0] == 200
    assert cluster.request("POST", PODS, pod("x", busybox("c", "true")), token=token)[0] == 403


def test_validation_names_each_field_with_reason_and_message(cluster: Cluster) -> None:
    bad = pod("Bad_Name", {"name": "c"}, {"name": "c", "image": "x"}, restartPolicy="Sometimes")
    code, status = cluster.request("POST", PODS, bad)
    assert (code, status["reason"], status["details"]["kind"]) == (422, "Invalid", "Pod")
    causes = {(c["field"], c["reason"]): c["message"] for c in status["details"]["causes"]}
    assert causes["spec.containers[0].image", "FieldValueRequired"] == "Required value"
    assert causes["spec.containers[1].name", "FieldValueDuplicate"] == 'Duplicate value: "c"'
    expected = 'Unsupported value: "Sometimes": supported values: "Always", "OnFailure", "Never"'
    assert causes["spec.restartPolicy", "FieldValueNotSupported"] == expected
    assert causes["metadata.name", "FieldValueInvalid"].startswith('Invalid value: "Bad_Name": a lowercase RFC 1123')


def test_bodies_that_are_no_object_of_that_kind_are_refused(cluster: Cluster) -> None:
    for body in ("{", "[]", "1", '{"kind": 1}', "", "\x00\x01"):
        code, status = cluster.request("POST", PODS, body)
        assert (code, status["kind"]) == (400, "Status"), body
    assert cluster.request("POST", PODS, "a: [", content_type="application/yaml")[0] == 400
    other = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x"}}
    assert cluster.request("POST", PODS, other)[0] == 400
    wrong_type = pod("x", busybox("c", "true"))
    wrong_type["spec"]["containers"] = "none"
    assert cluster.request("POST", PODS, wrong_type)[0] == 400
    assert cluster.request("POST", PODS, b"x", content_type="image/png")[0] == 415
    huge = json.dumps(pod("x", busybox("c", "#" * (4 << 20))))
    assert cluster.request("POST", PODS, huge)[0] == 413
    as_yaml = yaml.safe_dump(pod("from-yaml", busybox("c", "sleep 60")))
    assert cluster.request("POST", PODS, as_yaml, content_type="application/yaml")[0] == 201


def test_what_a_new_cluster_holds(cluster: Cluster) -> None:
    names = {n["metadata"]["name"] for n in cluster.get("namespaces")["items"]}
    assert {"default", "kube-system", "kube-public", "kube-node-lease"} <= names
    node = cluster.get("node", "node-1")
    status = node["status"]
    for resource in ("cpu", "memory", "pods", "ephemeral-storage"):
        assert resource in status["capacity"] and resource in status["allocatable"]
    kinds = {c["type"]: c["status"] for c in status["conditions"]}
    assert kinds["Ready"] == "True" and kinds["MemoryPressure"] == kinds["DiskPressure"] == "False"
    assert {a["type"] for a in status["addresses"]} >= {"InternalIP", "Hostname"}
    info = status["nodeInfo"]
    assert info["kubeletVersion"].startswith("v1.37") and info["operatingSystem"] == "linux" and info["kernelVersion"]
    lease = cluster.get("lease", "node-1", "-n", "kube-node-lease")
    assert lease["spec"]["holderIdentity"] == "node-1" and lease["spec"]["renewTime"]
    assert cluster.get("serviceaccount", "default")["metadata"]["name"] == "default"


def test_an_object_that_was_changed_meanwhile_is_not_overwritten(cluster: Cluster) -> None:
    path = "/api/v1/namespaces/default/configmaps"
    base = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "race"}, "data": {"a": "1"}}
    _, created = cluster.request("POST", path, base)
    assert cluster.request("PUT", f"{path}/race", {**created, "data": {"a": "2"}})[0] == 200
    code, status = cluster.request("PUT", f"{path}/race", {**created, "data": {"a": "3"}})
    assert (code, status["reason"]) == (409, "Conflict")
    assert cluster.request("POST", path, base)[1]["reason"] == "AlreadyExists"
    assert cluster.request("GET", f"{path}/race")[1]["data"] == {"a": "2"}
