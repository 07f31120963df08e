"""A server of somebody else's that filters, scores, preempts and binds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from tests.unit.scheduler.test_preemption import classes, gone, ranked
from tests.unit.scheduler.test_scheduler import add_node, node, placed, pod, refused, server, until

from podwright.api.objects import Object
from podwright.api.resources import PODS
from podwright.apiserver.server import ApiServer
from podwright.client.client import Client
from podwright.client.transport import InProcessTransport
from podwright.scheduler.config import ExtenderConfig, SchedulerConfig
from podwright.scheduler.config_file import InvalidConfiguration, parse
from podwright.scheduler.scheduler import Scheduler

__all__ = ["server"]


class Other:
    """Answers as told; `asked` has each verb with its body."""

    def __init__(self, admin: Client) -> None:
        self.admin = admin
        self.asked: list[tuple[str, Object]] = []
        self.broken = False

    async def handle(self, request: web.Request) -> web.Response:
        verb, body = request.path.strip("/"), await request.json()
        self.asked.append((verb, body))
        if self.broken:
            return web.Response(status=500)
        return web.json_response(await getattr(self, verb)(body))

    async def filter(self, body: Object) -> Object:
        kept = [n for n in body["NodeNames"] if n != "a"]
        return {"nodenames": kept, "failedNodes": {"a": "node(s) were not to its liking"}}

    async def prioritize(self, body: Object) -> list[Object]:
        return [{"Host": n["metadata"]["name"], "Score": 10 if n["metadata"]["name"] == "b" else 0}
                for n in body["Nodes"]["items"]]

    async def preempt(self, body: Object) -> Object:
        return {"NodeNameToMetaVictims": {n: v for n, v in body["NodeNameToMetaVictims"].items() if n == "b"}}

    async def bind(self, body: Object) -> Object:
        await self.admin.create(PODS, {
            "apiVersion": "v1", "kind": "Binding", "metadata": {"name": body["PodName"], "namespace": "default"},
            "target": {"kind": "Node", "name": body["Node"]}}, subresource="binding",
            name=body["PodName"])  # fmt: skip
        return {}


@asynccontextmanager
async def extended(server: ApiServer, **verbs: Any) -> AsyncIterator[tuple[Client, Other]]:
    admin = Client(InProcessTransport(server.local, "admin", ("system:masters",)))
    other = Other(admin)
    app = web.Application()
    app.router.add_post("/{verb}", other.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    config = SchedulerConfig(extenders=(ExtenderConfig(f"http://127.0.0.1:{port}/", **verbs),), pod_initial_backoff=0.1)
    scheduler = asyncio.ensure_future(
        Scheduler(Client(InProcessTransport(server.local, "system:kube-scheduler")), config=config).run()
    )
    try:
        yield admin, other
    finally:
        scheduler.cancel()
        await asyncio.gather(scheduler, return_exceptions=True)
        await runner.cleanup()


async def test_it_filters_by_name_and_what_it_says_is_told(server: ApiServer) -> None:
    async with extended(server, filter_verb="filter", node_cache_capable=True) as (admin, other):
        for name in ("a", "b"):
            await add_node(admin, node(name))
        await admin.create(PODS, pod("p"))
        assert await placed(admin, "p") == "b"
        await admin.create(PODS, pod("q", nodeSelector={"kubernetes.io/hostname": "a"}))
        assert (await refused(admin, "q")).startswith(
            "0/2 nodes are available: 1 node(s) didn't match Pod's node affinity/selector, "
            "1 node(s) were not to its liking. preemption:"
        )
        other.broken = True
        await admin.create(PODS, pod("r"))
        assert "code 500" in await refused(admin, "r")


async def test_it_scores_and_an_ignorable_one_may_be_gone(server: ApiServer) -> None:
    verbs = {"prioritize_verb": "prioritize", "filter_verb": "filter", "ignorable": True, "weight": 50,
             "managed_resources": (("example.com/x", True),)}
    async with extended(server, **verbs) as (admin, other):
        other.filter = None  # type: ignore[assignment]
        for name in ("a", "b", "c"):
            await add_node(admin, node(name))
        wanting = pod("p")
        wanting["spec"]["containers"][0]["resources"] = {"limits": {"example.com/x": "1"}}
        await admin.create(PODS, wanting)
        # No node has the resource: it is the extender's alone.
        assert await placed(admin, "p") == "b"
        count = len(other.asked)
        await admin.create(PODS, pod("q"))
        await placed(admin, "q")
        assert len(other.asked) == count


async def test_it_binds_and_has_its_say_in_preemption(server: ApiServer) -> None:
    verbs = {"bind_verb": "bind", "preempt_verb": "preempt", "node_cache_capable": True}
    async with extended(server, **verbs) as (admin, other):
        await classes(admin)
        for name in ("a", "b"):
            await add_node(admin, node(name, cpu="1"))
        await admin.create(PODS, ranked("low", "low", nodeSelector={"kubernetes.io/hostname": "a"}))
        await admin.create(PODS, ranked("middle", "middle", nodeSelector={"kubernetes.io/hostname": "b"}))
        assert [await placed(admin, n) for n in ("low", "middle")] == ["a", "b"]
        assert [verb for verb, _ in other.asked] == ["bind", "bind"]
        # Left alone the scheduler would take the lowest.
        await admin.create(PODS, ranked("high", "high"))
        await until(lambda: gone(admin, "middle"))
        assert await placed(admin, "high") == "b"


def test_the_file_form() -> None:
    header = "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\nextenders:\n"
    one = "- {urlPrefix: 'https://x/', bindVerb: b, enableHTTPS: true, tlsConfig: {insecure: true}, httpTimeout: 2s}\n"
    config = parse(header + one)
    assert config.extenders[0].tls == {"insecure": True} and config.extenders[0].timeout == 2
    with pytest.raises(InvalidConfiguration, match="only one extender can implement bind"):
        parse(header + one + one)
