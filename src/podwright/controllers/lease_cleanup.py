"""Removes the identity Leases of API servers that are gone."""

from __future__ import annotations

from podwright.api import objects
from podwright.api.objects import Object
from podwright.api.resources import LEASES
from podwright.controllers.frame import Context, Controller, ignore_not_found

_LABEL = "apiserver.kubernetes.io/identity"
_MERCY = 3600.0
"""Seconds without renewal, by our own clock, after which a server counts as gone."""


class LeaseCleanupController(Controller):
    name = "apiserver-lease-cleanup-controller"
    account = "generic-garbage-collector"
    workers = 1

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._renewed: dict[str, float] = {}
        self.leases = self.own_informer(LEASES, self._changed, namespace="kube-system", label_selector=_LABEL)

    def _changed(self, old: Object | None, new: Object | None) -> None:
        if new is None:
            assert old is not None
            self._renewed.pop(objects.key(old), None)
            return
        key = objects.key(new)
        self._renewed[key] = self.clock.monotonic()
        if old is None:
            self.queue.add(key)

    async def reconcile(self, key: str) -> None:
        lease, renewed = self.leases.get(key), self._renewed.get(key)
        if lease is None or renewed is None:
            return
        duration = float((lease.get("spec") or {}).get("leaseDurationSeconds") or 0)
        left = renewed + max(_MERCY, duration) - self.clock.monotonic()
        if left > 0:
            self.queue.add_after(key, left)
            return
        await ignore_not_found(self.client.delete(
            LEASES, objects.name(lease), namespace=objects.namespace(lease), uid=objects.uid(lease),
            resource_version=lease["metadata"]["resourceVersion"],
        ))  # fmt: skip
