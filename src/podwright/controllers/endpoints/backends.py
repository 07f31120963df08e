"""From Services to Pods and back, and what a Pod offers to a Service."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from podwright.api import objects
from podwright.api.objects import Object
from podwright.api.resources import NODES, PODS, SERVICES
from podwright.client.informers import Informer, latest
from podwright.controllers import pods, refs
from podwright.controllers.frame import Context, Controller

HEADLESS_LABEL = "service.kubernetes.io/headless"
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
SERVICE_NAME = "kubernetes.io/service-name"
ZONE = "topology.kubernetes.io/zone"


def by_label(obj: Object) -> Iterable[str]:
    """Index function: "namespace/key=value" for each label."""
    namespace = objects.namespace(obj)
    return [f"{namespace}/{k}={v}" for k, v in objects.labels(obj).items()]


def selector_of(service: Object) -> Mapping[str, str]:
    spec = service.get("spec") or {}
    return {} if spec.get("type") == "ExternalName" else spec.get("selector") or {}


def is_headless(service: Object) -> bool:
    return (service.get("spec") or {}).get("clusterIP") == "None"


def is_listed(pod: Object) -> bool:
    """It may be an endpoint: it has an address and has not finished."""
    return not pods.is_finished(pod) and bool(addresses(pod))


def addresses(pod: Object) -> list[str]:
    status = pod.get("status") or {}
    found = [str(entry["ip"]) for entry in status.get("podIPs") or () if entry.get("ip")]
    return found or ([str(status["podIP"])] if status.get("podIP") else [])


def address_of(pod: Object, family: str) -> str | None:
    """The first address of "IPv4" or "IPv6"."""
    wanted = 4 if family == "IPv4" else 6
    return next((a for a in addresses(pod) if ipaddress.ip_address(a).version == wanted), None)


def families(service: Object) -> Sequence[str]:
    spec = service.get("spec") or {}
    return spec.get("ipFamilies") or (["IPv6"] if ":" in (spec.get("clusterIP") or "") else ["IPv4"])


def target_port(port: Object, pod: Object) -> int | None:
    """The number of a Service port on this Pod; None if the Pod has no port of that name."""
    target = port.get("targetPort", port.get("port"))
    if isinstance(target, int):
        return target or int(port["port"])
    spec = pod.get("spec") or {}
    restartable = [c for c in spec.get("initContainers") or () if c.get("restartPolicy") == "Always"]
    for container in (*(spec.get("containers") or ()), *restartable):
        for offered in container.get("ports") or ():
            if offered.get("name") == target and (offered.get("protocol") or "TCP") == (port.get("protocol") or "TCP"):
                return int(offered["containerPort"])
    return None


def ports_on(service: Object, pod: Object) -> list[Object]:
    """EndpointPorts of the Service on this Pod."""
    found = []
    for port in (service.get("spec") or {}).get("ports") or ():
        number = target_port(port, pod)
        if number is None:
            continue
        entry: Object = {"name": port.get("name") or "", "port": number, "protocol": port.get("protocol") or "TCP"}
        if port.get("appProtocol"):
            entry["appProtocol"] = port["appProtocol"]
        found.append(entry)
    return found


def hostname_for(service: Object, pod: Object) -> str:
    spec = pod.get("spec") or {}
    if spec.get("hostname") and spec.get("subdomain") == objects.name(service):
        return str(spec["hostname"])
    return ""


def target_ref(pod: Object) -> Object:
    return {"kind": "Pod", "namespace": objects.namespace(pod), "name": objects.name(pod), "uid": objects.uid(pod)}


class BackendController(Controller):
    """Keys are Services; a Pod's change reaches only those that select it, before or after."""

    pods: Informer

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.services = self.informer(SERVICES, self.enqueue, namespace=refs.by_namespace)
        self.pods = self.informer(PODS, self._pod_changed, label=by_label)
        self.nodes = self.informer(NODES)

    def _pod_changed(self, old: Object | None, new: Object | None) -> None:
        before = _seen(old) if old is not None else None
        now = _seen(new) if new is not None else None
        if before == now:
            return
        pod = latest(old, new)
        labels = [objects.labels(p) for p in (old, new) if p is not None]
        for service in self.services.by_index("namespace", objects.namespace(pod)):
            selector = selector_of(service)
            if selector and any(_selects(selector, known) for known in labels):
                self.queue.add(objects.key(service))

    def selected(self, service: Object) -> list[Object]:
        """The Pods that the Service selects, looked up by its rarest label."""
        selector = selector_of(service)
        namespace = objects.namespace(service)
        buckets = [self.pods.by_index("label", f"{namespace}/{k}={v}") for k, v in selector.items()]
        smallest: Sequence[Object] = min(buckets, key=len) if buckets else ()
        return [p for p in smallest if _selects(selector, objects.labels(p))]


def _selects(selector: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    return all(labels.get(k) == v for k, v in selector.items())


def _seen(pod: Object) -> tuple[Any, ...] | None:
    """All of a Pod that endpoints show; None if it shows nothing."""
    if not is_listed(pod):
        return None
    spec = pod.get("spec") or {}
    return (
        objects.uid(pod), addresses(pod), pods.is_ready(pod), objects.is_deleting(pod), spec.get("nodeName"),
        spec.get("hostname"), spec.get("subdomain"), objects.labels(pod),
    )  # fmt: skip
