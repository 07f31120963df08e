"""``podwright node kill``: the end of a node as a power cut would bring it: nothing is told, nothing is saved."""

from __future__ import annotations

import shutil

from podwright.cluster import cgroups, node_link, processes
from podwright.cluster.down import find_cluster
from podwright.cluster.mounts import unmount_below
from podwright.cluster.up import SERVER, node_names


class NoSuchNode(Exception):
    """The cluster has no node of that name."""


def kill_node(name: str, node: str) -> None:
    """SIGKILL to the node's process and everything it runs, then its namespaces are gone. ``podwright up`` boots it
    again. In a cluster of one process the control plane is on that node, and dies with it.

    Raises:
        NoSuchCluster, NoSuchNode.
    """
    spec, layout, _ = find_cluster(name)
    if node not in node_names(spec):
        raise NoSuchNode(f"cluster {name} has no node {node!r}: it has {', '.join(node_names(spec))}")
    process = SERVER if spec.nodes == 1 else node
    running = processes.find(layout, process)
    if running is not None:
        processes.stop(running, force=True)
    cgroups.kill(layout.cgroup(node))
    unmount_below(layout.node_run(node))
    shutil.rmtree(layout.node_run(node), ignore_errors=True)
    if spec.nodes > 1:
        node_link.remove_node(name, node)
