"""Ending containers: preStop, stop signal, grace period, SIGKILL; sidecars after the main ones, in reverse order
(documentation page "Pod Lifecycle", "Termination of Pods")."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from podwright.api import pods
from podwright.api.objects import Object
from podwright.client.clock import Clock
from podwright.client.events import NORMAL, WARNING, EventRecorder
from podwright.kubelet.events import container_field_path
from podwright.kubelet.hooks import HookFailed, HookRunner
from podwright.kubelet.probing import ProbeKind
from podwright.runtime.protocol import Container, ContainerRuntime, NoSuchThing

log = logging.getLogger(__name__)

MINIMUM_GRACE = 2.0
"""Even without a grace period a container has this long, in seconds, between its stop signal and SIGKILL."""


class _Turns:
    """Lets each sidecar's stop signal wait until every container that was started after it has ended."""

    def __init__(self, pod: Object, containers: Sequence[Container]) -> None:
        sidecars = [c["name"] for c in pods.init_containers(pod) if pods.is_sidecar(c)]
        names = [c.name for c in containers]
        others = {n for n in names if n not in sidecars}
        self._ended = {n: asyncio.Event() for n in names}
        self._waits: dict[str, set[str]] = {}
        after = set(others)
        for name in reversed(sidecars):
            self._waits[name] = set(after)
            after.add(name)

    async def mine(self, name: str) -> None:
        for other in self._waits.get(name, ()):
            if other in self._ended:
                await self._ended[other].wait()

    def ended(self, name: str) -> None:
        self._ended[name].set()


class ContainerKiller:
    def __init__(
        self, runtime: ContainerRuntime, hooks: HookRunner, recorder: EventRecorder, clock: Clock
    ) -> None:
        self._runtime = runtime
        self._hooks = hooks
        self._recorder = recorder
        self._clock = clock

    async def kill_pod(
        self,
        pod: Object,
        containers: Sequence[Container],
        ips: Sequence[str],
        *,
        grace: float | None = None,
        run_hooks: bool = True,
    ) -> None:
        """Ends all these containers at the same time; returns when none runs. `grace` overrides the Pod's own.

        Raises:
            RuntimeFailure: one of them cannot be ended (of several, as an ExceptionGroup).
        """
        turns = _Turns(pod, containers)

        async def one(container: Container) -> None:
            try:
                await self.kill(pod, container, ips, grace=grace, turns=turns, run_hooks=run_hooks)
            finally:
                turns.ended(container.name)

        async with asyncio.TaskGroup() as group:
            for container in containers:
                group.create_task(one(container))

    async def kill(
        self,
        pod: Object,
        container: Container,
        ips: Sequence[str],
        *,
        message: str = "",
        probe: ProbeKind | None = None,
        grace: float | None = None,
        turns: _Turns | None = None,
        run_hooks: bool = True,
    ) -> None:
        """Ends one container. `probe` is the probe that asked for it, whose own grace period then counts.

        Raises:
            RuntimeFailure
        """
        ctr = pods.container(pod, container.name) or {"name": container.name}
        left = _grace(pod, ctr, probe) if grace is None else grace
        where = container_field_path(pod, container.name)
        self._recorder.event(
            pod, NORMAL, "Killing", message or f"Stopping container {container.name}", field_path=where
        )
        pre_stop = (ctr.get("lifecycle") or {}).get("preStop")
        if pre_stop and run_hooks and left > 0:
            began = self._clock.monotonic()
            await self._pre_stop(pod, ctr, pre_stop, container, ips, left, where)
            left -= self._clock.monotonic() - began
        if turns is not None and left > 0:
            began = self._clock.monotonic()
            try:
                async with asyncio.timeout(left):
                    await turns.mine(container.name)
            except TimeoutError:
                log.info("%s: %s waits no longer for its turn to end", pods.describe(pod), container.name)
            left -= self._clock.monotonic() - began
        try:
            await self._runtime.stop_container(container.id, max(left, MINIMUM_GRACE))
        except NoSuchThing:
            log.debug("%s: container %s is gone already", pods.describe(pod), container.id)

    async def _pre_stop(
        self,
        pod: Object,
        ctr: Object,
        handler: Object,
        container: Container,
        ips: Sequence[str],
        timeout: float,
        where: str,
    ) -> None:
        try:
            async with asyncio.timeout(timeout):
                await self._hooks.run(handler, ctr, container.id, ips)
        except TimeoutError:
            log.info("%s: preStop of %s did not end within %.0f s", pods.describe(pod), container.name, timeout)
        except HookFailed as failed:
            log.info("%s: preStop of %s: %s", pods.describe(pod), container.name, failed)
            self._recorder.event(pod, WARNING, "FailedPreStopHook", "PreStopHook failed", field_path=where)


def _grace(pod: Object, ctr: Object, probe: ProbeKind | None) -> float:
    if probe is not None and pod["metadata"].get("deletionTimestamp") is None:
        field = "livenessProbe" if probe is ProbeKind.LIVENESS else "startupProbe"
        own = (ctr.get(field) or {}).get("terminationGracePeriodSeconds")
        if own is not None:
            return float(own)
    return pods.termination_grace(pod)
