"""The node's heartbeat: its Lease in kube-node-lease (documentation page "Node", "Heartbeats")."""

from __future__ import annotations

import logging

from podwright.api import objects
from podwright.api.objects import Object
from podwright.api.resources import LEASES
from podwright.api.status import ApiError
from podwright.client.client import Client
from podwright.client.clock import Clock
from podwright.client.transport import ServerUnreachable
from podwright.kubelet.config import KubeletConfig

log = logging.getLogger(__name__)

NAMESPACE = "kube-node-lease"
_RETRY = 0.2


class NodeLease:
    """Renewed every `lease_period` seconds. Run :meth:`run` as a task."""

    def __init__(self, client: Client, config: KubeletConfig, clock: Clock) -> None:
        self._client = client
        self._config = config
        self._clock = clock
        self._lease: Object | None = None

    async def run(self, node_uid: str) -> None:
        delay = _RETRY
        while True:
            try:
                await self.renew(node_uid)
                delay = _RETRY
                await self._clock.sleep(self._config.lease_period)
            except (ApiError, ServerUnreachable) as failed:
                log.warning("lease of node %s not renewed: %s", self._config.node_name, failed)
                self._lease = None
                await self._clock.sleep(delay)
                delay = min(delay * 2, self._config.lease_period)

    async def renew(self, node_uid: str) -> None:
        """Raises ApiError or ServerUnreachable."""
        if self._lease is None:
            self._lease = await self._get_or_create(node_uid)
            if self._lease["spec"].get("holderIdentity") == self._config.node_name and self._fresh(self._lease):
                return
        lease = objects.deepcopy(self._lease)
        lease["spec"]["holderIdentity"] = self._config.node_name
        lease["spec"]["leaseDurationSeconds"] = int(self._config.lease_duration)
        lease["spec"]["renewTime"] = objects.format_micro_time(self._clock.now())
        self._lease = await self._client.update(LEASES, lease)

    def _fresh(self, lease: Object) -> bool:
        """Whether it was renewed just now, as a lease that was just made is."""
        return self._clock.now() - objects.parse_time(lease["spec"]["renewTime"]) < 1.0

    async def _get_or_create(self, node_uid: str) -> Object:
        name = self._config.node_name
        lease: Object = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {
                "name": name,
                "namespace": NAMESPACE,
                "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": name, "uid": node_uid}],
            },
            "spec": {
                "holderIdentity": name,
                "leaseDurationSeconds": int(self._config.lease_duration),
                "renewTime": objects.format_micro_time(self._clock.now()),
            },
        }
        try:
            return await self._client.create(LEASES, lease)
        except ApiError as refused:
            if refused.code != 409:
                raise
            return await self._client.get(LEASES, name, namespace=NAMESPACE)
