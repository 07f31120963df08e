"""What can be set of the controllers. Defaults are kube-controller-manager's. All times are seconds."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ControllerConfig:
    """`controllers` names the enabled controllers: "*" for all, "-name" leaves one out."""

    controllers: tuple[str, ...] = ("*",)
    cluster_name: str = "podwright"

    node_monitor_period: float = 5.0
    """Kept for those who set it: a node's silence is noticed by a timer of its own, not by looking at all of them."""
    node_monitor_grace_period: float = 50.0
    """How long a node may be silent before its Ready condition turns Unknown."""
    node_startup_grace_period: float = 60.0
    node_eviction_rate: float = 0.1
    """Nodes a second that get a NoExecute taint in a healthy zone."""
    secondary_node_eviction_rate: float = 0.01
    unhealthy_zone_threshold: float = 0.55
    large_cluster_size_threshold: int = 50

    terminated_pod_gc_threshold: int = 12500
    pod_gc_period: float = 20.0
    node_quarantine: float = 40.0
    """How long a node must be gone before Pods bound to it are collected."""

    cluster_cidr: tuple[str, ...] = ()
    """Pod ranges, at most one a family; empty: no podCIDR is given to nodes."""
    node_cidr_mask_ipv4: int = 24
    node_cidr_mask_ipv6: int = 64

    root_ca: str = ""
    """PEM of the CA that signs the API server's certificate: published in every namespace."""
    signing_ca_certificate: Path | None = None
    signing_ca_key: Path | None = None
    signing_duration: float = 365 * 86400.0
    service_account_names: tuple[str, ...] = ("default",)
    legacy_token_clean_up_period: float = 365 * 86400.0
    """Unused for that long, an account's own token in a Secret counts no more; after as long again it is deleted."""

    max_endpoints_per_slice: int = 100
    pvc_local_path_root: str = "/opt/local-path-provisioner"
    """The directory on a node under which the built-in provisioner makes volumes."""

    pvc_helper_image: str = "docker.io/library/busybox:1.36"
    """What removes a volume's directory on its node."""

    hpa_sync_period: float = 15.0
    hpa_tolerance: float = 0.1
    hpa_downscale_stabilization: float = 300.0
    hpa_cpu_initialization_period: float = 300.0
    hpa_initial_readiness_delay: float = 30.0

    workers: dict[str, int] = field(default_factory=dict)
    """Concurrent reconciles by controller name, where not the controller's own default."""

    def enabled(self, name: str) -> bool:
        return f"-{name}" not in self.controllers and (name in self.controllers or "*" in self.controllers)
