"""Keeps a node's Service rules in step with the API: what kube-proxy is elsewhere."""

from __future__ import annotations

import asyncio
import logging

from podwright.api import objects
from podwright.api.objects import Object
from podwright.api.resources import ENDPOINTSLICES, NODES, SERVICES
from podwright.client.client import Client
from podwright.client.clock import Clock, SystemClock
from podwright.client.informers import Informer
from podwright.network.nftables import RulesRefused, load_rules
from podwright.network.services.ports import ServicePort, service_ports
from podwright.network.services.rules import Ruleset, ruleset

log = logging.getLogger(__name__)

_RETRY = 1.0
_ZONE = "topology.kubernetes.io/zone"


class ServiceProxy:
    """Rules for every Service, in the network namespace this process is in. `table` must be the node's own.

    Changes are gathered for `settle` seconds, so that a burst costs one transaction; the first one goes at once.
    """

    def __init__(
        self, client: Client, *, node: str, table: str, pod_cidr: str, settle: float = 0.05, clock: Clock | None = None,
    ) -> None:
        self._node = node
        self._table = table
        self._pod_cidr = pod_cidr
        self._settle = settle
        self._clock = clock or SystemClock()
        self._services = Informer(client, SERVICES, clock=clock)
        self._slices = Informer(client, ENDPOINTSLICES, clock=clock)
        self._nodes = Informer(client, NODES, field_selector=f"metadata.name={node}", clock=clock)
        self._changed = asyncio.Event()
        self._applied: Ruleset | None = None

    async def run(self) -> None:
        """Runs until cancelled. Rules stay in the kernel afterwards: Pods outlive this process, and so do Services."""
        self._services.add_handler(self._on_change)
        self._slices.add_handler(self._on_change)
        self._nodes.add_handler(self._on_node_change)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._services.run(), name="services")
            group.create_task(self._slices.run(), name="endpointslices")
            group.create_task(self._nodes.run(), name="node")
            await self._services.synced()
            await self._slices.synced()
            await self._nodes.synced()
            while True:
                self._changed.clear()
                await self._apply()
                await self._changed.wait()
                await self._clock.sleep(self._settle)

    def _on_change(self, old: Object | None, new: Object | None) -> None:
        self._changed.set()

    def _on_node_change(self, old: Object | None, new: Object | None) -> None:
        """Heartbeats are no news: only the zone counts."""
        if _zone(old) != _zone(new):
            self._changed.set()

    def ports(self) -> list[ServicePort]:
        zone = _zone(self._nodes.get(self._node))
        return service_ports(self._services.items(), self._slices.items(), self._node, zone)

    async def _apply(self) -> None:
        rules = ruleset(self._table, self.ports(), pod_cidr=self._pod_cidr)
        if rules == self._applied:
            return
        try:
            await load_rules(rules.transaction(self._applied))
            self._applied = rules
        except RulesRefused as refused:
            log.error("Service rules refused: %s", refused)
            self._applied = None
            await self._clock.sleep(_RETRY)
            self._changed.set()


def _zone(node: Object | None) -> str:
    return objects.labels(node).get(_ZONE, "") if node is not None else ""
