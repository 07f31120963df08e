"""Mirrors Endpoints that users write for Services without a selector into EndpointSlices."""

from __future__ import annotations

import ipaddress

from podwright.api import objects
from podwright.api.objects import Object
from podwright.api.resources import ENDPOINTS, ENDPOINTSLICES, SERVICES
from podwright.client.informers import latest
from podwright.controllers import pods
from podwright.controllers.endpoints import backends, reconciler
from podwright.controllers.endpoints.legacy import MANAGED_BY as ENDPOINTS_MANAGED_BY
from podwright.controllers.endpoints.slices import by_service, write
from podwright.controllers.frame import Context, Controller

MANAGER = "endpointslicemirroring-controller.k8s.io"
SKIP = "endpointslice.kubernetes.io/skip-mirror"
_LEADER = "control-plane.alpha.kubernetes.io/leader"
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


class EndpointSliceMirroringController(Controller):
    name = "endpointslice-mirroring-controller"
    account = "endpointslicemirroring-controller"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.services = self.informer(SERVICES, self._service_changed)
        self.endpoints = self.informer(ENDPOINTS, self._endpoints_changed)
        self.slices = self.informer(ENDPOINTSLICES, self._slice_changed, service=by_service)

    def _service_changed(self, old: Object | None, new: Object | None) -> None:
        service = latest(old, new)
        if not backends.selector_of(service) or old is None or not backends.selector_of(old):
            self.enqueue(old, new)

    def _endpoints_changed(self, old: Object | None, new: Object | None) -> None:
        if any(e is not None and _is_mirrored(e) for e in (old, new)):
            self.enqueue(old, new)

    def _slice_changed(self, old: Object | None, new: Object | None) -> None:
        piece = latest(old, new)
        if objects.labels(piece).get(backends.MANAGED_BY) == MANAGER:
            for key in by_service(piece):
                self.queue.add(key)

    async def reconcile(self, key: str) -> None:
        endpoints, service = self.endpoints.get(key), self.services.get(key)
        existing = [
            s for s in self.slices.by_index("service", key) if objects.labels(s).get(backends.MANAGED_BY) == MANAGER
        ]
        mirrored = (
            endpoints is not None and service is not None and _is_mirrored(endpoints)
            and (service.get("spec") or {}).get("selector") is None
        )  # fmt: skip
        if not mirrored or endpoints is None:
            await write(self.client, reconciler.Plan(delete=existing))
            return
        labels = {k: v for k, v in objects.labels(endpoints).items() if k not in (SKIP, ENDPOINTS_MANAGED_BY)}
        labels |= {backends.SERVICE_NAME: objects.name(endpoints), backends.MANAGED_BY: MANAGER}
        desired = _desired(endpoints, labels)
        annotations = {k: v for k, v in objects.annotations(endpoints).items() if k != _LAST_APPLIED}
        made = reconciler.plan(existing, desired, labels=labels, annotations=annotations, maximum=1000)
        await write(self.client, made)


def _is_mirrored(endpoints: Object) -> bool:
    labels = objects.labels(endpoints)
    return (
        labels.get(SKIP) != "true"
        and labels.get(ENDPOINTS_MANAGED_BY) is None
        and _LEADER not in objects.annotations(endpoints)
    )


def _desired(endpoints: Object, labels: dict[str, str]) -> dict[str, tuple[Object, list[Object]]]:
    desired: dict[str, tuple[Object, list[Object]]] = {}
    for subset in endpoints.get("subsets") or ():
        ports = [
            {"name": p.get("name") or "", "port": p["port"], "protocol": p.get("protocol") or "TCP",
             **({"appProtocol": p["appProtocol"]} if p.get("appProtocol") else {})}
            for p in subset.get("ports") or ()
        ]  # fmt: skip
        for ready, field in ((True, "addresses"), (False, "notReadyAddresses")):
            for address in subset.get(field) or ():
                family = f"IPv{ipaddress.ip_address(address['ip']).version}"
                entry: Object = {"addresses": [address["ip"]], "conditions": {"ready": ready}}
                for name in ("hostname", "nodeName", "targetRef"):
                    if address.get(name):
                        entry[name] = address[name]
                key = reconciler.port_key(family, ports)
                if key not in desired:
                    desired[key] = _empty(endpoints, family, ports, labels), []
                desired[key][1].append(entry)
    return desired


def _empty(endpoints: Object, family: str, ports: list[Object], labels: dict[str, str]) -> Object:
    piece: Object = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "generateName": pods.pod_prefix(objects.name(endpoints)),
            "namespace": objects.namespace(endpoints),
            "labels": dict(labels),
            "ownerReferences": [objects.owner_reference({"apiVersion": "v1", "kind": "Endpoints", **endpoints})],
        },
        "addressType": family,
        "endpoints": [],
    }
    if ports:
        piece["ports"] = ports
    return piece
