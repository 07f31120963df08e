"""What the parts of the embedded runtime share."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, field

from podwright.runtime.images.store import ImageStore
from podwright.runtime.oci.cgroups import Cgroups
from podwright.runtime.oci.engine import Engine
from podwright.runtime.oci.paths import Paths
from podwright.runtime.oci.workers import Workers
from podwright.runtime.pod_network import PodNetwork
from podwright.runtime.protocol import ContainerEvent


@dataclass(slots=True)
class Host:
    """The directories, threads and services behind one node's runtime. `boot` is the kernel's boot id."""

    paths: Paths
    engine: Engine
    workers: Workers
    cgroups: Cgroups
    cgroup_root: str
    images: ImageStore
    network: PodNetwork
    boot: str
    events: asyncio.Queue[ContainerEvent] = field(default_factory=asyncio.Queue)

    def emit(self, event: ContainerEvent) -> None:
        self.events.put_nowait(event)


def new_id() -> str:
    """64 hexadecimal digits, as every runtime has them."""
    return os.urandom(32).hex()
