"""A whole cluster for tests: real Pods on this machine, under a name of its own, and nothing of it left afterwards."""

from __future__ import annotations

import itertools
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from podwright.testing.kubectl import Kubectl

_NAME = re.compile(r"under-test-(\d+)-\d+")
_numbers = itertools.count(1)


class LocalCluster(Kubectl):
    """A running cluster: `name` is what ``podwright inspect``, ``image`` and ``node kill`` call it."""

    def __init__(self, name: str, kubeconfig: Path) -> None:
        super().__init__(kubeconfig)
        self.name = name

    def load_image(self, *archives: Path) -> list[str]:
        """Makes the images of OCI or docker archives known to every node. Gives their references.

        Raises:
            RuntimeFailure: the file is no image.
        """
        import asyncio

        from podwright.cluster.down import find_cluster
        from podwright.cluster.node_process import image_store

        _, layout, _ = find_cluster(self.name)
        store = image_store(layout)
        return [reference for archive in archives for reference in asyncio.run(store.load_archive(archive))]

    def wait(self, what: str, condition: str = "condition=Ready", *, timeout: float = 30.0) -> None:
        """``kubectl wait``: for example ``wait("pod/web")``, ``wait("pod/web", "delete")``. Raises KubectlFailed."""
        self.kubectl("wait", what, f"--for={condition}", f"--timeout={timeout:.3f}s", timeout=timeout + 10)


@contextmanager
def cluster(*, name: str = "", **flags: Any) -> Iterator[LocalCluster]:
    """A cluster with every node Ready. `flags` are those of ``podwright up`` (``nodes=2``, ``fast_failover=True``,
    ``simulated_nodes=100``). Whatever happens inside, it is purged at the end; what a test run that was killed left
    behind is purged before.

    Raises:
        PermissionError: not root.
        StartFailed, LinkFailed: with the end of the log.
    """
    from podwright.cluster.down import down
    from podwright.cluster.registry import Registry
    from podwright.cluster.up import require_root, up

    require_root()
    purge_orphans()
    name = name or f"under-test-{os.getpid()}-{next(_numbers)}"
    with tempfile.TemporaryDirectory(prefix=f"{name}-") as directory:
        kubeconfig = Path(directory) / "kubeconfig"
        try:
            up(name, {"kubeconfig": str(kubeconfig), **flags}, lambda process, line: None)
            yield LocalCluster(name, kubeconfig)
        finally:
            if Registry().layout(name) is not None:
                down(name, purge=True, progress=lambda line: None)


def purge_orphans() -> None:
    """Clusters of test runs whose process is gone."""
    from podwright.cluster.down import down
    from podwright.cluster.registry import Registry

    for name in Registry().clusters():
        owner = _NAME.fullmatch(name)
        if owner and not Path("/proc", owner[1]).exists():
            down(name, purge=True, progress=lambda line: None)
