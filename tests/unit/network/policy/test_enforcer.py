"""The task that keeps the rules, against a real API server, with the kernel replaced by a list of transactions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from podwright.api.resources import NAMESPACES, NETWORKPOLICIES, PODS
from podwright.client.client import Client
from podwright.network.nftables import RulesRefused
from podwright.network.policy import enforcer as module
from podwright.network.policy.enforcer import PolicyEnforcer
from podwright.runtime.protocol import RuntimeFailure, SandboxMetadata
from podwright.testing.api import LocalApi

DENY = {"metadata": {"name": "deny", "namespace": "default"}, "spec": {"podSelector": {"matchLabels": {"app": "a"}}}}


class Kernel:
    def __init__(self) -> None:
        self.taken: list[str] = []
        self.refuses = False
        self.changed = asyncio.Event()

    async def load(self, rules: str) -> None:
        if self.refuses:
            raise RulesRefused("no such table")
        self.taken.append(rules)
        self.changed.set()

    async def remove(self, table: str) -> None:
        await self.load(f"removed {table}")

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not condition():
                self.changed.clear()
                await self.changed.wait()


class Counted(Client):
    """Notes which resources are watched."""

    watched: set[str] = set()

    def watch(self, resource: Any, **which: Any) -> Any:
        self.watched.add(resource.plural)
        return super().watch(resource, **which)


@pytest.fixture
async def parts(
    podwright_api: LocalApi, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[PolicyEnforcer, Kernel, Client]]:
    kernel = Kernel()
    monkeypatch.setattr(module, "load_rules", kernel.load)
    monkeypatch.setattr(module, "remove_table", kernel.remove)
    client = podwright_api.new_client()
    Counted.watched = set()
    watching = Counted(client.transport)
    enforcer = PolicyEnforcer(watching, node="n1", table="t", settle=0.01)
    task = asyncio.create_task(enforcer.run())
    await kernel.until(lambda: kernel.taken == ["removed t"])
    yield enforcer, kernel, client
    task.cancel()
    await asyncio.wait((task,))
    assert task.cancelled()
    await client.aclose()


def _pod(name: str, **labels: str) -> dict[str, Any]:
    meta = {"name": name, "namespace": "default", "labels": labels}
    return {"metadata": meta, "spec": {"nodeName": "n1", "containers": [{"name": "c", "image": "x"}]}}


async def _sandbox(client: Client, name: str, **labels: str) -> SandboxMetadata:
    made = await client.create(PODS, _pod(name, **labels))
    return SandboxMetadata(name, "default", made["metadata"]["uid"])


async def test_without_a_policy_nothing_is_watched_and_no_pod_waits(
    parts: tuple[PolicyEnforcer, Kernel, Client],
) -> None:
    enforcer, kernel, client = parts
    async with asyncio.timeout(60):
        await enforcer.isolate(SandboxMetadata("nobody", "default", "knows"), "10.1.1.2")
    assert kernel.taken == ["removed t"] and Counted.watched == {"networkpolicies"}
    await client.create(NETWORKPOLICIES, DENY)
    await kernel.until(lambda: len(kernel.taken) == 2)
    assert Counted.watched == {"networkpolicies", "pods", "namespaces"}
    await client.delete(NETWORKPOLICIES, "deny", namespace="default")
    await kernel.until(lambda: kernel.taken[-1] == "removed t")


async def test_a_selected_pod_is_isolated_when_the_call_returns(parts: tuple[PolicyEnforcer, Kernel, Client]) -> None:
    enforcer, kernel, client = parts
    await client.create(NETWORKPOLICIES, DENY)
    await kernel.until(lambda: len(kernel.taken) == 2)
    selected = await _sandbox(client, "selected", app="a")
    await enforcer.isolate(selected, "10.1.1.2")
    assert "10.1.1.2 : goto ingress-of-" in "".join(kernel.taken[2:])
    count = len(kernel.taken)
    await enforcer.isolate(await _sandbox(client, "other", app="b"), "10.1.1.3")
    await client.create(NAMESPACES, {"metadata": {"name": "free"}})
    await enforcer.isolate(SandboxMetadata("unknown", "free", "uid"), "10.1.1.4")
    assert len(kernel.taken) == count, "no policy selects them: they wait for nothing"


async def test_an_address_is_its_last_owners(parts: tuple[PolicyEnforcer, Kernel, Client]) -> None:
    """The Pod that had it before may be in the API for a while."""
    enforcer, kernel, client = parts
    await client.create(NETWORKPOLICIES, DENY)
    await kernel.until(lambda: len(kernel.taken) == 2)
    await enforcer.isolate(await _sandbox(client, "first", app="a"), "10.1.1.2")
    count = len(kernel.taken)
    await enforcer.isolate(await _sandbox(client, "second", app="b"), "10.1.1.2")
    await kernel.until(lambda: "delete element ip t to-isolated { 10.1.1.2 }" in "".join(kernel.taken[count:]))
    await client.patch(PODS, "first", {"metadata": {"labels": {"more": "1"}}}, namespace="default")
    await enforcer.isolate(await _sandbox(client, "third", app="a"), "10.1.1.9")
    assert "10.1.1.2 :" not in "".join(kernel.taken[count:])


async def test_a_pod_does_not_start_if_its_isolation_is_refused(parts: tuple[PolicyEnforcer, Kernel, Client]) -> None:
    enforcer, kernel, client = parts
    await client.create(NETWORKPOLICIES, DENY)
    await kernel.until(lambda: len(kernel.taken) == 2)
    selected = await _sandbox(client, "selected", app="a")
    kernel.refuses = True
    with pytest.raises(RuntimeFailure, match="NetworkPolicies of pod default/selected: no such table"):
        await enforcer.isolate(selected, "10.1.1.2")
    kernel.refuses = False
    await enforcer.isolate(selected, "10.1.1.2")
    assert "delete table ip t" in kernel.taken[-1], "after a refusal the whole table is written anew"
