"""CreateContainer's argument, put together from the parts of this package."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from podwright.api.objects import Object
from podwright.kubelet import labels
from podwright.kubelet.config import KubeletConfig
from podwright.kubelet.containers import termination_message
from podwright.kubelet.containers.command import command_and_args
from podwright.kubelet.containers.mounts import own_mounts, volume_devices, volume_mounts
from podwright.kubelet.containers.namespaces import container_namespaces
from podwright.kubelet.containers.resources import CgroupPolicy, container_resources
from podwright.kubelet.containers.security import security_context
from podwright.kubelet.volumes.mounted import MountedVolume
from podwright.runtime.protocol import ContainerConfig, Device, Image, Mount, NamespaceOptions


@dataclass(frozen=True, slots=True)
class ContainerInputs:
    """All that a ContainerConfig is made of. `restarts` is how often the container was started before; `target_id` the
    container whose processes an ephemeral one sees."""

    pod: Object
    ctr: Object
    image: Image
    restarts: int
    env: Mapping[str, str]
    volumes: Mapping[str, MountedVolume]
    namespaces: NamespaceOptions
    policy: CgroupPolicy
    hosts_file: Path
    resolv_file: Path
    target_id: str = ""
    devices: Sequence[Device] = ()
    cdi_devices: Sequence[str] = ()
    extra_mounts: Sequence[Mount] = ()
    cpuset: str = ""
    extra_annotations: Mapping[str, str] = field(default_factory=dict)


def container_config(inputs: ContainerInputs, config: KubeletConfig) -> ContainerConfig:
    """Makes the container's own files on the way: where parts of volumes are bound, its termination message.

    Raises:
        ContainerFailure
        OSError
    """
    pod, ctr = inputs.pod, inputs.ctr
    pod_dir = config.pod_dir(pod["metadata"]["uid"])
    security = security_context(
        pod,
        ctr,
        inputs.image,
        container_namespaces(inputs.namespaces, inputs.target_id),
        seccomp_dir=config.seccomp_dir,
        seccomp_default=config.seccomp_default,
    )
    mounts = volume_mounts(ctr, inputs.volumes, inputs.env, pod_dir / "volume-subpaths")
    message = termination_message.prepare(pod_dir / "containers" / ctr["name"])
    command, args = command_and_args(ctr, inputs.env)
    return ContainerConfig(
        name=ctr["name"],
        attempt=inputs.restarts,
        image=ctr["image"],
        command=command,
        args=args,
        working_dir=ctr.get("workingDir") or "",
        env=tuple(inputs.env.items()),
        mounts=(*mounts, *inputs.extra_mounts, *own_mounts(ctr, inputs.hosts_file, inputs.resolv_file, message)),
        devices=(*inputs.devices, *volume_devices(ctr, inputs.volumes)),
        cdi_devices=inputs.cdi_devices,
        labels=labels.of_container(pod, ctr),
        annotations={**labels.container_annotations(pod, ctr, inputs.restarts), **inputs.extra_annotations},
        log_path=f"{ctr['name']}/{inputs.restarts}.log",
        stdin=bool(ctr.get("stdin")),
        stdin_once=bool(ctr.get("stdinOnce")),
        tty=bool(ctr.get("tty")),
        resources=replace(container_resources(pod, ctr, inputs.policy), cpuset_cpus=inputs.cpuset),
        security=security,
        stop_signal=(ctr.get("lifecycle") or {}).get("stopSignal") or "",
    )
