from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from podwright.api import objects
from podwright.api.objects import Object
from podwright.api.resources import CONFIGMAPS
from podwright.api.status import expired
from podwright.client.client import Client
from podwright.client.informers import Informer
from podwright.client.transport import Call, ServerUnreachable, WatchEvent


def config_map(name: str, version: int, uid: str = "") -> Object:
    return {"metadata": {"name": name, "namespace": "ns", "resourceVersion": str(version), "uid": uid or name}}


class Scripted:
    """A transport whose lists and watches are given in advance; a watch entry that is an exception is raised."""

    def __init__(self, lists: list[list[Object]], watches: list[list[object]]) -> None:
        self.lists, self.watches, self.calls = lists, watches, []
        self.exhausted = asyncio.Event()

    async def call(self, call: Call) -> Object:
        self.calls.append(call)
        return {"metadata": {"resourceVersion": "10"}, "items": self.lists.pop(0)}

    async def watch(self, call: Call) -> AsyncIterator[WatchEvent]:
        self.calls.append(call)
        if not self.watches:
            self.exhausted.set()
            await asyncio.Event().wait()
        for event in self.watches.pop(0):
            if isinstance(event, Exception):
                raise event
            yield event

    async def aclose(self) -> None: ...


async def run(transport: Scripted) -> tuple[Informer, list[tuple[str | None, str | None]]]:
    seen: list[tuple[str | None, str | None]] = []
    informer = Informer(Client(transport), CONFIGMAPS)
    informer.add_index("ns", lambda obj: (objects.namespace(obj),))

    def handler(old: Object | None, new: Object | None) -> None:
        def tag(o: Object | None) -> str | None:
            return f"{o['metadata']['name']}@{o['metadata']['resourceVersion']}" if o else None

        seen.append((tag(old), tag(new)))

    informer.add_handler(handler)
    task = asyncio.ensure_future(informer.run())
    async with asyncio.timeout(60):
        await transport.exhausted.wait()
    task.cancel()
    return informer, seen


async def test_list_then_watch_gives_each_change_once() -> None:
    transport = Scripted(
        [[config_map("a", 1)]],
        [
            [
                WatchEvent("ADDED", config_map("b", 11)), WatchEvent("MODIFIED", config_map("a", 12)),
                WatchEvent("DELETED", config_map("b", 13)),
            ]
        ],
    )
    informer, seen = await run(transport)
    assert seen == [(None, "a@1"), (None, "b@11"), ("a@1", "a@12"), ("b@13", None)]
    assert [o["metadata"]["name"] for o in informer.by_index("ns", "ns")] == ["a"]
    assert informer.items()[0]["kind"] == "ConfigMap"
    assert transport.calls[-1].query["resourceVersion"] == "13"


async def test_an_expired_watch_relists_and_shows_what_changed_meanwhile() -> None:
    transport = Scripted(
        [[config_map("gone", 1), config_map("same", 2), config_map("new-uid", 3, "u1")],
         [config_map("same", 2), config_map("new-uid", 9, "u2"), config_map("added", 8)]],
        [[expired("too old")]],
    )  # fmt: skip
    _, seen = await run(transport)
    assert seen[:3] == [(None, "gone@1"), (None, "same@2"), (None, "new-uid@3")]
    assert set(seen[3:]) == {("gone@1", None), ("new-uid@3", None), (None, "new-uid@9"), (None, "added@8")}


async def test_a_lost_connection_resumes_from_the_last_revision() -> None:
    transport = Scripted(
        [[]], [[WatchEvent("BOOKMARK", {"metadata": {"resourceVersion": "40"}}), ServerUnreachable("lost")]]
    )
    await run(transport)
    assert transport.calls[-1].query["resourceVersion"] == "40"
