"""Counts what each ResourceQuota covers and writes status.used: admission adds at once, this controller takes off."""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal

from podwright.api import objects, quantity
from podwright.api.objects import Object
from podwright.api.quota_usage import Amounts, in_scope, names_resource, usage
from podwright.api.resources import (
    CONFIGMAPS,
    PERSISTENTVOLUMECLAIMS,
    PODS,
    REPLICATIONCONTROLLERS,
    RESOURCECLAIMS,
    RESOURCEQUOTAS,
    SECRETS,
    SERVICES,
    Resource,
)
from podwright.client.informers import Informer, latest
from podwright.controllers import refs
from podwright.controllers.frame import Context, Controller
from podwright.controllers.served import ServedResources

_BATCH = 0.1
"""Seconds that changes in a namespace wait for each other."""
_PLAIN = (PODS, SERVICES, PERSISTENTVOLUMECLAIMS, CONFIGMAPS, SECRETS, REPLICATIONCONTROLLERS, RESOURCECLAIMS)


class ResourceQuotaController(Controller):
    """Resources are followed only once a quota speaks of them."""

    name = "resourcequota-controller"
    account = "resourcequota-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._followed: dict[tuple[str, str], Informer] = {}
        self.served = ServedResources(context.informers, self._served_changed)
        self._informers.append(self.served.informer)
        self.quotas = self.informer(RESOURCEQUOTAS, self._quota_changed, namespace=refs.by_namespace)

    def _quota_changed(self, old: Object | None, new: Object | None) -> None:
        if new is not None and (old is None or old.get("spec") != new.get("spec") or _drifted(new)):
            self.enqueue(old, new)

    def _served_changed(self, row: Resource, served: bool) -> None:
        """A custom resource that is gone counts no more; one that comes is counted by quotas that wait for it."""
        if not served and self._followed.pop((row.group, row.plural), None) is not None:
            self.context.informers.drop(row)
        for quota in self.quotas.items():
            if names_resource((quota.get("spec") or {}).get("hard") or {}, row):
                self.queue.add(objects.key(quota))

    def _rows(self, quota: Object) -> list[Resource]:
        hard = (quota.get("spec") or {}).get("hard") or {}
        wanted = any(name.startswith("count/") for name in hard)
        rows = self.served.rows() if wanted else [*_PLAIN, RESOURCEQUOTAS]
        return [row for row in rows if row.namespaced and names_resource(hard, row)]

    def _follow(self, row: Resource) -> Informer:
        key = (row.group, row.plural)
        informer = self._followed.get(key)
        if informer is None:
            informer = self.context.informers.informer(row)
            informer.add_index("namespace", refs.by_namespace)
            informer.add_handler(lambda old, new: self._object_changed(row, old, new))
            self._followed[key] = informer
        return informer

    def _object_changed(self, row: Resource, old: Object | None, new: Object | None) -> None:
        now = self.clock.now()
        for quota in self.quotas.by_index("namespace", objects.namespace(latest(old, new))):
            if old is None or new is None or _charge(quota, row, old, now) != _charge(quota, row, new, now):
                self.queue.add_after(objects.key(quota), _BATCH)

    async def reconcile(self, key: str) -> None:
        quota = self.quotas.get(key)
        if quota is None or objects.is_deleting(quota):
            return
        hard: dict[str, str] = (quota.get("spec") or {}).get("hard") or {}
        totals: dict[str, Decimal] = defaultdict(Decimal)
        now = self.clock.now()
        for row in self._rows(quota):
            informer = self._follow(row)
            await informer.synced()
            for obj in informer.by_index("namespace", objects.namespace(quota)):
                for name, amount in _charge(quota, row, obj, now).items():
                    if name in hard:
                        totals[name] += amount
        used = {
            name: quantity.format(totals[name], quantity.format_of(limit) if totals[name] else quantity.DECIMAL_SI)
            for name, limit in hard.items()
        }
        status = quota.get("status") or {}
        if status.get("hard") == hard and _equal(status.get("used") or {}, used):
            return
        changed = {**quota, "status": {"hard": dict(hard), "used": used}}
        await self.client.update_status(RESOURCEQUOTAS, changed)


def _drifted(quota: Object) -> bool:
    """The status is not about what the spec asks."""
    hard, status = (quota.get("spec") or {}).get("hard") or {}, quota.get("status") or {}
    return status.get("hard", {}) != hard or (status.get("used") or {}).keys() != hard.keys()


def _equal(first: dict[str, str], second: dict[str, str]) -> bool:
    if first.keys() != second.keys():
        return False
    return all(quantity.compare(first[k], second[k]) == 0 for k in first)


def _charge(quota: Object, row: Resource, obj: Object, now: float) -> Amounts:
    return usage(row, obj, now) if in_scope(quota, row, obj) else {}
