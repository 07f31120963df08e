"""The probes of all Pods of the node."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from podwright.api import objects, pods
from podwright.api.objects import Object
from podwright.client.clock import Clock
from podwright.client.events import EventRecorder
from podwright.kubelet.probes.container_probe import ContainerProbe, Kind, ProbedContainer
from podwright.kubelet.probes.outcomes import Result
from podwright.kubelet.probes.prober import Prober
from podwright.kubelet.probes.schedule import Schedule
from podwright.kubelet.probing import ProbeKind, ProbeListener
from podwright.kubelet.status.container_statuses import runtime_id
from podwright.runtime.protocol import ContainerRuntime

log = logging.getLogger(__name__)

_KILLING = {Kind.LIVENESS: ProbeKind.LIVENESS, Kind.STARTUP: ProbeKind.STARTUP}


@dataclass(slots=True)
class _Pod:
    pod: Object
    ip: str = ""
    terminating: bool = False
    containers: dict[str, ProbedContainer] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)
    """Names of containers that were told to have started, once at least."""


_Due = tuple[ProbedContainer, ContainerProbe]


class Probes:
    """Implements :class:`podwright.kubelet.probing.ProbeManager`.

    A container is probed as soon as it runs (and its initial delay is over), then every period. Containers that ran
    before this object was made are spread over one period, and keep meanwhile what the API's status says of them.
    `jitter` gives a number from 0 to 1.
    """

    def __init__(
        self,
        runtime: ContainerRuntime,
        recorder: EventRecorder,
        clock: Clock,
        *,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._prober = Prober(runtime, recorder)
        self._clock = clock
        self._jitter = jitter
        self._began = clock.now()
        self._listener: ProbeListener | None = None
        self._pods: dict[str, _Pod] = {}
        self._schedule: Schedule[_Due] = Schedule(clock)

    def listen(self, listener: ProbeListener) -> None:
        self._listener = listener

    def add_pod(self, pod: Object) -> None:
        uid = objects.uid(pod)
        known = self._pods.get(uid)
        if known is None:
            self._pods[uid] = _Pod(pod)
        else:
            known.pod = pod
        if objects.is_deleting(pod):
            self.pod_terminating(uid)

    def remove_pod(self, uid: str) -> None:
        known = self._pods.pop(uid, None)
        if known is not None:
            for container in known.containers.values():
                _stop(container)

    def pod_terminating(self, uid: str) -> None:
        known = self._pods.get(uid)
        if known is None or known.terminating:
            return
        known.terminating = True
        for container in known.containers.values():
            for kind in _KILLING:
                probe = container.probes.get(kind)
                if probe is not None:
                    probe.stop()

    def pod_ip_known(self, uid: str, ip: str) -> None:
        known = self._pods.get(uid)
        if known is not None:
            known.ip = ip

    def container_started(self, pod_uid: str, container_name: str, container_id: str, pid: int, at: float) -> None:
        known = self._pods.get(pod_uid)
        ctr = pods.container(known.pod, container_name) if known is not None else None
        if known is None or ctr is None:
            return
        before = known.containers.get(container_name)
        if before is not None:
            if before.id == container_id:
                return
            _stop(before)
        known.seen.add(container_name)
        probes = {kind: ContainerProbe(kind, ctr[kind.value]) for kind in Kind if ctr.get(kind.value)}
        said = _status(known.pod, container_name, container_id) if at < self._began else None
        started = Kind.STARTUP not in probes or bool(said and said.get("started"))
        ready = Kind.READINESS not in probes or bool(said and said.get("ready"))
        container = ProbedContainer(pod_uid, container_name, container_id, at, ready, started, probes)
        known.containers[container_name] = container
        self._begin(known, container, spread=said is not None)

    def _begin(self, known: _Pod, container: ProbedContainer, *, spread: bool = False) -> None:
        """The startup probe alone, or those that wait for it to have succeeded."""
        now = self._clock.monotonic()
        age = self._clock.now() - container.at
        for kind, probe in container.probes.items():
            if (kind is Kind.STARTUP) is container.started or probe.stopped:
                continue
            if known.terminating and kind in _KILLING:
                continue
            wait = max(0.0, probe.initial_delay - age)
            if spread:
                wait += self._jitter() * probe.period
            self._schedule.add(now + wait, (container, probe))

    def container_stopped(self, pod_uid: str, container_name: str, container_id: str) -> None:
        known = self._pods.get(pod_uid)
        container = known.containers.get(container_name) if known is not None else None
        if known is not None and container is not None and container.id == container_id:
            del known.containers[container_name]
            _stop(container)

    def is_ready(self, uid: str, container: str) -> bool:
        return self._is(uid, container, Kind.READINESS, "ready") and self.is_started(uid, container)

    def is_started(self, uid: str, container: str) -> bool:
        return self._is(uid, container, Kind.STARTUP, "started")

    def _is(self, uid: str, name: str, kind: Kind, what: str) -> bool:
        known = self._pods.get(uid)
        if known is None:
            return True
        container = known.containers.get(name)
        if container is not None:
            return container.ready if kind is Kind.READINESS else container.started
        ctr = pods.container(known.pod, name)
        if ctr is None or not ctr.get(kind.value):
            return True
        # Found running after a restart of the kubelet, and not told here yet: as it was.
        said = None if name in known.seen else _status(known.pod, name)
        return bool(said and said.get(what))

    def probed(self) -> Iterator[tuple[Object, ProbedContainer]]:
        """Every running container with its Pod, for metrics."""
        for known in self._pods.values():
            for container in known.containers.values():
                yield known.pod, container

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:

            def start(due: float, what: _Due) -> None:
                container, probe = what
                if not probe.stopped:
                    probe.task = group.create_task(self._once(due, container, probe))

            await self._schedule.run(start)

    async def _once(self, due: float, container: ProbedContainer, probe: ContainerProbe) -> None:
        known = self._pods.get(container.pod_uid)
        ctr = pods.container(known.pod, container.name) if known is not None else None
        if known is None or ctr is None:
            return
        began = self._clock.monotonic()
        try:
            outcome = await self._prober.probe(known.pod, ctr, probe, container.id, known.ip)
        except Exception:
            # One probe that trips over something unforeseen must not end those of all other Pods.
            log.exception("%s: %s of %s", pods.describe(known.pod), probe.kind.value, container.name)
            outcome = None
        finally:
            probe.task = None
        now = self._clock.monotonic()
        if outcome is None:
            probe.counts[Result.UNKNOWN] += 1
        else:
            passed = outcome.result is not Result.FAILURE
            probe.counts[Result.SUCCESS if passed else Result.FAILURE] += 1
            if passed:
                probe.seconds += now - began
            verdict = probe.count(outcome.result)
            if verdict is not None:
                self._decided(known, container, probe, verdict)
        if not probe.stopped:
            # Like a ticker: on the beat, and at once if a beat was missed.
            self._schedule.add(max(due + probe.period, now), (container, probe))

    def _decided(self, known: _Pod, container: ProbedContainer, probe: ContainerProbe, passed: bool) -> None:
        if probe.kind is Kind.READINESS:
            if container.ready is not passed:
                container.ready = passed
                self._changed(container)
        elif not passed:
            # Until there is a new container there is nothing to find out.
            probe.stopped = True
            if self._listener is not None:
                kind = _KILLING[probe.kind]
                self._listener.probe_failed(container.pod_uid, container.name, container.id, kind)
        elif probe.kind is Kind.STARTUP:
            probe.stopped = True
            container.started = True
            self._begin(known, container)
            self._changed(container)

    def _changed(self, container: ProbedContainer) -> None:
        if self._listener is not None:
            self._listener.readiness_changed(container.pod_uid, container.name)


def _stop(container: ProbedContainer) -> None:
    for probe in container.probes.values():
        probe.stop()


def _status(pod: Object, name: str, container_id: str = "") -> Object | None:
    """What the Pod's status says of a container (of the one with this id)."""
    status = pod.get("status") or {}
    for kind in ("containerStatuses", "initContainerStatuses"):
        for entry in status.get(kind) or ():
            if entry.get("name") == name and entry.get("containerID"):
                if not container_id or runtime_id(str(entry["containerID"])) == container_id:
                    return dict(entry)
    return None
