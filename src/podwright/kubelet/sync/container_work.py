"""The containers of one Pod as its worker starts and ends them, and what it remembers of that: why one waits, when it
may be tried again, which probes have failed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from podwright.api import objects, pods
from podwright.api.objects import Object
from podwright.kubelet.containers.failures import POST_START_ERROR
from podwright.kubelet.probing import ProbeKind
from podwright.kubelet.sync import sandboxes
from podwright.kubelet.sync.actions import Kill
from podwright.kubelet.sync.jobs import Job, Jobs
from podwright.kubelet.sync.starter import ContainerStarter, RetryLater
from podwright.kubelet.worker_context import WorkerContext
from podwright.runtime.protocol import ContainerState, RuntimeFailure, Sandbox

log = logging.getLogger(__name__)

Work = Callable[[Job], Coroutine[Any, Any, None]]


class ContainerWork:
    """`pod` gives the Pod's newest version. `waiting` is (reason, message) by container name, `not_before` the
    monotonic time at which a container may be tried again, `probe_failures` by container id."""

    def __init__(self, context: WorkerContext, pod: Callable[[], Object], jobs: Jobs) -> None:
        self._context = context
        self._pod = pod
        self._uid = objects.uid(pod())
        self.jobs = jobs
        self.waiting: dict[str, tuple[str, str]] = {}
        self.not_before: dict[str, float] = {}
        self.probe_failures: dict[str, ProbeKind] = {}
        self._probed: set[str] = set()

    def start(self, name: str, prepared: asyncio.Future[Sandbox]) -> None:
        """Starts a container once sandbox and volumes are there."""
        self.not_before.pop(name, None)
        self.jobs.spawn(name, self._starting(name, prepared), starting=True)

    def kill(self, kill: Kill) -> None:
        self.jobs.spawn(kill.name, self._killing(kill), starting=False)

    def _starting(self, name: str, prepared: asyncio.Future[Sandbox]) -> Work:
        async def start(job: Job) -> None:
            pod = self._pod()
            ctr = pods.container(pod, name)
            if ctr is None:
                return
            starter = ContainerStarter(self._context, pod, ctr, lambda: self.jobs.takes_long(job))
            try:
                container = await starter.start(prepared)
            except RetryLater as later:
                self.waiting[name] = (later.failure.reason, str(later.failure))
                if later.failure.reason != POST_START_ERROR:
                    self.not_before[name] = self._context.clock.monotonic() + later.seconds
                return
            self.waiting.pop(name, None)
            if container.state is ContainerState.RUNNING:
                self._tell_probes(name, container.id, container.pid, container.started_at)
            await self._prune(name)

        return start

    def _tell_probes(self, name: str, container_id: str, pid: int, at: float) -> None:
        self._probed.add(container_id)
        self._context.probes.container_started(self._uid, name, container_id, pid, at)

    async def _prune(self, name: str) -> None:
        """Of each container the runtime keeps the present instance and the one before (for `kubectl logs -p`). One that
        was created and never started, as the kubelet was killed between the two, has nothing that is worth keeping."""
        older = self._context.cache.pod(self._uid).of_name(name)[1:]
        ended = [c for c in older if c.state is ContainerState.EXITED]
        unused = [c for c in older if c.state is ContainerState.CREATED]
        for old in (*unused, *ended[self._context.config.max_dead_containers_per_container :]):
            try:
                await self._context.runtime.remove_container(old.id)
            except RuntimeFailure as failed:
                log.info("%s: old container %s: %s", pods.describe(self._pod()), old.id, failed)
                continue
            self._context.cache.drop_container(self._uid, old.id)
            self.probe_failures.pop(old.id, None)
            await asyncio.to_thread(_remove_logs, old.log_path)

    def _killing(self, kill: Kill) -> Work:
        async def end(job: Job) -> None:
            pod, found = self._pod(), self._context.cache.pod(self._uid)
            container = next((c for c in found.containers if c.id == kill.container_id), None)
            if container is None:
                return
            ips = sandboxes.ips_of(self._context, pod, found.sandbox)
            try:
                await self._context.killer.kill(pod, container, ips, message=kill.message, probe=kill.probe)
            except RuntimeFailure as failed:
                log.warning("%s: cannot end %s: %s", pods.describe(pod), kill.name, failed)
                self.not_before[kill.name] = self._context.clock.monotonic() + self._context.config.retry_initial
                return
            await self._context.cache.refresh_container(self._uid, kill.container_id)
            self._stopped(kill.name, kill.container_id)
            if kill.start_again and found.sandbox is not None:
                prepared: asyncio.Future[Sandbox] = asyncio.get_running_loop().create_future()
                prepared.set_result(found.sandbox)
                await self._starting(kill.name, prepared)(job)

        return end

    def _stopped(self, name: str, container_id: str) -> None:
        self._probed.discard(container_id)
        self._context.probes.container_stopped(self._uid, name, container_id)

    def tell_probes(self) -> None:
        """Containers that run without having been started by this worker (the kubelet was restarted) are told to the
        probes, and those that have ended."""
        pod, found = self._pod(), self._context.cache.pod(self._uid)
        if found.sandbox is not None and not self._probed:
            ips = sandboxes.ips_of(self._context, pod, found.sandbox)
            if ips:
                self._context.probes.pod_ip_known(self._uid, ips[0])
        busy = self.jobs.names()
        for container in found.containers:
            if container.state is ContainerState.RUNNING:
                if container.id not in self._probed and container.name not in busy:
                    self._tell_probes(container.name, container.id, container.pid, container.started_at)
            elif container.id in self._probed:
                self._stopped(container.name, container.id)


def _remove_logs(path: Path) -> None:
    if path.name:
        for found in path.parent.glob(path.name + "*"):
            found.unlink(missing_ok=True)
