"""APIServices that the server keeps itself: one for each group version that it serves, built in or custom."""

from __future__ import annotations

import asyncio
import logging

from podwright.api import objects, status
from podwright.api.objects import Object
from podwright.api.resources import APISERVICES, CUSTOMRESOURCEDEFINITIONS, POD_METRICS
from podwright.apiserver.cache.entries import Event
from podwright.apiserver.registry.registry import Conflict, Missing, Registry
from podwright.apiserver.requests import Writer

_log = logging.getLogger(__name__)

AUTOMANAGED = "kube-aggregator.kubernetes.io/automanaged"
ON_START = "onstart"
CONTINUOUSLY = "true"
_CUSTOM_PRIORITIES = (1000, 100)
_OTHERS = 100
_VERSION = 15
_GROUPS = {
    "": 18000, "apps": 17800, "events.k8s.io": 17750, "authentication.k8s.io": 17700, "authorization.k8s.io": 17600,
    "autoscaling": 17500, "batch": 17400, "certificates.k8s.io": 17300, "networking.k8s.io": 17200, "policy": 17100,
    "rbac.authorization.k8s.io": 17000, "storage.k8s.io": 16800, "apiextensions.k8s.io": 16700,
    "admissionregistration.k8s.io": 16700, "scheduling.k8s.io": 16600, "coordination.k8s.io": 16500,
    "node.k8s.io": 16300, "discovery.k8s.io": 16200, "flowcontrol.apiserver.k8s.io": 16100, "resource.k8s.io": 15900,
    "storagemigration.k8s.io": 15800,
}
"""groupPriorityMinimum, upstream's."""
_VERSIONS = {("", "v1"): 1, ("autoscaling", "v2"): 30, ("flowcontrol.apiserver.k8s.io", "v1"): 21}
LOCAL: Object = {
    "type": "Available", "status": "True", "reason": "Local", "message": "Local APIServices are always available",
}


class Registrations:
    """Follows the definitions and the APIServices; :meth:`run` keeps the latter as they must be."""

    def __init__(self, registry: Registry, writer: Writer) -> None:
        self._registry = registry
        self._writer = writer
        self._wake = asyncio.Event()
        self._started = False
        for row in (CUSTOMRESOURCEDEFINITIONS, APISERVICES):
            registry.cache(row).listeners.append(self._changed)

    def _changed(self, event: Event) -> None:
        self._wake.set()

    def complete(self) -> bool:
        """Every group version that the server has by itself was registered."""
        return self._started

    async def run(self) -> None:
        """Until cancelled."""
        self._wake.set()
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self._reconcile()
            except* (status.ApiError, Conflict, Missing) as error:
                _log.info("local APIServices: %s", error)
                self._wake.set()
                await asyncio.sleep(0.05)

    async def _reconcile(self) -> None:
        registry = self._registry
        wanted = self._wanted()
        present = dict(registry.cache(APISERVICES).objects)
        async with asyncio.TaskGroup() as tasks:  # at once, so that they share a commit
            for name, spec in wanted.items():
                custom = (spec["groupPriorityMinimum"], spec["versionPriority"]) == _CUSTOM_PRIORITIES
                if name not in present and (custom or not self._started):
                    tasks.create_task(self._create(name, spec, CONTINUOUSLY if custom else ON_START))
        self._started = True
        for name, entry in present.items():
            obj = entry.object
            managed = (obj["metadata"].get("labels") or {}).get(AUTOMANAGED)
            if managed and name not in wanted:
                if managed == CONTINUOUSLY or obj["spec"].get("service") is None:
                    await registry.commit_delete(APISERVICES, entry)
                continue
            if managed == CONTINUOUSLY and obj["spec"] != wanted[name]:
                await self._writer.update(APISERVICES, {**obj, "spec": wanted[name]})
                continue
            if obj["spec"].get("service") is None and not objects.condition_is_true(obj, "Available"):
                await self._writer.update(APISERVICES, {**obj, "status": {"conditions": [self._local()]}})

    def _wanted(self) -> dict[str, Object]:
        found: dict[str, Object] = {}
        for row in self._registry.table:
            if row.group in (APISERVICES.group, POD_METRICS.group):
                continue  # whoever installs a metrics-server finds the name free
            name = f"{row.version}.{row.group}"
            if row.custom:
                group, version = _CUSTOM_PRIORITIES
            else:
                group = _GROUPS.get(row.group, _OTHERS)
                version = _VERSIONS.get((row.group, row.version), _VERSION)
            spec: Object = {"group": row.group} if row.group else {}
            found[name] = {
                **spec, "version": row.version, "groupPriorityMinimum": group, "versionPriority": version,
            }
        return found

    async def _create(self, name: str, spec: Object, label: str) -> None:
        obj: Object = {
            "metadata": {"name": name, "labels": {AUTOMANAGED: label}}, "spec": spec,
            "status": {"conditions": [self._local()]},
        }
        try:
            await self._writer.create(APISERVICES, obj)
        except status.ApiError as error:
            if error.code != 409:
                raise

    def _local(self) -> Object:
        return {**LOCAL, "lastTransitionTime": objects.format_time(self._registry.now())}
