"""Probes over a runtime in memory and real servers on loopback."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from podwright.api.objects import Object
from podwright.client.clock import SystemClock
from podwright.kubelet.probes.manager import Probes
from podwright.kubelet.probing import ProbeKind
from podwright.runtime.protocol import ExecResult, RuntimeFailure

UID = "uid-1"


class Recorder:
    def __init__(self) -> None:
        self.events: list[tuple[str, str, str, str]] = []

    def event(self, about: Object, kind: str, reason: str, message: str, *, field_path: str = "") -> None:
        self.events.append((kind, reason, message, field_path))


class Execs:
    """exec_sync by a script."""

    def __init__(self) -> None:
        self.result: ExecResult | Exception = ExecResult(0, b"", b"")
        self.commands: list[tuple[str, list[str], float]] = []

    async def exec_sync(self, container_id: str, command: list[str], timeout: float) -> ExecResult:
        self.commands.append((container_id, command, timeout))
        await asyncio.sleep(0)
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


class Bench:
    """The probes of one Pod with one container "web"."""

    def __init__(self) -> None:
        self.recorder, self.execs = Recorder(), Execs()
        self.probes = Probes(self.execs, self.recorder, SystemClock(), jitter=lambda: 0.0)  # type: ignore[arg-type]
        self.failed: list[tuple[str, ProbeKind]] = []
        self.changes = 0
        self.probes.listen(self)
        self.pod: Object = {}

    def probe_failed(self, pod_uid: str, container_name: str, container_id: str, kind: ProbeKind) -> None:
        self.failed.append((container_id, kind))

    def readiness_changed(self, pod_uid: str, container_name: str) -> None:
        self.changes += 1

    def add(self, *, ip: str = "127.0.0.1", ports: Any = (), env: Any = (), status: Any = None, **spec: Object) -> None:
        self.pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "web", "namespace": "default", "uid": UID},
            "spec": {"containers": [{"name": "web", "image": "x", "ports": list(ports), "env": list(env), **spec}]},
            "status": status or {},
        }
        self.probes.add_pod(self.pod)
        self.probes.pod_ip_known(UID, ip)

    def start(self, container_id: str = "c1", at: float | None = None) -> None:
        self.probes.container_started(UID, "web", container_id, 1, SystemClock().now() if at is None else at)

    @property
    def ready(self) -> bool:
        return self.probes.is_ready(UID, "web")

    @property
    def started(self) -> bool:
        return self.probes.is_started(UID, "web")

    @property
    def messages(self) -> list[str]:
        return [message for _, _, message, _ in self.recorder.events]

    async def until(self, condition: Callable[[], Any], seconds: float = 3.0) -> None:
        async with asyncio.timeout(seconds):
            while not condition():
                await asyncio.sleep(0.002)


def failing() -> RuntimeFailure:
    return RuntimeFailure("no such file")


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    made = Bench()
    task = asyncio.create_task(made.probes.run())
    yield made
    assert not task.done()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
