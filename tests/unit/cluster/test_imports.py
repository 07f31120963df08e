"""What the process of a cluster has in memory before somebody needs it."""

from __future__ import annotations

import subprocess
import sys

_PARTS = (
    "podwright.cli.main", "podwright.cli.server", "podwright.cluster.server_process", "podwright.cluster.node_process",
    "podwright.cluster.components", "podwright.controllers.manager", "podwright.controllers.registry",
    "podwright.scheduler.scheduler",
)  # fmt: skip
_LATE = {
    "dbus_fast": "a system bus to listen to",
    "dns": "a query of the node's DNS server",
    "grpclib": "etcd, a CRI runtime or a plugin",
    "hpack": "a gRPC probe",
    "httpx": "nobody of us",
    "nacl": "secretbox in an EncryptionConfiguration",
    "numpy": "a Pod to schedule, or the end of the scheduler's warm-up",
    "re2": "a CEL expression with a pattern",
    "rich": "a terminal",
}
"""Package → what it comes with."""


def test_a_cluster_of_one_node_imports_late_what_it_may_never_need() -> None:
    code = f"import sys, {', '.join(_PARTS)}; print(*{{m.partition('.')[0] for m in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert "aiohttp" in done.stdout.split()
    assert not set(done.stdout.split()) & _LATE.keys()
