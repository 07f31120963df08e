"""``podwright node stop``: a node's graceful shutdown by command: its Pods are ended within the configured graces, the
API is told, then its process ends."""

from __future__ import annotations

import os
import select
import signal

from podwright.cluster import processes
from podwright.cluster.down import find_cluster
from podwright.cluster.node_kill import NoSuchNode
from podwright.cluster.node_process import STOP_SIGNAL
from podwright.cluster.up import SERVER, node_names

_SLACK = 30.0


def stop_node(name: str, node: str) -> str:
    """Stops the node (with "", the cluster's only one) and gives its name; returns when its process has ended.
    ``podwright up`` starts it again. In a cluster of one process the control plane is on that node, and ends with it.

    Raises:
        NoSuchCluster, NoSuchNode; TimeoutError: it still runs though every grace is over.
    """
    spec, layout, _ = find_cluster(name)
    known = node_names(spec)
    if not node and len(known) == 1:
        node = known[0]
    if node not in known:
        which = f"has no node {node!r}: it has" if node else "has several nodes, say which:"
        raise NoSuchNode(f"cluster {name} {which} {', '.join(known)}")
    running = processes.find(layout, node)
    if running is None and spec.nodes == 1:  # one process for everything
        running = processes.find(layout, SERVER)
    if running is None:
        raise NoSuchNode(f"node {node} of cluster {name} does not run")
    timeout = spec.shutdown_grace + _SLACK
    try:
        descriptor = os.pidfd_open(running.pid)
    except ProcessLookupError:
        return node
    try:
        if running.alive():
            signal.pidfd_send_signal(descriptor, STOP_SIGNAL)
            if not select.select([descriptor], [], [], timeout)[0]:
                raise TimeoutError(f"node {node} of cluster {name} did not end within {timeout:.0f} s")
    except ProcessLookupError:
        pass
    finally:
        os.close(descriptor)
    return node
