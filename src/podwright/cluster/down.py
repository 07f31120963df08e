"""``podwright down``: ends Pods and processes and keeps the data; with purge, nothing of the cluster is left."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from podwright.cluster import cgroups, kubeconfig, node_link, processes
from podwright.cluster.files import locked
from podwright.cluster.layout import Layout
from podwright.cluster.mounts import remove_contents, unmount_below
from podwright.cluster.registry import Ranges, Registry
from podwright.cluster.spec import ClusterSpec
from podwright.cluster.up import merged_kubeconfig, node_names, process_names

Progress = Callable[[str], None]


class NoSuchCluster(Exception):
    """No cluster of that name on this machine."""


def find_cluster(name: str) -> tuple[ClusterSpec, Layout, Ranges]:
    """Raises NoSuchCluster."""
    registry = Registry()
    layout = registry.layout(name)
    spec = ClusterSpec.load(layout) if layout is not None else None
    if layout is None or spec is None:
        raise NoSuchCluster(f"there is no cluster {name!r} on this machine")
    return spec, layout, registry.ranges(name)


def down(name: str, *, purge: bool, progress: Progress) -> None:
    """Raises NoSuchCluster. Safe to repeat after a failure."""
    registry = Registry()
    layout = registry.layout(name)
    if layout is None:
        raise NoSuchCluster(f"there is no cluster {name!r} on this machine")
    ranges = registry.ranges(name)
    spec = ClusterSpec.load(layout) or ClusterSpec(name=name)
    with locked(layout.run / "lock"):
        for process in reversed(process_names(spec)):
            running = processes.find(layout, process)
            if running is not None:
                progress(f"stopping {process}")
                processes.stop(running)
            layout.process_file(process).unlink(missing_ok=True)
        progress("stopping Pods")
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda node: _clear_node(spec, layout, node, purge=purge), node_names(spec)))
        cgroups.kill(layout.cgroup())
        path = merged_kubeconfig(layout)
        if path is not None:
            try:
                kubeconfig.remove(path, Layout.context(name))
            except kubeconfig.NotAKubeconfig as broken:
                progress(f"{broken}; it is left as it is")
        node_link.remove(name, ranges, node_names(spec) if spec.nodes > 1 else [])
        unmount_below(layout.run)
        cgroups.remove(layout.cgroup())
        if purge:
            progress("removing data")
            if layout.data.exists():
                remove_contents(layout.data)
    shutil.rmtree(layout.run, ignore_errors=True)
    if purge:
        registry.remove(name)
        _collect_images()
    _remove_empty_roots()


def _clear_node(spec: ClusterSpec, layout: Layout, node: str, *, purge: bool) -> None:
    """Stops the node's Pods in its own network namespace, where their network is."""
    if not layout.node_data(node).exists():
        return
    command = [sys.executable, "-m", "podwright", "node", "clear", "--name", spec.name, "--node", node]
    if purge:
        command.append("--remove")
    namespace = node_link.namespace(spec.name, node)
    if spec.nodes > 1:
        if not Path(f"/run/netns/{namespace}").exists():
            return
        command = ["nsenter", f"--net=/run/netns/{namespace}", "--", *command]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode:
        sys.stderr.write(done.stderr)


def _collect_images() -> None:
    subprocess.run(
        [sys.executable, "-m", "podwright", "image", "collect"], capture_output=True, timeout=300, check=False
    )


def _remove_empty_roots() -> None:
    """Our top-level cgroup goes with the last cluster."""
    if not Registry().clusters() or not cgroups.processes("/podwright"):
        for top in cgroups.directories("/podwright"):
            try:
                top.rmdir()
            except OSError:
                return  # Another cluster still has groups below it.
