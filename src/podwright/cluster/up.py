"""``podwright up``: a cluster in the background, whole when it returns."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from podwright.cluster import kubeconfig, node_link, processes
from podwright.cluster.files import locked
from podwright.cluster.layout import STATE_ROOT, Layout, node_name
from podwright.cluster.pki import Pki
from podwright.cluster.registry import Ranges, Registry
from podwright.cluster.spec import ClusterSpec
from podwright.kubelet import config_file
from podwright.runtime.cri import SCHEME

SERVER = "server"
_START_TIMEOUT = 60.0

Progress = Callable[[str, str], None]


class BadFlags(ValueError):
    """Flags that do not go together; the message says which."""


class OtherFlags(Exception):
    """The cluster exists with other flags; `differences` has a line for each."""

    def __init__(self, name: str, differences: list[str]) -> None:
        super().__init__(f"cluster {name} exists with other flags")
        self.differences = differences


def up(name: str, asked: dict[str, Any], progress: Progress) -> tuple[ClusterSpec, Path | None]:
    """Starts the cluster, or whatever recorded process of it is missing. `asked` are the spec's fields that the user
    set. Gives the spec and the kubeconfig it wrote (none on a machine that joined); every node is Ready then.

    Raises:
        OtherFlags, BadFlags, StartFailed, LinkFailed, BadClusterName, CannotAdd, BadConfiguration, NotAKubeconfig.
    """
    if asked.get("nodes", 1) > 1 and str(asked.get("runtime")).startswith(SCHEME):
        raise BadFlags(f"--runtime {asked['runtime']}: one socket serves one node, and --nodes asks for more")
    registry = Registry()
    data_dir = Path(asked["data_dir"]).absolute() if asked.get("data_dir") else None
    if data_dir is not None:
        asked = {**asked, "data_dir": str(data_dir)}
    if asked.get("kubelet_config"):
        file = Path(asked["kubelet_config"]).absolute()
        asked = {**asked, "kubelet_config": str(file)}
        config_file.read(file)
    if registry.layout(name) is None:
        kubeconfig.read(kubeconfig.user_file(asked.get("kubeconfig", ""))[0])
    layout = registry.add(name, data_dir)
    with locked(layout.run / "lock"):
        ranges = registry.ranges(name)
        spec = ClusterSpec.load(layout)
        if spec is None:
            # Under one lock of the machine: of two that start at once each sees what the other chose.
            with locked(STATE_ROOT / "ports.lock"):
                spec = _choose_ports(ClusterSpec(name=name, **asked))
                if spec.fast_failover:
                    spec = replace(spec, node_grace=4.0, toleration=0)
                spec.save(layout)
        elif differences := spec.differences(asked):
            raise OtherFlags(name, differences)
        start_missing(spec, layout, ranges, progress)
        if spec.joined_node:
            return spec, None
        return spec, _write_kubeconfigs(spec, layout)


def node_names(spec: ClusterSpec) -> list[str]:
    """The cluster's nodes on this machine."""
    return [spec.joined_node] if spec.joined_node else [node_name(i) for i in range(1, spec.nodes + 1)]


def process_names(spec: ClusterSpec) -> list[str]:
    """Every process that the cluster should have: a cluster of one node is one process."""
    if spec.joined_node:
        return [spec.joined_node]
    return [SERVER] if spec.nodes == 1 else [SERVER, *node_names(spec)]


def start_missing(spec: ClusterSpec, layout: Layout, ranges: Ranges, progress: Progress) -> None:
    """Raises StartFailed, LinkFailed."""
    missing = [p for p in process_names(spec) if processes.find(layout, p) is None]
    if not missing:
        return
    pipes: dict[str, int] = {}
    if SERVER in missing:
        one_process = ("--node", node_name(1)) if spec.nodes == 1 else ()
        _, pipes[SERVER] = processes.start(layout, SERVER, ["server", "--name", spec.name, *one_process])
    if spec.joined_node:
        command = ["node", "--name", spec.name, "--node", spec.joined_node]
        _, pipes[spec.joined_node] = processes.start(layout, spec.joined_node, command)
    elif spec.nodes > 1:
        node_link.ensure(spec.name, ranges, node_names(spec))
        if SERVER in missing:
            # Nodes need the CA and their certificates, which the server process makes first.
            processes.await_ready({SERVER: pipes.pop(SERVER)}, layout, timeout=_START_TIMEOUT, progress=progress)
        for node in missing:
            if node != SERVER:
                _, pipes[node] = processes.start(
                    layout,
                    node,
                    ["node", "--name", spec.name, "--node", node],
                    network_namespace=node_link.namespace(spec.name, node),
                )
    processes.await_ready(pipes, layout, timeout=_START_TIMEOUT, progress=progress)


def _choose_ports(spec: ClusterSpec) -> ClusterSpec:
    port = spec.port or free_port(6443)
    kubelet_port = free_port(10250, taken={port}) if spec.nodes == 1 else 10250
    return replace(spec, port=port, kubelet_port=kubelet_port)


def free_port(first: int, taken: set[int] | None = None) -> int:
    """The first port from `first` on that no cluster of this machine has and nothing listens on."""
    used = set(taken or ())
    for layout in Registry().clusters().values():
        other = ClusterSpec.load(layout)
        if other is not None:
            used |= {other.port, other.kubelet_port}
    for port in range(first, 65536):
        if port in used:
            continue
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("0.0.0.0", port))
            except OSError:
                continue
            return port
    raise OSError(f"no free port from {first} on")


def _write_kubeconfigs(spec: ClusterSpec, layout: Layout) -> Path:
    pki = Pki(layout.pki)
    admin = pki.client("admin", "kubernetes-admin", ["system:masters"])
    context = Layout.context(spec.name)
    config = kubeconfig.document(context, f"https://127.0.0.1:{spec.port}", pki.ca.certificate, admin)
    kubeconfig.write(layout.admin_kubeconfig, config)
    path, owner = kubeconfig.user_file(spec.kubeconfig)
    kubeconfig.merge(path, config, owner)
    (layout.data / "kubeconfig-path").write_text(str(path))
    return path


def merged_kubeconfig(layout: Layout) -> Path | None:
    """The user's file that ``up`` merged the context into."""
    try:
        return Path((layout.data / "kubeconfig-path").read_text())
    except FileNotFoundError:
        return None


def require_root() -> None:
    """Raises PermissionError with one clear line."""
    if os.geteuid() != 0:
        raise PermissionError("podwright makes namespaces and cgroups, so it needs root: run it with sudo")
