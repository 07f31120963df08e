"""RunPodSandbox's argument, from a Pod."""

from __future__ import annotations

from collections.abc import Sequence

from podwright.api import objects, pods, quantity
from podwright.api.objects import Object
from podwright.kubelet import labels
from podwright.kubelet.config import KubeletConfig
from podwright.kubelet.containers.host_identity import kernel_hostname
from podwright.kubelet.containers.namespaces import pod_namespaces
from podwright.kubelet.containers.resources import qos_cgroup
from podwright.runtime.protocol import IdMapping, PortMapping, SandboxConfig, SandboxMetadata

_INGRESS = "kubernetes.io/ingress-bandwidth"
_EGRESS = "kubernetes.io/egress-bandwidth"


def log_directory_name(pod: Object) -> str:
    return f"{objects.namespace(pod)}_{objects.name(pod)}_{objects.uid(pod)}"


def sandbox_config(
    pod: Object,
    config: KubeletConfig,
    *,
    attempt: int,
    runtime_handler: str = "",
    user_namespace: Sequence[IdMapping] = (),
) -> SandboxConfig:
    """What the runtime is told.

    Raises:
        ValueError: the host name that the Pod asks for cannot be.
    """
    spec = pod["spec"]
    host = pods.host_network(pod)
    notes = objects.annotations(pod)
    sysctls = (spec.get("securityContext") or {}).get("sysctls") or ()
    return SandboxConfig(
        metadata=SandboxMetadata(objects.name(pod), objects.namespace(pod), objects.uid(pod), attempt),
        hostname="" if host and not spec.get("hostnameOverride") else kernel_hostname(pod, config.cluster_domain),
        log_directory=config.logs_dir / log_directory_name(pod),
        port_mappings=() if host else port_mappings(pod),
        labels=labels.of_pod(pod),
        annotations=dict(notes),
        cgroup_parent=qos_cgroup(pod, config.pods_cgroup),
        namespaces=pod_namespaces(pod, user_namespace),
        sysctls={s["name"].replace("/", "."): str(s["value"]) for s in sysctls},
        runtime_handler=runtime_handler,
        ingress_bps=_bits(notes.get(_INGRESS)),
        egress_bps=_bits(notes.get(_EGRESS)),
        privileged=any((c.get("securityContext") or {}).get("privileged") for _, c in pods.all_containers(pod)),
    )


def port_mappings(pod: Object) -> list[PortMapping]:
    found = []
    for ctr in (*pods.init_containers(pod), *pods.containers(pod)):
        for port in ctr.get("ports") or ():
            if port.get("hostPort"):
                found.append(
                    PortMapping(
                        int(port["containerPort"]),
                        int(port["hostPort"]),
                        str(port.get("protocol") or "TCP"),
                        str(port.get("hostIP") or ""),
                    )
                )
    return found


def _bits(text: str | None) -> int:
    """Bits a second of a bandwidth annotation, 0 if there is none that makes sense."""
    return quantity.value(text) if text and quantity.is_valid(text) else 0
