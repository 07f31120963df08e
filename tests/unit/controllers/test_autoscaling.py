"""HorizontalPodAutoscalers: proposals, limits, windows, conditions."""

from __future__ import annotations

from controller_harness import Harness, make_pod, template

from podwright.api import objects
from podwright.api.objects import Object
from podwright.api.resources import DEPLOYMENTS, HORIZONTALPODAUTOSCALERS, PODS
from podwright.controllers.autoscaling import HorizontalPodAutoscalerController, behavior, proposal
from podwright.controllers.autoscaling.metrics import PodMetric
from podwright.controllers.config import ControllerConfig

METRICS = "/apis/metrics.k8s.io/v1beta1/namespaces/default/pods"


def cpu_target(percent: int = 50) -> Object:
    target = {"type": "Utilization", "averageUtilization": percent}
    return {"type": "Resource", "resource": {"name": "cpu", "target": target}}


def setup(h: Harness, replicas: int, *metrics: Object, **spec: object) -> None:
    h.api.add(
        DEPLOYMENTS,
        {
            "metadata": {"name": "d", "namespace": "default"},
            "spec": {
                "replicas": replicas, "selector": {"matchLabels": {"app": "a"}}, "template": template({"app": "a"}),
            },
            "status": {"replicas": replicas},
        },
    )
    for index in range(replicas):
        pod = make_pod(f"p{index}", labels={"app": "a"})
        pod["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "1"}}
        pod["status"]["startTime"] = "2024-01-01T00:00:00Z"
        h.api.add(PODS, pod)
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}
    h.api.add(
        HORIZONTALPODAUTOSCALERS,
        {
            "metadata": {"name": "h", "namespace": "default"},
            "spec": {"scaleTargetRef": reference, "minReplicas": 1, "maxReplicas": 10, "metrics": list(metrics)} | spec,
        },
    )


def use(h: Harness, *values: str) -> None:
    now = objects.format_time(h.clock.now())
    h.api.answers[METRICS] = {
        "items": [
            {
                "metadata": {"name": f"p{i}"}, "timestamp": now, "window": "30s",
                "containers": [{"name": "c", "usage": {"cpu": v}}],
            }
            for i, v in enumerate(values)
        ]
    }  # fmt: skip


def size(h: Harness) -> int:
    return int(h.api.read(DEPLOYMENTS, "d")["spec"]["replicas"])


def condition(h: Harness, kind: str) -> tuple[str, str]:
    found = objects.condition(h.api.read(HORIZONTALPODAUTOSCALERS, "h"), kind)
    assert found is not None
    return found["status"], found["reason"]


async def test_grows_by_usage_over_target() -> None:
    async with Harness().running(HorizontalPodAutoscalerController) as h:
        use(h, "900m", "900m")
        setup(h, 2, cpu_target(50))
        await h.settle()
        assert size(h) == 4
        assert condition(h, "ScalingActive") == ("True", "ValidMetricFound")
        status = h.api.read(HORIZONTALPODAUTOSCALERS, "h")["status"]
        assert status["currentMetrics"][0]["resource"]["current"] == {"averageUtilization": 90, "averageValue": "900m"}
        assert "SuccessfulRescale" in h.event_reasons("h")


async def test_a_metric_of_one_container_looks_at_no_other() -> None:
    target = {"type": "Utilization", "averageUtilization": 50}
    metric = {"type": "ContainerResource", "containerResource": {"name": "cpu", "container": "c", "target": target}}
    async with Harness().running(HorizontalPodAutoscalerController) as h:
        setup(h, 2, metric)
        use(h, "600m", "900m")
        for item in h.api.answers[METRICS]["items"]:
            item["containers"].append({"name": "sidecar", "usage": {"cpu": "9"}})
        await h.advance(20)
        assert size(h) == 3
        (current,) = h.api.read(HORIZONTALPODAUTOSCALERS, "h")["status"]["currentMetrics"]
        assert current["containerResource"]["container"] == "c"
        assert current["containerResource"]["current"] == {"averageUtilization": 75, "averageValue": "750m"}


async def test_within_tolerance_nothing_changes_and_nothing_is_written() -> None:
    async with Harness().running(HorizontalPodAutoscalerController) as h:
        use(h, "520m", "520m")
        setup(h, 2, cpu_target(50))
        await h.advance(31)
        assert size(h) == 2
        written = h.api.calls["update horizontalpodautoscalers/status"]
        await h.advance(60)
        assert h.api.calls["update horizontalpodautoscalers/status"] == written


async def test_shrinks_only_after_the_window() -> None:
    async with Harness(ControllerConfig(hpa_downscale_stabilization=60)).running(
        HorizontalPodAutoscalerController
    ) as h:
        use(h, *["100m"] * 4)
        setup(h, 4, cpu_target(50))
        await h.advance(50)
        assert size(h) == 4
        assert condition(h, "AbleToScale")[1] == "ScaleDownStabilized"
        await h.advance(30)
        assert size(h) == 1


async def test_limits_hold() -> None:
    async with Harness().running(HorizontalPodAutoscalerController) as h:
        use(h, "4", "4")
        setup(h, 2, cpu_target(50), maxReplicas=3)
        await h.settle()
        assert size(h) == 3
        assert condition(h, "ScalingLimited") == ("True", "TooManyReplicas")
        h.api.change(DEPLOYMENTS, "d", {"spec": {"replicas": 5}})
        await h.advance(16)
        assert size(h) == 3


async def test_a_target_at_zero_is_left_alone() -> None:
    async with Harness().running(HorizontalPodAutoscalerController) as h:
        setup(h, 0, cpu_target(50))
        await h.advance(20)
        assert size(h) == 0
        assert condition(h, "ScalingActive") == ("False", "ScalingDisabled")


