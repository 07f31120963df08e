import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podwright.api import resources
from podwright.api.conversion import convert
from podwright.api.status import ApiError

TABLE = resources.served(legacy=True)


def row(api_version: str, kind: str) -> resources.Resource:
    found = TABLE.by_kind(api_version, kind)
    assert found is not None
    return found


def there(source: str, target: str, kind: str, obj: dict) -> dict:
    before = copy.deepcopy(obj)
    converted = convert(row(source, kind), row(target, kind), obj)
    assert obj == before
    assert converted["apiVersion"] == target
    assert converted["kind"] == kind
    return converted


def test_events() -> None:
    core = {
        "apiVersion": "v1", "kind": "Event", "metadata": {"name": "e"}, "involvedObject": {"kind": "Pod"},
        "message": "m", "reason": "r", "source": {"component": "kubelet"}, "count": 2, "type": "Normal",
        "firstTimestamp": "2026-01-01T00:00:00Z", "lastTimestamp": "2026-01-01T00:00:01Z",
        "reportingComponent": "kubelet", "reportingInstance": "n",
    }
    new = there("v1", "events.k8s.io/v1", "Event", core)
    assert new == {
        "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "e"}, "regarding": {"kind": "Pod"},
        "note": "m", "reason": "r", "deprecatedSource": {"component": "kubelet"}, "deprecatedCount": 2,
        "type": "Normal", "deprecatedFirstTimestamp": "2026-01-01T00:00:00Z",
        "deprecatedLastTimestamp": "2026-01-01T00:00:01Z", "reportingController": "kubelet", "reportingInstance": "n",
    }
    assert there("events.k8s.io/v1", "v1", "Event", new) == core
    assert there("events.k8s.io/v1", "events.k8s.io/v1beta1", "Event", new)["note"] == "m"


HPA = "HorizontalPodAutoscaler"
METRICS = [
    {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}},
    {"type": "Resource", "resource": {"name": "memory", "target": {"type": "AverageValue", "averageValue": "1Gi"}}},
    {"type": "ContainerResource", "containerResource": {
        "name": "cpu", "container": "c", "target": {"type": "Utilization", "averageUtilization": 9}}},
    {"type": "Pods", "pods": {"metric": {"name": "p", "selector": {"matchLabels": {"a": "b"}}},
                              "target": {"type": "AverageValue", "averageValue": "10"}}},
    {"type": "Object", "object": {"describedObject": {"kind": "Ingress", "name": "i"}, "metric": {"name": "o"},
                                  "target": {"type": "Value", "value": "2k"}}},
    {"type": "Object", "object": {"describedObject": {"kind": "Ingress", "name": "i"}, "metric": {"name": "o"},
                                  "target": {"type": "AverageValue", "averageValue": "2k"}}},
    {"type": "External", "external": {"metric": {"name": "q", "selector": {"matchLabels": {"a": "b"}}},
                                      "target": {"type": "AverageValue", "averageValue": "30"}}},
    {"type": "External", "external": {"metric": {"name": "q"}, "target": {"type": "Value", "value": "30"}}},
]


def hpa(metrics: list, **status: object) -> dict:
    return {
        "apiVersion": "autoscaling/v2", "kind": HPA, "metadata": {"name": "h"},
        "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "d"}, "maxReplicas": 3, "metrics": metrics},
        "status": status,
    }


def test_hpa_cpu() -> None:
    old = there("autoscaling/v2", "autoscaling/v1", HPA, hpa(METRICS[:1], currentReplicas=1, desiredReplicas=2))
    assert old == {
        "apiVersion": "autoscaling/v1", "kind": HPA, "metadata": {"name": "h"},
        "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "d"}, "maxReplicas": 3,
                 "targetCPUUtilizationPercentage": 50},
        "status": {"currentReplicas": 1, "desiredReplicas": 2},
    }


def test_hpa_default() -> None:
    old = {"apiVersion": "autoscaling/v1", "kind": HPA, "metadata": {"name": "h"}, "spec": {"maxReplicas": 3}}
    assert there("autoscaling/v1", "autoscaling/v2", HPA, old)["spec"]["metrics"] == [
        {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}}]


