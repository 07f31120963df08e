"""ServiceCIDRs: Ready while they are there, and kept while addresses of theirs are in no other (KEP-1880)."""

from __future__ import annotations

import ipaddress

from podwright.api import objects
from podwright.api.objects import Object
from podwright.api.resources import IPADDRESSES, SERVICECIDRS
from podwright.controllers.frame import Context, Controller, ignore_not_found

FINALIZER = "networking.k8s.io/service-cidr-finalizer"
_GRACE = 10.0
"""Seconds in which every API server has learned that it gives out no more of a ServiceCIDR that is being deleted."""
_MANAGED = ("ipaddress.kubernetes.io/managed-by", "ipallocator.k8s.io")
_BLOCKED = "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR"

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class ServiceCIDRController(Controller):
    name = "service-cidr-controller"
    account = "service-cidrs-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.cidrs = self.informer(SERVICECIDRS, self._changed)
        self.addresses = self.informer(IPADDRESSES, self._address_changed)

    def _changed(self, old: Object | None, new: Object | None) -> None:
        self.enqueue(old, new)
        if old is None or new is None:
            for other in self.cidrs.items():
                self.queue.add(objects.name(other))

    def _address_changed(self, old: Object | None, new: Object | None) -> None:
        """Only one that is being deleted waits for its addresses."""
        if old is None or new is None:
            for cidr in self.cidrs.items():
                if cidr["metadata"].get("deletionTimestamp"):
                    self.queue.add(objects.name(cidr))

    async def reconcile(self, key: str) -> None:
        cidr = self.cidrs.get(key)
        if cidr is None:
            return
        finalizers = cidr["metadata"].get("finalizers") or []
        if cidr["metadata"].get("deletionTimestamp"):
            await self._delete(key, cidr, finalizers)
            return
        if FINALIZER not in finalizers:
            cidr = await ignore_not_found(self._set_finalizers(cidr, [*finalizers, FINALIZER]))
        if cidr is not None and _ready(cidr) is None:
            await self._condition(cidr, "True", "", "Kubernetes Service CIDR is ready")

    async def _delete(self, key: str, cidr: Object, finalizers: list[str]) -> None:
        if FINALIZER not in finalizers:
            return
        if self._needed(cidr):
            if _ready(cidr) != "False":
                await self._condition(cidr, "False", "Terminating", _BLOCKED)
            return
        since = self.clock.now() - objects.parse_time(cidr["metadata"]["deletionTimestamp"])
        if since < _GRACE:
            self.queue.add_after(key, _GRACE - since)
            return
        await ignore_not_found(self._set_finalizers(cidr, [f for f in finalizers if f != FINALIZER]))

    def _needed(self, cidr: Object) -> bool:
        """Whether an address would be in no ServiceCIDR any more."""
        others = [n for other in self.cidrs.items() if objects.name(other) != objects.name(cidr) for n in _nets(other)]
        for network in _nets(cidr):
            if any(n.version == network.version and network.subnet_of(n) for n in others):  # type: ignore[arg-type]
                continue
            for address in self.addresses.items():
                if objects.labels(address).get(_MANAGED[0]) != _MANAGED[1]:
                    continue
                ip = ipaddress.ip_address(objects.name(address))
                if ip in network and not any(ip in n for n in others):
                    return True
        return False

    async def _set_finalizers(self, cidr: Object, finalizers: list[str]) -> Object:
        return await self.client.update(
            SERVICECIDRS, {**cidr, "metadata": {**cidr["metadata"], "finalizers": finalizers}}
        )

    async def _condition(self, cidr: Object, status: str, reason: str, message: str) -> None:
        ready = {
            "type": "Ready", "status": status, "reason": reason, "message": message,
            "lastTransitionTime": objects.format_time(self.clock.now()),
        }
        kept = [c for c in (cidr.get("status") or {}).get("conditions") or () if c.get("type") != "Ready"]
        changed = {**cidr, "status": {**(cidr.get("status") or {}), "conditions": [*kept, ready]}}
        await ignore_not_found(self.client.update(SERVICECIDRS, changed, subresource="status"))


def _nets(cidr: Object) -> list[Network]:
    return [ipaddress.ip_network(text) for text in (cidr.get("spec") or {}).get("cidrs") or ()]


def _ready(cidr: Object) -> str | None:
    conditions = (cidr.get("status") or {}).get("conditions") or ()
    return next((str(c.get("status")) for c in conditions if c.get("type") == "Ready"), None)
