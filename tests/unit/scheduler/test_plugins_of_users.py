"""Plugins that are not built in, and the files that enable them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from tests.unit.scheduler.test_scheduler import add_node, node, placed, pod, refused, server

from podwright.api.objects import Object
from podwright.api.resources import PODS
from podwright.apiserver.server import ApiServer
from podwright.client.client import Client
from podwright.client.transport import InProcessTransport
from podwright.scheduler.config import SchedulerConfig
from podwright.scheduler.config_file import InvalidConfiguration, parse
from podwright.scheduler.framework.verdicts import Wait
from podwright.scheduler.scheduler import Scheduler

__all__ = ["server"]
_HEADER = "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\n"


class OnlyQuiet:
    """A whole plugin."""

    name = "OnlyQuiet"

    def __init__(self, handle: Any, args: Mapping[str, Any]) -> None:
        self.label = args.get("label", "quiet")

    def filter_node(self, pod: Object, node: Object, pods: Sequence[Object]) -> str | None:
        return None if self.label in node["metadata"]["labels"] else "node(s) were loud"


class LastName:
    name = "LastName"

    def __init__(self, handle: Any, args: Mapping[str, Any]) -> None:
        pass

    def score_node(self, pod: Object, node: Object, pods: Sequence[Object]) -> int:
        return ord(node["metadata"]["name"][0]) - ord("a")


class Broken(OnlyQuiet):
    name = "Broken"

    def filter_node(self, pod: Object, node: Object, pods: Sequence[Object]) -> str | None:
        if pod["metadata"]["name"] == "bad":
            raise RuntimeError("out of order")
        return None


class Hanging(OnlyQuiet):
    name = "Hanging"
    release = threading.Event()

    def filter_node(self, pod: Object, node: Object, pods: Sequence[Object]) -> str | None:
        if pod["metadata"]["name"] == "bad":
            self.release.wait(30)
        return None


class Gatekeeper(OnlyQuiet):
    name = "Gatekeeper"
    handle: Any = None

    def __init__(self, handle: Any, args: Mapping[str, Any]) -> None:
        super().__init__(handle, args)
        Gatekeeper.handle = handle

    def permit(self, pod: Any, node: str) -> Any:
        return Wait(60.0) if pod.key.endswith("/held") else None

    def filter_node(self, pod: Object, node: Object, pods: Sequence[Object]) -> str | None:
        return None


def config(*plugins: type, weight: int = 1, **more: Any) -> SchedulerConfig:
    enabled = "".join(f"      - {{name: '{__name__}:{p.__name__}', weight: {weight}}}\n" for p in plugins)
    text = f"{_HEADER}leaderElection: {{leaderElect: false}}\nprofiles:\n- plugins:\n    multiPoint:\n      enabled:\n"
    return replace(parse(text + enabled), warm_up=0.01, **more)


@asynccontextmanager
async def scheduling(server: ApiServer, config: SchedulerConfig) -> AsyncIterator[Client]:
    task = asyncio.ensure_future(
        Scheduler(Client(InProcessTransport(server.local, "system:kube-scheduler")), config=config).run()
    )
    yield Client(InProcessTransport(server.local, "admin", ("system:masters",)))
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert task.cancelled()


async def test_a_filter_in_ten_lines(server: ApiServer) -> None:
    async with scheduling(server, config(OnlyQuiet)) as admin:
        await add_node(admin, node("a"))
        await admin.create(PODS, pod("p"))
        assert "1 node(s) were loud" in await refused(admin, "p")
        await add_node(admin, node("b", labels={"quiet": ""}))
        assert await placed(admin, "p") == "b"


async def test_a_score_decides_by_its_weight(server: ApiServer) -> None:
    async with scheduling(server, config(LastName, weight=1000)) as admin:
        for name in "abc":
            await add_node(admin, node(name))
        await admin.create(PODS, pod("p"))
        assert await placed(admin, "p") == "c"


@pytest.mark.parametrize(("plugin", "said"), [(Broken, "out of order"), (Hanging, "no answer within 0.2s")])
async def test_a_bad_plugin_fails_its_pod_alone(server: ApiServer, plugin: type, said: str) -> None:
    Hanging.release.clear()
    async with scheduling(server, config(plugin, plugin_timeout=0.2 if plugin is Hanging else 30.0)) as admin:
        await add_node(admin, node("a"))
        await admin.create(PODS, pod("bad"))
        await admin.create(PODS, pod("good"))
        assert await placed(admin, "good") == "a"
        assert said in await refused(admin, "bad")
    Hanging.release.set()


async def test_a_permit_holds_a_pod(server: ApiServer) -> None:
    async with scheduling(server, config(Gatekeeper)) as admin:
        await add_node(admin, node("a"))
        await admin.create(PODS, pod("held"))
        await admin.create(PODS, pod("free"))
        await placed(admin, "free")
        held = await admin.get(PODS, "held", namespace="default")
        assert "nodeName" not in held["spec"]
        Gatekeeper.handle.allow(held["metadata"]["uid"])
        assert await placed(admin, "held") == "a"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("profiles:\n- schedulerName: x\n  plugin: {}\n", 'line 5: unknown field "profiles[0].plugin"'),
        ("parallelism: 1\nparallelism: 2\n", 'line 4: field "parallelism" already set'),
        ("profiles: {}\n", "line 3: profiles: a list is needed"),
        (
            "profiles:\n- pluginConfig:\n  - name: NodeResourcesFit\n    args:\n      strategy: x\n",
            'line 7: unknown field "profiles[0].pluginConfig[0].args.strategy"',
        ),
        ("percentageOfNodesToScore: 101\n", "not in valid range [0-100]"),
        ("profiles: [{schedulerName: x}, {schedulerName: x}]\n", 'Duplicate value: "x"'),
        ("leaderElection: {leaseDuration: soon}\n", "invalid duration 'soon'"),
    ],
)
def test_files_are_read_strictly(text: str, said: str) -> None:
    with pytest.raises(InvalidConfiguration) as caught:
        parse(_HEADER + text)
    assert said in str(caught.value)


def test_plugins_are_chosen_by_point() -> None:
    found = parse(_HEADER + """
profiles:
- schedulerName: packed
  plugins:
    multiPoint: {disabled: [{name: ImageLocality}], enabled: [{name: NodeAffinity, weight: 7}]}
    score: {disabled: [{name: TaintToleration}]}
  pluginConfig:
  - name: NodeResourcesFit
    args: {scoringStrategy: {type: MostAllocated, resources: [{name: cpu, weight: 1}]}}
- {}
""")
    packed, default = found.profiles
    chosen = {c.name: c for c in packed.plugins}
    assert "ImageLocality" not in chosen and chosen["NodeAffinity"].weight == 7
    taints = chosen["TaintToleration"].points
    assert taints is not None and "score" not in taints and "filter" in taints
    assert packed.args["NodeResourcesFit"]["scoringStrategy"]["type"] == "MostAllocated"
    assert default.scheduler_name == "default-scheduler" and len(default.plugins) > len(packed.plugins)
