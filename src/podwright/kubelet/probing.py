"""The seam between Pod workers and probes: who probes tells readiness and startup, and asks for kills."""

from __future__ import annotations

import enum
from typing import Protocol

from podwright.api.objects import Object


class ProbeKind(enum.Enum):
    """Which probe failed; the value is how messages name it."""

    LIVENESS = "liveness"
    STARTUP = "startup"


class ProbeListener(Protocol):
    """What probes tell the Pod workers. Both are called on the event loop, return at once and never raise."""

    def probe_failed(self, pod_uid: str, container_name: str, container_id: str, kind: ProbeKind) -> None:
        """The failure threshold was passed: the container is killed (with the probe's own grace period, if it has
        one) and its restart policy decides what follows."""

    def readiness_changed(self, pod_uid: str, container_name: str) -> None:
        """Readiness or startedness of a container changed: the Pod's status is made anew."""


class ProbeManager(Protocol):
    """Runs the probes of all Pods of the node. Nothing here blocks.

    A container without the probe in question counts as passing once it runs. `container_id` without the
    "podwright://" prefix.
    """

    def listen(self, listener: ProbeListener) -> None:
        """Called once, before any Pod is added."""

    def add_pod(self, pod: Object) -> None:
        """A Pod that runs here, or its new version. Idempotent."""

    def remove_pod(self, uid: str) -> None:
        """The Pod is gone from the node: nothing of it is probed any more."""

    def pod_terminating(self, uid: str) -> None:
        """The Pod is being ended: liveness and startup probes stop, readiness goes on."""

    def pod_ip_known(self, uid: str, ip: str) -> None:
        """The address that HTTP, TCP and gRPC probes go to by default (the node's for a Pod on its network)."""

    def container_started(self, pod_uid: str, container_name: str, container_id: str, pid: int, at: float) -> None:
        """A container runs (its postStart hook is over), or was found running after a restart of the kubelet. `at`
        is when it started, in seconds since the epoch."""

    def container_stopped(self, pod_uid: str, container_name: str, container_id: str) -> None: ...

    def is_ready(self, uid: str, container: str) -> bool:
        """The last word of the readiness probe, of a running container."""

    def is_started(self, uid: str, container: str) -> bool:
        """Whether the startup probe of the running container has succeeded."""

    async def run(self) -> None:
        """Probes until cancelled."""


class NoProbes:
    """A ProbeManager that finds every running container ready and started."""

    def listen(self, listener: ProbeListener) -> None:
        """Nobody will be told anything."""

    def add_pod(self, pod: Object) -> None:
        """Nothing to probe."""

    def remove_pod(self, uid: str) -> None:
        """Nothing was probed."""

    def pod_terminating(self, uid: str) -> None:
        """Nothing was probed."""

    def pod_ip_known(self, uid: str, ip: str) -> None:
        """Nothing to probe."""

    def container_started(self, pod_uid: str, container_name: str, container_id: str, pid: int, at: float) -> None:
        """Nothing to probe."""

    def container_stopped(self, pod_uid: str, container_name: str, container_id: str) -> None:
        """Nothing was probed."""

    def is_ready(self, uid: str, container: str) -> bool:
        return True

    def is_started(self, uid: str, container: str) -> bool:
        return True

    async def run(self) -> None:
        """Nothing to do."""
