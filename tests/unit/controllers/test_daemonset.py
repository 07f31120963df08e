"""DaemonSets: placement, rolling, surging, history."""

from __future__ import annotations

from controller_harness import Harness, make_node, template

from podwright.api import objects
from podwright.api.objects import Object
from podwright.api.resources import CONTROLLERREVISIONS, DAEMONSETS, NODES, PODS
from podwright.controllers.daemonset import DaemonSetController, placement


def daemon_set(**spec: object) -> Object:
    return {
        "metadata": {"name": "d", "namespace": "default"},
        "spec": {"selector": {"matchLabels": {"app": "d"}}, "template": template({"app": "d"}, "v1"), **spec},
    }


def placed(h: Harness, image: str = "") -> list[str]:
    return sorted(
        placement.node_of(p)
        for p in h.api.objects(PODS)
        if not objects.is_deleting(p) and (not image or p["spec"]["containers"][0]["image"] == image)
    )


async def bind_and_ready(h: Harness) -> None:
    await h.settle()
    for pod in h.api.objects(PODS):
        if not pod["spec"].get("nodeName"):
            h.api.change(PODS, objects.name(pod), {"spec": {"nodeName": placement.node_of(pod)}})
    await h.ready_pods()


def roll(h: Harness, image: str) -> None:
    h.api.change(DAEMONSETS, "d", {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": image}]}}}})


async def test_one_pod_a_node_tied_to_it() -> None:
    async with Harness().running(DaemonSetController) as h:
        for name in ("a", "b"):
            h.api.add(NODES, make_node(name))
        h.api.add(DAEMONSETS, daemon_set())
        await bind_and_ready(h)
        assert placed(h) == ["a", "b"]
        pod = h.api.objects(PODS)[0]
        keys = {t["key"] for t in pod["spec"]["tolerations"]}
        assert {"node.kubernetes.io/not-ready", "node.kubernetes.io/unschedulable"} <= keys
        assert "node.kubernetes.io/network-unavailable" not in keys
        status = h.api.read(DAEMONSETS, "d")["status"]
        fields = ("desiredNumberScheduled", "currentNumberScheduled", "numberReady", "numberAvailable")
        assert [status[f] for f in fields] == [2, 2, 2, 2]
        assert status["updatedNumberScheduled"] == 2


async def test_follows_nodes_labels_and_taints() -> None:
    async with Harness().running(DaemonSetController) as h:
        h.api.add(NODES, make_node("a"))
        h.api.add(NODES, make_node("b", labels={"disk": "ssd"}))
        h.api.add(NODES, make_node("c", labels={"disk": "ssd"}, taints=[{"key": "x", "effect": "NoSchedule"}]))
        h.api.add(DAEMONSETS, daemon_set(template=template({"app": "d"}, nodeSelector={"disk": "ssd"})))
        await bind_and_ready(h)
        assert placed(h) == ["b"]
        h.api.change(NODES, "a", {"metadata": {"labels": {"disk": "ssd"}}})
        h.api.change(NODES, "b", {"metadata": {"labels": {"disk": "hdd"}}})
        await bind_and_ready(h)
        assert placed(h) == ["a"]
        h.api.change(NODES, "a", {"spec": {"taints": [{"key": "x", "effect": "NoSchedule"}]}})
        await h.settle()
        assert placed(h) == ["a"]
        h.api.change(NODES, "a", {"spec": {"taints": [{"key": "x", "effect": "NoExecute"}]}})
        await h.settle()
        assert placed(h) == []


async def test_rolls_one_node_at_a_time() -> None:
    async with Harness().running(DaemonSetController) as h:
        for name in ("a", "b", "c"):
            h.api.add(NODES, make_node(name))
        h.api.add(DAEMONSETS, daemon_set())
        await bind_and_ready(h)
        roll(h, "v2")
        await h.settle()
        assert len(placed(h, "v1")) == 2
        for _ in range(4):
            await bind_and_ready(h)
        assert placed(h, "v2") == ["a", "b", "c"]
        assert len(h.api.objects(CONTROLLERREVISIONS)) == 2
        assert sorted(r["revision"] for r in h.api.objects(CONTROLLERREVISIONS)) == [1, 2]


async def test_surge_starts_the_new_before_the_old_goes() -> None:
    async with Harness().running(DaemonSetController) as h:
        for name in ("a", "b"):
            h.api.add(NODES, make_node(name))
        strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
        h.api.add(DAEMONSETS, daemon_set(updateStrategy=strategy))
        await bind_and_ready(h)
        roll(h, "v2")
        await h.settle()
        assert placed(h, "v1") == ["a", "b"] and len(placed(h, "v2")) == 1
        for _ in range(4):
            await bind_and_ready(h)
        assert placed(h) == placed(h, "v2") == ["a", "b"]


async def test_on_delete_waits_for_the_user() -> None:
    async with Harness().running(DaemonSetController) as h:
        h.api.add(NODES, make_node("a"))
        h.api.add(DAEMONSETS, daemon_set(updateStrategy={"type": "OnDelete"}))
        await bind_and_ready(h)
        roll(h, "v2")
        await bind_and_ready(h)
        assert placed(h, "v1") == ["a"]
        h.api.purge(PODS, objects.name(h.api.objects(PODS)[0]))
        await bind_and_ready(h)
        assert placed(h, "v2") == ["a"]


async def test_failed_pods_are_replaced_with_growing_delay() -> None:
    async with Harness().running(DaemonSetController) as h:
        h.api.add(NODES, make_node("a"))
        h.api.add(DAEMONSETS, daemon_set())
        await bind_and_ready(h)
        before = h.api.calls["create pods"]
        for _ in range(60):
            for pod in h.api.objects(PODS):
                if pod["status"]["phase"] != "Failed":
                    h.api.set_status(PODS, objects.name(pod), {"phase": "Failed"})
            await h.advance(1)
        assert 3 <= h.api.calls["create pods"] - before <= 8
        assert "FailedDaemonPod" in h.event_reasons("d")


async def test_history_is_reused_and_truncated() -> None:
    async with Harness().running(DaemonSetController) as h:
        h.api.add(NODES, make_node("a"))
        h.api.add(DAEMONSETS, daemon_set(revisionHistoryLimit=1))
        await bind_and_ready(h)
        for image in ("v2", "v3", "v1"):
            roll(h, image)
            for _ in range(3):
                await bind_and_ready(h)
        revisions = {
            r["data"]["spec"]["template"]["spec"]["containers"][0]["image"]: r["revision"]
            for r in h.api.objects(CONTROLLERREVISIONS)
        }
        assert len(revisions) == 2
        assert revisions["v1"] == max(revisions.values())
        assert h.api.objects(CONTROLLERREVISIONS)[0]["data"]["spec"]["template"]["$patch"] == "replace"


async def test_node_affinity_terms_of_the_template_hold() -> None:
    terms = [{"matchExpressions": [{"key": "size", "operator": "Gt", "values": ["3"]}]}]
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}
    async with Harness().running(DaemonSetController) as h:
        h.api.add(NODES, make_node("a", labels={"size": "4"}))
        h.api.add(NODES, make_node("b", labels={"size": "2"}))
        h.api.add(DAEMONSETS, daemon_set(template=template({"app": "d"}, affinity=affinity)))
        await h.settle()
        assert placed(h) == ["a"]
        required = h.api.objects(PODS)[0]["spec"]["affinity"]["nodeAffinity"][
            "requiredDuringSchedulingIgnoredDuringExecution"
        ]["nodeSelectorTerms"]
        assert required[0]["matchExpressions"] == terms[0]["matchExpressions"]
        assert required[0]["matchFields"][0]["values"] == ["a"]


async def test_idle_and_heartbeats_make_no_calls() -> None:
    async with Harness().running(DaemonSetController) as h:
        h.api.add(NODES, make_node("a"))
        h.api.add(DAEMONSETS, daemon_set())
        await bind_and_ready(h)
        before = h.api.total
        h.api.change(NODES, "a", {"status": {"conditions": []}})
        await h.advance(600)
        assert h.api.total == before
