"""What a kubelet is told when it starts: the part of KubeletConfiguration that means something here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from podwright.api.objects import Object

DEFAULT_EVICTION_HARD: Mapping[str, str] = {
    "memory.available": "100Mi",
    "nodefs.available": "10%",
    "nodefs.inodesFree": "5%",
    "imagefs.available": "15%",
    "imagefs.inodesFree": "5%",
}
"""The kubelet's defaults on Linux (Kubernetes documentation, "Node-pressure Eviction")."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KubeletConfig:
    """Times are seconds, sizes bytes, resource lists quantities. Defaults are upstream's.

    `data_dir` is the node's own directory: ``pods/``, ``logs/pods/`` and ``seccomp/`` are made below it. `cgroup_root`
    is the node's group below each controller's root ("/podwright/NAME/NODE"); the Pods' tree is ``kubepods`` in it.
    `node_ips` are the node's InternalIPs, the first one primary. `capacity` overrides what the machine has, resource
    by resource, and may add extended resources (podwright.io/disk-read-bps, for example).
    """

    node_name: str
    data_dir: Path
    cgroup_root: str
    node_ips: Sequence[str] = ()
    hostname: str = ""
    addresses: Sequence[Object] = ()
    """More entries of status.addresses, beside the InternalIPs and the Hostname."""
    port: int = 10250
    provider_id: str = ""
    pod_cidr: str = ""
    """The node's Pod range, if it is decided already; "" leaves it to the controller that gives nodes theirs."""

    node_labels: Mapping[str, str] = field(default_factory=dict)
    node_annotations: Mapping[str, str] = field(default_factory=dict)
    taints: Sequence[Object] = ()
    """The node registers with these; later they belong to the API."""
    register_node: bool = True

    cluster_dns: Sequence[str] = ()
    cluster_domain: str = "cluster.local"
    resolv_conf: Path = Path("/etc/resolv.conf")

    static_pod_path: Path | None = None
    static_pod_url: str = ""
    static_pod_url_headers: Mapping[str, str] = field(default_factory=dict)
    static_pod_url_period: float = 20.0

    max_pods: int = 110
    pod_pids_limit: int = -1
    capacity: Mapping[str, str] = field(default_factory=dict)
    disk_speed_cache: Path | None = None
    """The machine's file of measured disk throughput; None leaves it unmeasured."""
    system_reserved: Mapping[str, str] = field(default_factory=dict)
    kube_reserved: Mapping[str, str] = field(default_factory=dict)
    eviction_hard: Mapping[str, str] = field(default_factory=lambda: dict(DEFAULT_EVICTION_HARD))
    eviction_soft: Mapping[str, str] = field(default_factory=dict)
    eviction_soft_grace_period: Mapping[str, float] = field(default_factory=dict)
    eviction_max_pod_grace_period: float = 0.0
    eviction_pressure_transition_period: float = 300.0

    crash_loop_initial: float = 10.0
    crash_loop_maximum: float = 300.0
    crash_loop_reset: float = 600.0
    image_pull_initial: float = 10.0
    image_pull_maximum: float = 300.0
    max_parallel_image_pulls: int = 5
    image_access_dir: Path | None = None
    """Where it is noted who may use which image; None for a place in `data_dir`."""
    image_verification: str = "NeverVerifyPreloadedImages"
    images_not_verified: Sequence[str] = ()
    """Repositories, "*" at the end for all that begin so; for the policy NeverVerifyAllowlistedImages."""

    lease_duration: float = 40.0
    lease_period: float = 10.0
    node_status_period: float = 10.0
    """How often the node's status is computed; it is written when something changed."""
    node_status_report_period: float = 300.0
    """How often it is written even if nothing changed."""
    sync_period: float = 60.0
    """A Pod is looked at again after this time though nothing happened to it."""
    retry_initial: float = 1.0
    retry_maximum: float = 122.0
    """Bounds of the delay after which a failed volume or sandbox is tried again."""

    cpu_manager_policy: str = "none"
    """"none" or "static"."""
    reserved_cpus: str = ""
    """CPUs that are never given to one container alone, as the kernel lists them: "0,2-3"."""
    swap_behavior: str = "NoSwap"
    """"NoSwap" or "LimitedSwap" (KEP-2400): how much swap a container may use on a node that has some."""

    cpu_cfs_quota: bool = True
    cpu_cfs_quota_period: int = 100_000
    """Microseconds."""
    seccomp_default: bool = False
    allowed_unsafe_sysctls: Sequence[str] = ()
    container_log_max_size: int = 10 << 20
    container_log_max_files: int = 5

    image_gc_high_threshold: int = 85
    image_gc_low_threshold: int = 80
    image_minimum_age: float = 120.0
    image_gc_period: float = 300.0
    container_gc_period: float = 60.0
    max_dead_containers_per_container: int = 1
    user_namespace_ids: int = 65536

    shutdown_grace_period: float = 0.0
    """Seconds in which Pods are ended before the machine goes down; 0: they are not."""
    shutdown_grace_period_critical: float = 0.0
    """The last part of it, which is for critical Pods alone."""
    shutdown_grace_by_priority: Sequence[tuple[int, float]] = ()
    """(lowest priority, seconds) of each group of Pods; if given, it counts instead of the two above."""
    system_bus: str = "unix:path=/run/dbus/system_bus_socket"

    @property
    def pods_dir(self) -> Path:
        return self.data_dir / "pods"

    @property
    def logs_dir(self) -> Path:
        return self.data_dir / "logs" / "pods"

    @property
    def seccomp_dir(self) -> Path:
        return self.data_dir / "seccomp"

    @property
    def pods_cgroup(self) -> str:
        """The root of the Pods' cgroup tree."""
        return f"{self.cgroup_root.rstrip('/')}/kubepods"

    @property
    def host_name(self) -> str:
        return self.hostname or self.node_name

    def pod_dir(self, uid: str) -> Path:
        return self.pods_dir / uid
