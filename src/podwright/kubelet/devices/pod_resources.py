"""The pod resources API (KEP-606, KEP-2043): monitoring agents of the node ask over a socket which Pods have which
devices and CPUs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from podwright.api import objects, pods
from podwright.api.objects import Object
from podwright.kubelet.container_manager import ContainerManager
from podwright.kubelet.plugins.serving import CallRefused, Method, serve


class PodResources:
    """`active` are the Pods that are here and have not ended. Run :meth:`run` as a task."""

    def __init__(self, path: Path, manager: ContainerManager, active: Callable[[], Iterable[Object]]) -> None:
        self._path = path
        self._manager = manager
        self._active = active

    async def run(self) -> None:
        """Until cancelled."""
        methods: dict[str, tuple[str, str, Method]] = {
            "List": ("v1.ListPodResourcesRequest", "v1.ListPodResourcesResponse", self._list),
            "Get": ("v1.GetPodResourcesRequest", "v1.GetPodResourcesResponse", self._get),
            "GetAllocatableResources": (
                "v1.AllocatableResourcesRequest", "v1.AllocatableResourcesResponse", self._allocatable
            ),
        }  # fmt: skip
        await serve(self._path, "v1.PodResourcesLister", methods)

    async def _list(self, request: Object) -> Object:
        return {"pod_resources": [self._of(pod) for pod in self._active()]}

    async def _get(self, request: Object) -> Object:
        namespace, name = request.get("pod_namespace", ""), request.get("pod_name", "")
        for pod in self._active():
            if (objects.namespace(pod), objects.name(pod)) == (namespace, name):
                return {"pod_resources": self._of(pod)}
        raise CallRefused(f"pod {name} in namespace {namespace} not found")

    async def _allocatable(self, request: Object) -> Object:
        return {
            "devices": [d for name, found in self._manager.devices.allocatable() for d in _devices(name, found)],
            "cpu_ids": sorted(self._manager.cpus.allocatable()),
        }

    def _of(self, pod: Object) -> Object:
        uid = objects.uid(pod)
        sidecars = [c for c in pods.init_containers(pod) if pods.is_sidecar(c)]
        return {
            "name": objects.name(pod),
            "namespace": objects.namespace(pod),
            "containers": [
                {
                    "name": ctr["name"],
                    "devices": [
                        d for name, found in self._manager.devices.of_container(uid, ctr["name"])
                        for d in _devices(name, found)
                    ],
                    "cpu_ids": sorted(self._manager.cpus.exclusive(uid, ctr["name"])),
                    "dynamic_resources": self._claimed(pod, ctr),
                }
                for ctr in (*sidecars, *pods.containers(pod))
            ],
        }  # fmt: skip

    def _claimed(self, pod: Object, ctr: Object) -> list[Object]:
        found: dict[str, Object] = {}
        for claim, driver, device in self._manager.claims.of_container(pod, ctr):
            entry = {"claim_name": claim.name, "claim_namespace": claim.namespace, "claim_resources": []}
            found.setdefault(claim.uid, entry)["claim_resources"].append({
                "cdi_devices": [{"name": i} for i in device.get("cdi_device_ids") or ()], "driver_name": driver,
                "pool_name": device.get("pool_name", ""), "device_name": device.get("device_name", ""),
            })  # fmt: skip
        return list(found.values())


def _devices(resource: str, found: Sequence[Object]) -> list[Object]:
    """One entry for all devices that are near to the same memory."""
    groups: dict[tuple[int, ...], list[str]] = {}
    for device in found:
        nodes = (device.get("topology") or {}).get("nodes") or ()
        groups.setdefault(tuple(n.get("ID", 0) for n in nodes), []).append(device["ID"])
    return [
        {"resource_name": resource, "device_ids": ids}
        | ({"topology": {"nodes": [{"ID": n} for n in near]}} if near else {})
        for near, ids in groups.items()
    ]