@given(st.lists(st.sampled_from(METRICS), min_size=1, max_size=6, unique_by=str))
def test_hpa_there_and_back(metrics: list) -> None:
    metrics = sorted(metrics, key=METRICS.index)
    new = hpa(metrics, currentReplicas=1, desiredReplicas=1,
              conditions=[{"type": "AbleToScale", "status": "True"}],
              currentMetrics=[
                  {"type": "Resource", "resource": {"name": "cpu", "current": {
                      "averageUtilization": 5, "averageValue": "5m"}}},
                  {"type": "Object", "object": {"describedObject": {"kind": "I", "name": "i"}, "metric": {"name": "o"},
                                                "current": {"value": "3"}}}])
    new["spec"]["behavior"] = {"scaleUp": {"stabilizationWindowSeconds": 0}}
    new["metadata"]["annotations"] = {"mine": "x"}
    old = there("autoscaling/v2", "autoscaling/v1", HPA, new)
    assert old["metadata"]["annotations"]["mine"] == "x"
    assert old["status"]["currentCPUUtilizationPercentage"] == 5
    assert there("autoscaling/v1", "autoscaling/v2", HPA, old) == new


@pytest.mark.parametrize(
    "text", ["{}", "{", "[1]", '[{"type":"Resource","resource":5}]', '[{"type":"Pods","pods":{"metricName":7}}]'])
def test_hpa_broken_annotation(text: str) -> None:
    old = {"apiVersion": "autoscaling/v1", "kind": HPA, "spec": {},
           "metadata": {"annotations": {"autoscaling.alpha.kubernetes.io/metrics": text}}}
    with pytest.raises(ApiError) as caught:
        there("autoscaling/v1", "autoscaling/v2", HPA, old)
    assert caught.value.code == 400


def test_empty_selectors_of_budgets() -> None:
    def pdb(version: str, selector: dict | None) -> dict:
        return {"apiVersion": version, "kind": "PodDisruptionBudget", "metadata": {}, "spec": {"selector": selector}}

    def to(source: str, target: str, selector: dict | None) -> object:
        return there(source, target, "PodDisruptionBudget", pdb(source, selector))["spec"]["selector"]

    nothing = to("policy/v1beta1", "policy/v1", {})
    assert nothing["matchExpressions"][0]["operator"] == "Exists"
    assert to("policy/v1", "policy/v1beta1", nothing) == {}
    everything = to("policy/v1", "policy/v1beta1", {})
    assert everything["matchExpressions"][0]["operator"] == "DoesNotExist"
    assert to("policy/v1beta1", "policy/v1", everything) == {}
    assert to("policy/v1beta1", "policy/v1", {"matchLabels": {"a": "b"}}) == {"matchLabels": {"a": "b"}}
    assert to("policy/v1beta1", "policy/v1", None) is None


def test_endpoint_topology() -> None:
    beta = {"apiVersion": "discovery.k8s.io/v1beta1", "kind": "EndpointSlice", "metadata": {}, "endpoints": [
        {"addresses": ["1"], "topology": {"topology.kubernetes.io/zone": "z", "kubernetes.io/hostname": "n", "x": "y"}},
        {"addresses": ["2"]},
    ]}
    new = there("discovery.k8s.io/v1beta1", "discovery.k8s.io/v1", "EndpointSlice", beta)
    assert new["endpoints"] == [
        {"addresses": ["1"], "zone": "z", "nodeName": "n", "deprecatedTopology": {"x": "y"}}, {"addresses": ["2"]}]
    back = there("discovery.k8s.io/v1", "discovery.k8s.io/v1beta1", "EndpointSlice", new)
    assert back["endpoints"][0] == {**beta["endpoints"][0], "nodeName": "n"}


def test_versions_that_differ_in_nothing() -> None:
    spec = {"schedule": "* * * * *"}
    job = {"apiVersion": "batch/v1beta1", "kind": "CronJob", "metadata": {"name": "c"}, "spec": spec}
    assert there("batch/v1beta1", "batch/v1", "CronJob", job)["spec"] == job["spec"]
    same = {"apiVersion": "v1", "kind": "Pod"}
    assert convert(row("v1", "Pod"), row("v1", "Pod"), same) is same


def test_every_row_reaches_its_storage_version() -> None:
    for source in TABLE:
        target = TABLE.storage_row(source)
        obj = {"apiVersion": source.api_version, "kind": source.kind, "metadata": {"name": "x"}}
        assert convert(source, target, obj)["apiVersion"] == target.api_version
