"""What a simulated node looks like."""

from __future__ import annotations

import ipaddress

from podwright import KUBERNETES_VERSION, __version__
from podwright.api import objects
from podwright.api.objects import Object

SIMULATED = "podwright.io/simulated"
"""Label and taint of simulated nodes."""
HEARTBEAT_LEASE = "podwright.io/heartbeat-lease"
"""Annotation of a node: the Lease in kube-node-lease that is renewed for it and others at once."""

_NODE_ADDRESSES = ipaddress.IPv4Network("198.18.0.0/15")
"""Set aside for benchmarks by RFC 2544: no real node has one."""
_POD_ADDRESSES = ipaddress.IPv4Network("100.64.0.0/10")
"""Shared address space (RFC 6598), half a /24 for each node. Nothing routes to it."""
_POD_MASK = 25
_ZONES = 3
_CONDITIONS = (
    ("MemoryPressure", "False", "KubeletHasSufficientMemory", "simulated: memory is never short"),
    ("DiskPressure", "False", "KubeletHasNoDiskPressure", "simulated: disk is never short"),
    ("PIDPressure", "False", "KubeletHasSufficientPID", "simulated: process ids are never short"),
    ("Ready", "True", "KubeletReady", "simulated: this node runs no containers"),
)


def node_name(number: int) -> str:
    """Nodes count from 1."""
    return f"simulated-{number}"


def number_of(name: str) -> int:
    return int(name.rpartition("-")[2])


def address(number: int) -> str:
    return str(_NODE_ADDRESSES.network_address + number)


def pod_range(number: int) -> ipaddress.IPv4Network:
    size = 1 << (32 - _POD_MASK)
    return ipaddress.IPv4Network((int(_POD_ADDRESSES.network_address) + (number - 1) * size, _POD_MASK))


def node(number: int, now: float, lease: str) -> Object:
    """The Node to register: 4 CPUs, 32 GiB and 110 Pods, as in scheduler_perf; three zones in turn."""
    room = {"cpu": "4", "memory": "32Gi", "ephemeral-storage": "100Gi", "pods": "110"}
    name, network = node_name(number), str(pod_range(number))
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {
                SIMULATED: "true",
                "node-role.kubernetes.io/simulated": "",
                "node.kubernetes.io/instance-type": "simulated",
                "kubernetes.io/hostname": name,
                "kubernetes.io/os": "linux",
                "kubernetes.io/arch": "amd64",
                "topology.kubernetes.io/region": "simulated",
                "topology.kubernetes.io/zone": f"simulated-{'abc'[(number - 1) % _ZONES]}",
            },
            "annotations": {HEARTBEAT_LEASE: lease},
        },
        "spec": {
            "podCIDR": network,
            "podCIDRs": [network],
            "taints": [{"key": SIMULATED, "value": "true", "effect": "NoSchedule"}],
        },
        "status": {
            "capacity": room,
            "allocatable": room,
            "addresses": [
                {"type": "InternalIP", "address": address(number)},
                {"type": "Hostname", "address": name},
            ],
            "conditions": conditions(now),
            "nodeInfo": {
                "architecture": "amd64",
                "operatingSystem": "linux",
                "osImage": "simulated",
                "kernelVersion": "simulated",
                "containerRuntimeVersion": f"simulated://{__version__}",
                "kubeletVersion": f"v{KUBERNETES_VERSION.removeprefix('v')}",
                "kubeProxyVersion": "",
                "machineID": "",
                "systemUUID": "",
                "bootID": "",
            },
        },
    }


def conditions(now: float) -> list[Object]:
    stamp = objects.format_time(now)
    return [
        {
            "type": kind, "status": value, "reason": reason, "message": message, "lastHeartbeatTime": stamp,
            "lastTransitionTime": stamp,
        }
        for kind, value, reason, message in _CONDITIONS
    ]  # fmt: skip
