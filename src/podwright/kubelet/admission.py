"""The node's own word on a Pod that was bound to it: what the scheduler cannot have known, or has raced with.

A refused Pod is Failed, with upstream's reason; its controller makes another one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from podwright.api import node_affinity, pods, quantity, taints
from podwright.api.objects import Object
from podwright.api.pods import BEST_EFFORT, host_ports, qos_class, requests
from podwright.kubelet.containers.security import apparmor_required

_SAFE_SYSCTLS = frozenset(
    (
        "kernel.shm_rmid_forced",
        "net.ipv4.ip_local_port_range",
        "net.ipv4.tcp_syncookies",
        "net.ipv4.ping_group_range",
        "net.ipv4.ip_unprivileged_port_start",
        "net.ipv4.ip_local_reserved_ports",
        "net.ipv4.tcp_keepalive_time",
        "net.ipv4.tcp_fin_timeout",
        "net.ipv4.tcp_keepalive_intvl",
        "net.ipv4.tcp_keepalive_probes",
        "net.ipv4.tcp_rmem",
        "net.ipv4.tcp_wmem",
    )
)
_HOST_RESOURCES = ("cpu", "memory", "ephemeral-storage")


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a Pod does not run here."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class NodeView:
    """The node as admission sees it. `pressure` are the types of pressure conditions that are True."""

    name: str
    labels: Mapping[str, str]
    taints: Sequence[Object]
    allocatable: Mapping[str, str]
    architecture: str = "amd64"
    allowed_unsafe_sysctls: Sequence[str] = ()
    apparmor: bool = False
    pressure: frozenset[str] = field(default_factory=frozenset)
    shutting_down: bool = False
    obstacle: Callable[[Object], str] = lambda pod: ""
    """Why containers of a Pod cannot have what they want for themselves (devices, CPUs), "" if they can."""


def admit(pod: Object, others: Iterable[Object], node: NodeView) -> Refusal | None:
    """None if the Pod may run beside `others`, the Pods that are here and have not ended."""
    if node.shutting_down:
        return Refusal("NodeShutdown", "Pod was rejected as the node is shutting down.")
    checks = (_pressure, _operating_system, _sysctls, _apparmor, _predicates)
    for check in checks:
        refused = check(pod, node)
        if refused is not None:
            return refused
    if why := node.obstacle(pod):
        return Refusal("UnexpectedAdmissionError", why)
    everyone = list(others)
    return _ports(pod, everyone) or _resources(pod, everyone, node)


def _pressure(pod: Object, node: NodeView) -> Refusal | None:
    if not node.pressure or pods.is_critical(pod):
        return None
    if node.pressure == {"MemoryPressure"}:
        if qos_class(pod) != BEST_EFFORT:
            return None
        pressure: Object = {"key": taints.MEMORY_PRESSURE, "effect": "NoSchedule"}
        if taints.is_tolerated(pressure, pod["spec"].get("tolerations") or ()):
            return None
    names = " ".join(sorted(node.pressure))
    return Refusal("Evicted", f"The node had condition: [{names}]. ")


def _operating_system(pod: Object, node: NodeView) -> Refusal | None:
    system = (pod["spec"].get("os") or {}).get("name")
    if system and system != "linux":
        return Refusal("PodOSNotSupported", "Failed to admit pod as the OS field doesn't match node OS")
    selector = pod["spec"].get("nodeSelector") or {}
    if selector.get("kubernetes.io/os", "linux") != "linux":
        return Refusal(
            "PodOSSelectorNodeLabelDoesNotMatch",
            "Failed to admit pod as the `kubernetes.io/os` label doesn't match node label",
        )
    return None


def _sysctls(pod: Object, node: NodeView) -> Refusal | None:
    for entry in (pod["spec"].get("securityContext") or {}).get("sysctls") or ():
        name = entry["name"].replace("/", ".")
        if name in _SAFE_SYSCTLS:
            continue
        allowed = any(
            name == known or (known.endswith("*") and name.startswith(known[:-1]))
            for known in node.allowed_unsafe_sysctls
        )
        if not allowed:
            return Refusal("SysctlForbidden", f'forbidden sysctl: "{entry["name"]}" not allowlisted')
    return None


def _apparmor(pod: Object, node: NodeView) -> Refusal | None:
    if apparmor_required(pod) and not node.apparmor:
        return Refusal("AppArmor", "Cannot enforce AppArmor: AppArmor is not enabled on the host")
    return None


def _predicates(pod: Object, node: NodeView) -> Refusal | None:
    if not node_affinity.required(pod).matches_labels(node.labels, node.name):
        return Refusal("NodeAffinity", "Predicate NodeAffinity failed")
    tolerations = pod["spec"].get("tolerations") or ()
    if not pods.is_static(pod) and taints.untolerated(node.taints, tolerations, ("NoExecute",)) is not None:
        return Refusal("TaintToleration", "Predicate TaintToleration failed")
    return None


def _ports(pod: Object, others: Sequence[Object]) -> Refusal | None:
    taken = {port for other in others for port in host_ports(other)}
    for protocol, ip, number in host_ports(pod):
        for known_protocol, known_ip, known_number in taken:
            same_address = ip == known_ip or "0.0.0.0" in (ip, known_ip)
            if (protocol, number) == (known_protocol, known_number) and same_address:
                return Refusal("NodePorts", "Predicate NodePorts failed")
    return None


def _resources(pod: Object, others: Sequence[Object], node: NodeView) -> Refusal | None:
    """By what fits the node. Critical Pods are refused too: making room for them is eviction's work."""
    limit = int(node.allocatable.get("pods", "110"))
    if len(others) + 1 > limit:
        return _out_of("pods", 1, len(others), limit)
    used: dict[str, int] = {}
    for other in others:
        for name, amount in requests(other, for_scheduling=False).items():
            used[name] = used.get(name, 0) + amount
    for name, amount in requests(pod, for_scheduling=False).items():
        if name not in node.allocatable and name not in _HOST_RESOURCES:
            # Not known to this node: whoever advertised it counts it.
            continue
        scale = quantity.milli if name == "cpu" else quantity.value
        have = scale(node.allocatable.get(name, "0"))
        if amount > 0 and amount + used.get(name, 0) > have:
            return _out_of(name, amount, used.get(name, 0), have)
    return None


def _out_of(name: str, requested: int, used: int, have: int) -> Refusal:
    return Refusal(
        f"OutOf{name}",
        f"Node didn't have enough resource: {name}, requested: {requested}, used: {used}, capacity: {have}",
    )