async def test_without_metrics_nothing_is_changed_and_the_reason_is_said() -> None:
    async with Harness().running(HorizontalPodAutoscalerController) as h:
        setup(h, 2, cpu_target(50))
        await h.settle()
        assert size(h) == 2
        assert condition(h, "ScalingActive") == ("False", "FailedGetResourceMetric")


async def test_one_failed_metric_forbids_shrinking_but_not_growing() -> None:
    external = {"type": "External", "external": {"metric": {"name": "q"}, "target": {"type": "Value", "value": "1"}}}
    async with Harness().running(HorizontalPodAutoscalerController) as h:
        use(h, "900m", "900m")
        setup(h, 2, cpu_target(50), external)
        await h.settle()
        assert size(h) == 4


async def test_external_object_and_pods_metrics() -> None:
    target = {"type": "AverageValue", "averageValue": "10"}
    external = {"type": "External", "external": {"metric": {"name": "q"}, "target": target}}
    async with Harness().running(HorizontalPodAutoscalerController) as h:
        h.api.answers["/apis/external.metrics.k8s.io/v1beta1/namespaces/default/q"] = {"items": [{"value": "55"}]}
        setup(h, 2, external)
        await h.settle()
        assert size(h) == 6
    described = {"kind": "Service", "apiVersion": "v1", "name": "s"}
    about = {"type": "Object", "object": {"metric": {"name": "rps"}, "describedObject": described,
                                          "target": {"type": "Value", "value": "100"}}}  # fmt: skip
    async with Harness().running(HorizontalPodAutoscalerController) as h:
        path = "/apis/custom.metrics.k8s.io/v1beta2/namespaces/default/services/s/rps"
        h.api.answers[path] = {"items": [{"value": "150"}]}
        setup(h, 2, about)
        await h.settle()
        assert size(h) == 3
    each = {"type": "Pods", "pods": {"metric": {"name": "rps"},
                                     "target": {"type": "AverageValue", "averageValue": "10"}}}  # fmt: skip
    async with Harness().running(HorizontalPodAutoscalerController) as h:
        path = "/apis/custom.metrics.k8s.io/v1beta2/namespaces/default/pods/*/rps"
        h.api.answers[path] = {"items": [{"describedObject": {"name": f"p{i}"}, "value": "20"} for i in range(2)]}
        setup(h, 2, each)
        await h.settle()
        assert size(h) == 4


async def test_pods_of_two_autoscalers_are_sized_by_neither() -> None:
    async with Harness().running(HorizontalPodAutoscalerController) as h:
        setup(h, 2, cpu_target())
        use(h, "200m", "200m")
        await h.settle()
        assert condition(h, "ScalingActive") == ("True", "ValidMetricFound")
        other = h.api.read(HORIZONTALPODAUTOSCALERS, "h")
        h.api.add(HORIZONTALPODAUTOSCALERS, {"metadata": {"name": "i", "namespace": "default"}, "spec": other["spec"]})
        await h.advance(16)
        for name in ("h", "i"):
            found = objects.condition(h.api.read(HORIZONTALPODAUTOSCALERS, name), "ScalingActive")
            assert found is not None and found["reason"] == "AmbiguousSelector"
        h.api.remove(HORIZONTALPODAUTOSCALERS, "i")
        await h.advance(16)
        assert condition(h, "ScalingActive") == ("True", "ValidMetricFound")


async def test_no_autoscaler_no_calls() -> None:
    async with Harness().running(HorizontalPodAutoscalerController) as h:
        before = h.api.total
        await h.advance(600)
        assert h.api.total == before


TOLERANCE = proposal.Tolerance(0.1, 0.1)


def utilization(values: list[int], current: int, *, missing: int = 0, target: int = 100) -> int:
    found = []
    for index in range(len(values) + missing):
        pod = make_pod(f"p{index}")
        pod["spec"]["containers"][0]["resources"] = {"requests": {"memory": "1"}}
        found.append(pod)
    metrics = {f"p{i}": PodMetric(v, 0, 60) for i, v in enumerate(values)}
    size, _, _ = proposal.by_utilization(
        current, target, metrics, found, "memory", "", TOLERANCE, ControllerConfig(), 1e9
    )
    return size


def test_silent_pods_count_against_the_change() -> None:
    assert utilization([2000, 2000], 2) == 4
    assert utilization([2000, 2000], 4, missing=2) == 4
    assert utilization([100, 100], 4, missing=2) == 3
    assert utilization([500, 500], 2) == 1


def test_policies_bound_the_speed() -> None:
    history, spec = behavior.History(), {"maxReplicas": 100, "minReplicas": 1}
    up, down = behavior.rules({}, "scaleUp", 300), behavior.rules({}, "scaleDown", 300)
    assert behavior.rate_limit(history, 0, 2, 50, spec, up, down)[0] == 6
    assert behavior.rate_limit(history, 0, 10, 50, spec, up, down)[0] == 20
    history.changed(0, 10)
    assert behavior.rate_limit(history, 5, 20, 50, spec, up, down)[0] == 20
    assert behavior.rate_limit(history, 20, 20, 50, spec, up, down)[0] == 40
    slow = {**down, "policies": [{"type": "Pods", "value": 2, "periodSeconds": 60}]}
    assert behavior.rate_limit(history, 100, 20, 5, spec, up, slow) == (
        18, "ScaleDownLimit", "the desired replica count is decreasing faster than the maximum scale rate",
    )  # fmt: skip
    off = {**down, "selectPolicy": "Disabled"}
    assert behavior.rate_limit(history, 100, 20, 5, spec, up, off)[0] == 20
