"""What every Pod worker works with: the parts of the kubelet, wired once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from podwright.api.objects import Object
from podwright.client.clock import Clock
from podwright.client.events import EventRecorder
from podwright.kubelet.config import KubeletConfig
from podwright.kubelet.container_manager import ContainerManager
from podwright.kubelet.containers.downward import DownwardFacts
from podwright.kubelet.containers.resources import CgroupPolicy
from podwright.kubelet.hooks import HookRunner
from podwright.kubelet.images import ImageManager
from podwright.kubelet.probing import ProbeManager
from podwright.kubelet.referenced_objects import ReferencedObjects
from podwright.kubelet.runtime_cache import RuntimeCache
from podwright.kubelet.status.status_manager import StatusManager
from podwright.kubelet.sync.backoff import RestartBackoff
from podwright.kubelet.termination import ContainerKiller
from podwright.kubelet.user_namespaces import UserNamespaces
from podwright.kubelet.volumes.manager import VolumeManager
from podwright.runtime.protocol import ContainerRuntime, DnsConfig


@dataclass(slots=True)
class NodeFacts:
    """What of the node Pods depend on. `allocatable` are quantities; `host_dns` is the node's own resolv.conf."""

    host_ips: Sequence[str]
    allocatable: Mapping[str, str]
    policy: CgroupPolicy
    host_dns: DnsConfig


@dataclass(frozen=True, slots=True)
class WorkerContext:
    config: KubeletConfig
    clock: Clock
    runtime: ContainerRuntime
    cache: RuntimeCache
    images: ImageManager
    volumes: VolumeManager
    statuses: StatusManager
    probes: ProbeManager
    recorder: EventRecorder
    hooks: HookRunner
    killer: ContainerKiller
    referenced: ReferencedObjects
    restarts: RestartBackoff
    user_namespaces: UserNamespaces
    node: NodeFacts
    manager: ContainerManager
    services: Callable[[], Iterable[Object]]
    """The Services of the cluster, for environment variables."""
    runtime_handler: Callable[[str], Awaitable[str]]
    """(runtimeClassName) → the handler's name; LookupError if there is no such class."""
    others: Callable[[str], Iterable[Object]]
    """(uid) → the other Pods that take up room here, as allocated."""
    exits: Counter[tuple[str, int, str]]
    """How often a container was seen to have ended, by kind, exit code and reason."""

    def downward(self, ips: Sequence[str], host_network: bool) -> DownwardFacts:
        hosts = tuple(self.node.host_ips)
        return DownwardFacts(
            node_name=self.config.node_name,
            pod_ips=hosts[:1] if host_network else tuple(ips),
            host_ips=hosts,
            allocatable=self.node.allocatable,
        )
