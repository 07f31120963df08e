"""Nodes that fall silent: conditions, taints, rates, and the Pods on them."""

from __future__ import annotations

from controller_harness import Harness, make_node, make_pod

from podwright.api import objects, taints
from podwright.api.resources import LEASES, NODES, PODS
from podwright.controllers.config import ControllerConfig
from podwright.controllers.node_lifecycle import NodeLifecycleController
from podwright.controllers.taint_eviction import TaintEvictionController


def heartbeat(h: Harness, *names: str) -> None:
    stamp = objects.format_micro_time(h.clock.now())
    for name in names:
        spec = {"holderIdentity": name, "renewTime": stamp}
        if h.api.find(LEASES, name, "kube-node-lease") is None:
            h.api.add(LEASES, {"metadata": {"name": name, "namespace": "kube-node-lease"}, "spec": spec})
        else:
            h.api.change(LEASES, name, {"spec": spec}, "kube-node-lease")


async def live(h: Harness, seconds: float, *names: str) -> None:
    for _ in range(int(seconds / 10)):
        heartbeat(h, *names)
        await h.advance(10)


def effects(h: Harness, name: str) -> set[tuple[str, str]]:
    return {(t["key"], t["effect"]) for t in taints.of(h.api.read(NODES, name))}


UNREACHABLE = {(taints.UNREACHABLE, "NoSchedule"), (taints.UNREACHABLE, "NoExecute")}


async def test_a_silent_node_turns_unknown_after_the_grace_period() -> None:
    async with Harness().running(NodeLifecycleController) as h:
        for name in ("a", "b"):
            h.api.add(NODES, make_node(name))
        h.api.add(PODS, make_pod("p", node="b"))
        await live(h, 40, "a", "b")
        await live(h, 30, "a")
        assert objects.condition_is_true(h.api.read(NODES, "b"), "Ready")
        await live(h, 20, "a")
        ready = objects.condition(h.api.read(NODES, "b"), "Ready")
        assert ready is not None and (ready["status"], ready["reason"]) == ("Unknown", "NodeStatusUnknown")
        assert effects(h, "b") == UNREACHABLE
        assert effects(h, "a") == set()
        assert not objects.condition_is_true(h.api.read(PODS, "p"), "Ready")
        assert "NodeNotReady" in h.event_reasons("b")


async def test_it_comes_back_when_it_is_heard_of() -> None:
    async with Harness().running(NodeLifecycleController) as h:
        for name in ("a", "b"):
            h.api.add(NODES, make_node(name))
        await live(h, 80, "a")
        assert effects(h, "b") == UNREACHABLE
        h.api.set_status(NODES, "b", make_node("b")["status"])
        heartbeat(h, "b")
        await h.settle()
        assert effects(h, "b") == set()


async def test_conditions_and_cordon_become_taints() -> None:
    async with Harness().running(NodeLifecycleController) as h:
        h.api.add(NODES, make_node("a"))
        h.api.add(NODES, make_node("other"))
        conditions = [{"type": "Ready", "status": "False"}, {"type": "DiskPressure", "status": "True"}]
        h.api.change(NODES, "a", {"spec": {"unschedulable": True}, "status": {"conditions": conditions}})
        await h.settle()
        assert effects(h, "a") == {
            (taints.NOT_READY, "NoSchedule"), (taints.NOT_READY, "NoExecute"),
            (taints.DISK_PRESSURE, "NoSchedule"), (taints.UNSCHEDULABLE, "NoSchedule"),
        }  # fmt: skip
        h.api.change(NODES, "a", {"spec": {"unschedulable": False}})
        await h.settle()
        assert (taints.UNSCHEDULABLE, "NoSchedule") not in effects(h, "a")


async def test_taints_of_others_stay() -> None:
    async with Harness().running(NodeLifecycleController) as h:
        h.api.add(NODES, make_node("a", taints=[{"key": "dedicated", "effect": "NoExecute"}], unschedulable=True))
        await h.settle()
        assert ("dedicated", "NoExecute") in effects(h, "a")


async def test_when_every_node_is_silent_nobody_is_evicted() -> None:
    async with Harness().running(NodeLifecycleController) as h:
        for name in ("a", "b", "c"):
            h.api.add(NODES, make_node(name))
        await h.advance(300)
        for name in ("a", "b", "c"):
            assert effects(h, name) == {(taints.UNREACHABLE, "NoSchedule")}


async def test_a_zone_with_most_nodes_down_stops_evicting() -> None:
    async with Harness().running(NodeLifecycleController) as h:
        names = [f"n{i}" for i in range(6)]
        for name in names:
            h.api.add(NODES, make_node(name))
        await live(h, 80, "n0", "n1")
        evicted = [n for n in names if (taints.UNREACHABLE, "NoExecute") in effects(h, n)]
        assert len(evicted) <= 1


