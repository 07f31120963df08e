"""What a cluster was asked to be: the flags of its first ``podwright up``, kept in its data directory."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

from podwright.cluster.files import read_json, write_json
from podwright.cluster.layout import Layout

API_SERVER_FILES = {
    "authentication_config": "--authentication-config",
    "authorization_config": "--authorization-config",
    "encryption_config": "--encryption-provider-config",
    "audit_policy": "--audit-policy-file",
    "audit_log": "--audit-log-path",
    "admission_config": "--admission-control-config-file",
}
"""Fields of the spec, and of the API server's configuration, that name a file for it."""
API_SERVER_FLAGS = {
    **API_SERVER_FILES,
    "encryption_config_automatic_reload": "--encryption-provider-config-automatic-reload",
    "enabled_admission_plugins": "--enable-admission-plugins",
    "disabled_admission_plugins": "--disable-admission-plugins",
}
"""Fields of the spec that say how the API server works. Plugins are named in a row, with commas."""
FLAGS = {
    **API_SERVER_FLAGS,
    "nodes": "--nodes",
    "data_dir": "--data-dir",
    "kubeconfig": "--kubeconfig",
    "port": "--port",
    "store": "--store",
    "runtime": "--runtime",
    "simulated_nodes": "--simulated-nodes",
    "static_pods": "--static-pods",
    "kubelet_config": "--kubelet-config",
    "fast_failover": "--fast-failover",
    "shutdown_grace": "--shutdown-grace-period",
    "shutdown_grace_critical": "--shutdown-grace-period-critical-pods",
}
"""Fields of the spec that a flag sets."""


@dataclass(frozen=True, slots=True)
class ClusterSpec:
    """`port` is the API server's, `kubelet_port` that of a one-process cluster's kubelet; both are chosen at the
    first start and kept. `crash_loop_*`, `shutdown_grace*`, `node_grace` and `toleration` are seconds. With 0 `nodes`
    this machine is one of several control planes, and `address` is where others reach it. On a machine that joined a
    cluster elsewhere, `server` is that one's URL, `joined_node` the node that this machine is, `address` its InternalIP
    and `pod_cidr` the range of its Pods."""

    name: str
    nodes: int = 1
    data_dir: str = ""
    kubeconfig: str = ""
    port: int = 0
    kubelet_port: int = 10250
    store: str = ""
    runtime: str = "auto"
    simulated_nodes: int = 0
    static_pods: str = ""
    kubelet_config: str = ""
    authentication_config: str = ""
    authorization_config: str = ""
    encryption_config: str = ""
    encryption_config_automatic_reload: bool = False
    audit_policy: str = ""
    audit_log: str = ""
    admission_config: str = ""
    enabled_admission_plugins: str = ""
    disabled_admission_plugins: str = ""
    fast_failover: bool = False
    crash_loop_initial: float = 10.0
    crash_loop_maximum: float = 300.0
    crash_loop_reset: float = 600.0
    shutdown_grace: float = 30.0
    shutdown_grace_critical: float = 10.0
    node_grace: float = 50.0
    toleration: int = 300
    server: str = ""
    joined_node: str = ""
    address: str = ""
    pod_cidr: str = ""

    def save(self, layout: Layout) -> None:
        layout.spec_file.parent.mkdir(parents=True, exist_ok=True)
        write_json(layout.spec_file, asdict(self))

    @classmethod
    def load(cls, layout: Layout) -> ClusterSpec | None:
        stored = read_json(layout.spec_file)
        if stored is None:
            return None
        known = {f.name for f in fields(cls)}
        return cls(**{k: v for k, v in stored.items() if k in known})

    def differences(self, asked: dict[str, Any]) -> list[str]:
        """A line for each flag in `asked` (only what was given on the command line) that says otherwise."""
        return [
            f"{FLAGS[field]}: the cluster has {getattr(self, field)!r}, asked was {value!r}"
            for field, value in asked.items()
            if field in FLAGS and getattr(self, field) != value
        ]
