"""The older Endpoints object of a Service, which clients still read."""

from __future__ import annotations

import orjson

from podwright.api import objects
from podwright.api.objects import Object
from podwright.api.resources import ENDPOINTS
from podwright.api.status import ApiError
from podwright.client.events import WARNING
from podwright.controllers import pods
from podwright.controllers.endpoints import backends
from podwright.controllers.endpoints.slices import TRIGGER
from podwright.controllers.frame import Context, ignore_not_found, is_terminating_namespace

MANAGED_BY = "endpoints.kubernetes.io/managed-by"
MANAGER = "endpoint-controller"
OVER_CAPACITY = "endpoints.kubernetes.io/over-capacity"
_CAPACITY = 1000


class EndpointsController(backends.BackendController):
    name = "endpoints-controller"
    account = "endpoint-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.endpoints = self.informer(ENDPOINTS, self._endpoints_changed)

    def _endpoints_changed(self, old: Object | None, new: Object | None) -> None:
        if new is None:
            self.enqueue(old, new)

    async def reconcile(self, key: str) -> None:
        service = self.services.get(key)
        current = self.endpoints.get(key)
        if service is None:
            # Only what was ours goes: Endpoints without a Service may be anybody's.
            if current is not None and objects.labels(current).get(MANAGED_BY) == MANAGER:
                await self._delete(current)
            return
        if not backends.selector_of(service):
            return
        subsets, truncated = self._subsets(service)
        labels = {k: v for k, v in objects.labels(service).items() if k != backends.HEADLESS_LABEL}
        labels[MANAGED_BY] = MANAGER
        if backends.is_headless(service):
            labels[backends.HEADLESS_LABEL] = ""
        annotations = dict(objects.annotations(current)) if current is not None else {}
        if truncated:
            annotations[OVER_CAPACITY] = "truncated"
        else:
            annotations.pop(OVER_CAPACITY, None)
        if current is not None and (current.get("subsets") or []) == subsets and objects.labels(current) == labels:
            if objects.annotations(current) == annotations:
                return
        trigger = [str(c.get("lastTransitionTime")) for p in self.selected(service)
                   if (c := objects.condition(p, "Ready")) and c.get("lastTransitionTime")]  # fmt: skip
        if trigger:
            annotations[TRIGGER] = max(trigger)
        meta: Object = {"name": objects.name(service), "namespace": objects.namespace(service), "labels": labels}
        if annotations:
            meta["annotations"] = annotations
        wanted: Object = {"apiVersion": "v1", "kind": "Endpoints", "metadata": meta, "subsets": subsets}
        try:
            if current is None:
                await self.client.create(ENDPOINTS, wanted)
            else:
                wanted["metadata"] = {**current["metadata"], "labels": labels, "annotations": annotations}
                await self.client.update(ENDPOINTS, wanted)
        except ApiError as refused:
            if is_terminating_namespace(refused):
                return
            kind = "Create" if current is None else "Update"
            if refused.code != 409:
                self.events.event(
                    service, WARNING, f"FailedTo{kind}Endpoint", f"Failed to {kind.lower()} endpoint {key}: {refused}",
                )  # fmt: skip
            raise

    async def _delete(self, current: Object) -> None:
        await ignore_not_found(self.client.delete(
            ENDPOINTS, objects.name(current), namespace=objects.namespace(current), uid=objects.uid(current)
        ))

    def _subsets(self, service: Object) -> tuple[list[Object], bool]:
        unready_too = bool((service.get("spec") or {}).get("publishNotReadyAddresses"))
        family = backends.families(service)[0]
        groups: dict[bytes, tuple[list[Object], dict[str, Object], dict[str, Object]]] = {}
        count = 0
        for pod in sorted(self.selected(service), key=objects.name):
            if not backends.is_listed(pod) or (objects.is_deleting(pod) and not unready_too):
                continue
            address = backends.address_of(pod, family)
            if address is None:
                continue
            ports = [{k: v for k, v in p.items() if v != ""} for p in backends.ports_on(service, pod)]
            if not ports and not backends.is_headless(service):
                continue
            count += 1
            if count > _CAPACITY:
                continue
            key = orjson.dumps(sorted(ports, key=lambda p: (p.get("name", ""), p["port"])))
            group = groups.setdefault(key, (ports, {}, {}))
            entry: Object = {"ip": address, "targetRef": backends.target_ref(pod)}
            if pods.node_name(pod):
                entry["nodeName"] = pods.node_name(pod)
            hostname = backends.hostname_for(service, pod)
            if hostname:
                entry["hostname"] = hostname
            side = group[1] if unready_too or pods.is_ready(pod) else group[2]
            side[objects.uid(pod)] = entry
        subsets = []
        for key in sorted(groups):
            ports, ready, waiting = groups[key]
            subset: Object = {}
            if ready:
                subset["addresses"] = sorted(ready.values(), key=lambda e: str(e["ip"]))
            if waiting:
                subset["notReadyAddresses"] = sorted(waiting.values(), key=lambda e: str(e["ip"]))
            if ports:
                subset["ports"] = sorted(ports, key=lambda p: (p.get("name", ""), p["port"]))
            subsets.append(subset)
        return subsets, count > _CAPACITY
