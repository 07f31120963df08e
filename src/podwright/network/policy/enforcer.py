"""Keeps a node's NetworkPolicy rules in step with the API. As long as there is no policy it watches for one, and does
nothing else."""

from __future__ import annotations

import asyncio
import logging

from podwright.api import objects
from podwright.api.objects import Object
from podwright.api.resources import NAMESPACES, NETWORKPOLICIES, PODS
from podwright.client.client import Client
from podwright.client.clock import Clock, SystemClock
from podwright.client.informers import Informer, latest
from podwright.network.nftables import RulesRefused, load_rules, remove_table
from podwright.network.policy.members import Member, member
from podwright.network.policy.policies import policy
from podwright.network.policy.rules import PolicyRules
from podwright.network.policy.table import Table
from podwright.runtime.protocol import RuntimeFailure, SandboxMetadata

log = logging.getLogger(__name__)

_RETRY = 1.0
_PATIENCE = 2.0
_CONFIG_HASH = "kubernetes.io/config.hash"


class PolicyEnforcer:
    """Rules for the Pods of `node`, in the network namespace this process is in. `table` must be the node's own.

    Changes are gathered for `settle` seconds, so that a burst costs one transaction; the first one goes at once.
    """

    def __init__(
        self, client: Client, *, node: str, table: str, settle: float = 0.05, clock: Clock | None = None
    ) -> None:
        self._client = client
        self._node = node
        self._table = table
        self._settle = settle
        self._clock = clock or SystemClock()
        self._policies = Informer(client, NETWORKPOLICIES, clock=clock)
        self._pods: Informer | None = None
        self._rules = PolicyRules(table)
        self._changed = asyncio.Event()
        self._in_step = asyncio.Event()
        self._awaited: dict[str, asyncio.Event] = {}
        self._given: dict[str, tuple[str, str]] = {}
        """Pod → (uid, address) of those whose status did not have the address when it was given out."""
        self._owners: dict[str, str] = {}
        """Address → the Pod that was given it last: one that had it before may still be in the API."""
        self._applied: Table | None = None
        self._applying = asyncio.Lock()

    async def run(self) -> None:
        """Runs until cancelled. Rules stay in the kernel afterwards: Pods outlive this process, and so does what keeps
        them apart."""
        self._policies.add_handler(self._policy_changed)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._policies.run(), name="networkpolicies")
            await self._policies.synced()
            while True:
                if not self._policies.items():
                    await self._remove()
                while not self._policies.items():
                    self._changed.clear()
                    await self._changed.wait()
                await self._enforce()

    async def _enforce(self) -> None:
        """Until the last policy is gone."""
        self._pods = Informer(self._client, PODS, clock=self._clock)
        namespaces = Informer(self._client, NAMESPACES, clock=self._clock)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(i.run(), name=i.resource.plural) for i in (self._pods, namespaces)]
            self._pods.add_handler(self._pod_changed)
            namespaces.add_handler(self._namespace_changed)
            await namespaces.synced()
            await self._pods.synced()
            while self._policies.items():
                self._changed.clear()
                try:
                    await self._apply()
                    self._in_step.set()
                except RulesRefused as refused:
                    log.error("NetworkPolicy rules refused: %s", refused)
                    await self._clock.sleep(_RETRY)
                    continue
                await self._changed.wait()
                await self._clock.sleep(self._settle)
            self._in_step.clear()
            for task in tasks:
                task.cancel()
        self._pods = None
        self._given, self._owners, self._rules = {}, {}, PolicyRules(self._table)
        for known in self._policies.items():
            self._policy_changed(None, known)

    async def isolate(self, metadata: SandboxMetadata, address: str) -> None:
        """Called between a Pod's network and its first container: a Pod that a policy selects is isolated from its
        first packet on, as the NetworkPolicy documentation promises. Returns at once if there is no policy in its
        namespace. A static Pod that the API does not show within two seconds starts as one without policies.

        Raises:
            RuntimeFailure: the kernel took no rules.
        """
        key = f"{metadata.namespace}/{metadata.name}"
        try:
            async with asyncio.timeout(_PATIENCE):
                await self._policies.synced()
                if not any(objects.namespace(known) == metadata.namespace for known in self._policies.items()):
                    return
                await self._in_step.wait()
                pod = await self._seen(key, metadata.uid)
        except TimeoutError:
            self._awaited.pop(key, None)
            log.warning("pod %s started before its policies were known", key)
            return
        self._given[key] = (metadata.uid, address)
        former = self._owners.get(address)
        self._owners[address] = key
        if former is not None and former != key:
            self._rules.set_pod(former, None)
        found = self._member(key, pod)
        self._rules.set_pod(key, found)
        self._changed.set()
        if found is not None and self._rules.isolates(found):
            try:
                await self._apply()
            except RulesRefused as refused:
                self._changed.set()
                raise RuntimeFailure(f"NetworkPolicies of pod {key}: {refused}") from refused

    async def _seen(self, key: str, uid: str) -> Object:
        """The Pod, when the API has shown it."""
        while True:
            pod = self._pods.get(key) if self._pods is not None else None
            if pod is not None and uid in (objects.uid(pod), objects.annotations(pod).get(_CONFIG_HASH)):
                return pod
            await self._awaited.setdefault(key, asyncio.Event()).wait()

    def _policy_changed(self, old: Object | None, new: Object | None) -> None:
        self._rules.set_policy(objects.key(latest(old, new)), policy(new) if new is not None else None)
        self._changed.set()

    def _namespace_changed(self, old: Object | None, new: Object | None) -> None:
        self._rules.set_namespace(objects.name(latest(old, new)), objects.labels(new) if new is not None else None)
        self._changed.set()

    def _pod_changed(self, old: Object | None, new: Object | None) -> None:
        key = objects.key(latest(old, new))
        if new is None:
            _, address = self._given.pop(key, ("", ""))
            if self._owners.get(address) == key:
                del self._owners[address]
        elif (awaited := self._awaited.pop(key, None)) is not None:
            awaited.set()
        if self._rules.set_pod(key, self._member(key, new) if new is not None else None):
            self._changed.set()

    def _member(self, key: str, pod: Object) -> Member | None:
        uid, address = self._given.get(key, ("", ""))
        if uid not in (objects.uid(pod), objects.annotations(pod).get(_CONFIG_HASH)):
            address = ""
        found = member(pod, self._node, address)
        if found is not None and self._owners.get(found.address, key) != key:
            return None
        return found

    async def _apply(self) -> None:
        """Raises RulesRefused; the next time everything is written anew."""
        async with self._applying:
            table = self._rules.table()
            transaction = table.transaction(self._applied)
            if not transaction:
                return
            self._applied = None
            await load_rules(transaction)
            self._applied = table

    async def _remove(self) -> None:
        async with self._applying:
            self._applied = None
            try:
                await remove_table(self._table)
            except RulesRefused as refused:
                log.error("NetworkPolicy rules not removed: %s", refused)
