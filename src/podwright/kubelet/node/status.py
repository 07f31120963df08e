"""The Node object's status: capacity, conditions, addresses, images, versions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from podwright import KUBERNETES_VERSION
from podwright.api import objects
from podwright.api.objects import Object
from podwright.kubelet.config import KubeletConfig
from podwright.kubelet.node.machine import Machine
from podwright.runtime.protocol import Image, RuntimeVersion

_MAX_IMAGES = 50
_MAX_NAMES = 5


@dataclass(frozen=True, slots=True)
class NodeHealth:
    """What the conditions say. `not_ready` is a complaint, "" if the node is well; pressures are (reason, message) by
    condition type, of those that are True."""

    not_ready: str = ""
    pressure: Mapping[str, tuple[str, str]] = field(default_factory=dict)


_NO_PRESSURE = {
    "MemoryPressure": ("KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    "DiskPressure": ("KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    "PIDPressure": ("KubeletHasSufficientPID", "kubelet has sufficient PID available"),
}
_PRESSURE = {
    "MemoryPressure": ("KubeletHasInsufficientMemory", "kubelet has insufficient memory available"),
    "DiskPressure": ("KubeletHasDiskPressure", "kubelet has disk pressure"),
    "PIDPressure": ("KubeletHasInsufficientPID", "kubelet has insufficient PID available"),
}


def conditions(health: NodeHealth, before: Sequence[Object], now: float) -> list[Object]:
    """The kubelet's conditions, and others' as they were."""
    stamp = objects.format_time(now)
    made = []
    for kind, (reason, message) in _NO_PRESSURE.items():
        pressed = kind in health.pressure
        if pressed:
            reason, message = health.pressure[kind] if health.pressure[kind][0] else _PRESSURE[kind]
        made.append({"type": kind, "status": "True" if pressed else "False", "reason": reason, "message": message})
    if health.not_ready:
        made.append(
            {"type": "Ready", "status": "False", "reason": "KubeletNotReady", "message": health.not_ready}
        )
    else:
        made.append(
            {"type": "Ready", "status": "True", "reason": "KubeletReady",
             "message": "kubelet is posting ready status"}
        )  # fmt: skip
    known = {c["type"]: c for c in before}
    for condition in made:
        old = known.pop(condition["type"], None)
        condition["lastHeartbeatTime"] = stamp
        same = old is not None and old.get("status") == condition["status"]
        condition["lastTransitionTime"] = (old or {}).get("lastTransitionTime", stamp) if same else stamp
    return [*known.values(), *made]


def addresses(config: KubeletConfig) -> list[Object]:
    found: list[Object] = [{"type": "InternalIP", "address": ip} for ip in config.node_ips]
    found.append({"type": "Hostname", "address": config.host_name})
    return [*found, *config.addresses]


def node_info(machine: Machine, runtime: RuntimeVersion) -> Object:
    info: Object = {
        "architecture": machine.architecture,
        "bootID": machine.boot_id,
        "containerRuntimeVersion": f"{runtime.name}://{runtime.version}",
        "kernelVersion": machine.kernel,
        "kubeProxyVersion": "",
        "kubeletVersion": KUBERNETES_VERSION,
        "machineID": machine.machine_id,
        "operatingSystem": "linux",
        "osImage": machine.os_image,
        "systemUUID": machine.system_uuid,
    }
    if machine.swap:
        info["swap"] = {"capacity": machine.swap}
    return info


def images(found: Sequence[Image]) -> list[Object]:
    """The largest images with a few of their names."""
    largest = sorted(found, key=lambda image: -image.size)[:_MAX_IMAGES]
    return [
        {"names": [*image.repo_digests, *image.repo_tags][:_MAX_NAMES], "sizeBytes": image.size}
        for image in largest
        if image.repo_digests or image.repo_tags
    ]


def status(
    config: KubeletConfig,
    machine: Machine,
    runtime: RuntimeVersion,
    *,
    capacity: Mapping[str, str],
    allocatable: Mapping[str, str],
    health: NodeHealth,
    volumes_in_use: Sequence[str] = (),
    found_images: Sequence[Image],
    before: Object,
    now: float,
) -> Object:
    """The whole of status that the kubelet writes."""
    return {
        "capacity": dict(capacity),
        "allocatable": dict(allocatable),
        "conditions": conditions(health, before.get("conditions") or (), now),
        "addresses": addresses(config),
        "daemonEndpoints": {"kubeletEndpoint": {"Port": config.port}},
        "nodeInfo": node_info(machine, runtime),
        "images": images(found_images),
        "volumesInUse": list(volumes_in_use) or None,
        "runtimeHandlers": [
            {"name": name, "features": {"recursiveReadOnlyMounts": True, "userNamespaces": True}}
            for name in runtime.handlers
        ],
        "features": {"supplementalGroupsPolicy": True},
    }
