"""What the scheduler counts, as /metrics shows it."""

from __future__ import annotations

from prometheus_client import REGISTRY
from tests.unit.scheduler.test_preemption import classes, ranked
from tests.unit.scheduler.test_scheduler import add_node, admin, node, placed, pod, refused, server, until

from podwright.api.resources import PODS
from podwright.apiserver.server import ApiServer
from podwright.client.client import Client

__all__ = ["admin", "server"]


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"scheduler_{name}", labels) or 0.0


async def test_attempts_queues_and_preemption_are_counted(admin: Client, server: ApiServer) -> None:
    profile = {"profile": "default-scheduler"}
    names = ("scheduled", "unschedulable")
    before = {r: value("schedule_attempts_total", result=r, **profile) for r in names}
    victims, tries = value("preemption_victims_sum"), value("preemption_attempts_total")
    sli = value("pod_scheduling_sli_duration_seconds_count", attempts="1")
    await classes(admin)
    await add_node(admin, node("a", cpu="1"))
    await admin.create(PODS, ranked("low", "low"))
    await placed(admin, "low")
    await admin.create(PODS, pod("gated", schedulingGates=[{"name": "example.com/g"}]))
    await admin.create(PODS, ranked("high", "high"))
    await refused(admin, "high")
    after = {r: value("schedule_attempts_total", result=r, **profile) for r in names}
    assert after["scheduled"] == before["scheduled"] + 1
    assert after["unschedulable"] >= before["unschedulable"] + 1
    assert value("preemption_attempts_total") >= tries + 1 and value("preemption_victims_sum") >= victims + 1
    assert value("pod_scheduling_sli_duration_seconds_count", attempts="1") == sli + 1
    assert value("scheduling_attempt_duration_seconds_count", result="scheduled", **profile) >= 1
    await add_node(admin, node("b"))
    await admin.create(PODS, pod("choosy", cpu="0"))
    await placed(admin, "choosy")
    for point in ("PreFilter", "Filter", "Score", "Reserve", "PreBind", "Bind"):
        labels = {"extension_point": point, "status": "Success", **profile}
        assert value("framework_extension_point_duration_seconds_count", **labels) >= 1
    labels = {"plugin": "NodeResourcesFit", "extension_point": "Filter", "status": "Success"}
    assert value("plugin_execution_duration_seconds_count", **labels) >= 1

    async def waiting() -> bool:
        return (value("pending_pods", queue="gated"), value("cache_size", type="nodes")) == (1, 2)

    await until(waiting)