async def test_a_large_zone_in_trouble_evicts_slowly() -> None:
    """One node in a hundred seconds, from 51 nodes on."""
    async with Harness(ControllerConfig(large_cluster_size_threshold=5)).running(NodeLifecycleController) as h:
        names = [f"n{i}" for i in range(6)]
        for name in names:
            h.api.add(NODES, make_node(name))

        def evicted() -> int:
            return sum((taints.UNREACHABLE, "NoExecute") in effects(h, name) for name in names)

        await live(h, 80, "n0", "n1")
        assert evicted() == 1
        await live(h, 90, "n0", "n1")
        assert evicted() <= 2
        await live(h, 40, "n0", "n1")
        assert evicted() == 2


async def test_evictions_are_ten_seconds_apart() -> None:
    async with Harness().running(NodeLifecycleController) as h:
        names = [f"n{i}" for i in range(8)]
        for name in names:
            h.api.add(NODES, make_node(name))
        await live(h, 50, *names[2:])
        await h.advance(5)
        count = sum((taints.UNREACHABLE, "NoExecute") in effects(h, n) for n in names)
        await live(h, 10, *names[2:])
        after = sum((taints.UNREACHABLE, "NoExecute") in effects(h, n) for n in names)
        assert (count, after) == (1, 2)


async def test_quiet_nodes_cost_no_calls() -> None:
    async with Harness().running(NodeLifecycleController, TaintEvictionController) as h:
        for name in ("a", "b"):
            h.api.add(NODES, make_node(name))
        await live(h, 20, "a", "b")
        before = h.api.total
        await live(h, 300, "a", "b")
        assert h.api.total == before


async def test_a_wall_clock_that_jumps_kills_no_node() -> None:
    async with Harness().running(NodeLifecycleController) as h:
        for name in ("a", "b"):
            h.api.add(NODES, make_node(name))
        await live(h, 20, "a", "b")
        h.clock._start += 3600
        await live(h, 20, "a", "b")
        h.clock._start -= 7200
        await live(h, 20, "a", "b")
        assert effects(h, "a") == effects(h, "b") == set()


def taint(h: Harness, node: str, effect: str = "NoExecute") -> None:
    h.api.change(NODES, node, {"spec": {"taints": [{"key": "k", "value": "v", "effect": effect}]}})


async def test_no_execute_evicts_what_does_not_tolerate() -> None:
    async with Harness().running(TaintEvictionController) as h:
        h.api.add(NODES, make_node("a"))
        h.api.add(PODS, make_pod("p", node="a"))
        h.api.add(PODS, make_pod("tolerant", node="a", tolerations=[{"operator": "Exists"}]))
        h.api.add(PODS, make_pod("elsewhere", node="b"))
        await h.settle()
        taint(h, "a", "NoSchedule")
        await h.settle()
        assert not objects.is_deleting(h.api.read(PODS, "p"))
        taint(h, "a")
        await h.settle()
        evicted = h.api.read(PODS, "p")
        assert objects.is_deleting(evicted)
        why = objects.condition(evicted, "DisruptionTarget")
        assert why is not None and why["reason"] == "DeletionByTaintManager"
        assert not objects.is_deleting(h.api.read(PODS, "tolerant"))
        assert not objects.is_deleting(h.api.read(PODS, "elsewhere"))


async def test_toleration_seconds_delay_and_are_cancelled() -> None:
    async with Harness().running(TaintEvictionController) as h:
        h.api.add(NODES, make_node("a"))
        for name, seconds in (("short", 60), ("long", 300)):
            tolerations = [{"key": "k", "operator": "Equal", "value": "v", "tolerationSeconds": seconds}]
            h.api.add(PODS, make_pod(name, node="a", tolerations=tolerations))
        taint(h, "a")
        await h.advance(59)
        assert not objects.is_deleting(h.api.read(PODS, "short"))
        await h.advance(2)
        assert objects.is_deleting(h.api.read(PODS, "short"))
        h.api.change(NODES, "a", {"spec": {"taints": None}})
        await h.advance(600)
        assert not objects.is_deleting(h.api.read(PODS, "long"))
        assert any("Cancelling" in e["message"] for e in h.events("long"))


async def test_a_pod_bound_to_a_tainted_node_is_evicted() -> None:
    async with Harness().running(TaintEvictionController) as h:
        h.api.add(NODES, make_node("a"))
        taint(h, "a")
        await h.settle()
        h.api.add(PODS, make_pod("p"))
        h.api.change(PODS, "p", {"spec": {"nodeName": "a"}})
        await h.settle()
        assert objects.is_deleting(h.api.read(PODS, "p"))


async def test_fast_failover_is_a_matter_of_configuration() -> None:
    config = ControllerConfig(node_monitor_grace_period=4)
    async with Harness(config).running(NodeLifecycleController, TaintEvictionController) as h:
        for name in ("a", "b", "c"):
            h.api.add(NODES, make_node(name))
        toleration = {"key": taints.UNREACHABLE, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 0}
        h.api.add(PODS, make_pod("p", node="c", tolerations=[toleration]))
        for _ in range(6):
            heartbeat(h, "a", "b")
            await h.advance(1)
        assert objects.is_deleting(h.api.read(PODS, "p"))
