"""Making a Pod's status of what its worker knows, and handing it to the status manager."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from podwright.api import objects, pods
from podwright.api.objects import Object
from podwright.api.pods import qos_class
from podwright.kubelet.containers import termination_message
from podwright.kubelet.runtime_cache import PodRuntime
from podwright.kubelet.status.container_statuses import ContainerFacts, container_id
from podwright.kubelet.status.generate import PodFacts, generate
from podwright.kubelet.worker_context import WorkerContext
from podwright.runtime.protocol import Container, ContainerState

_STATUSES = ("initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses")


@dataclass(slots=True)
class Verdict:
    """The kubelet's own decision to end the Pod: it is Failed with this reason and message (and condition). `grace` is
    in seconds, None for the Pod's own. `refused`: the node did not admit it, so it has never run."""

    reason: str
    message: str
    grace: float | None = None
    condition: Object | None = None
    refused: bool = False


@dataclass(slots=True)
class StatusMaker:
    """`pod` gives the Pod as the node runs it. `ending`: nothing will be started any more; `ended`: nothing runs."""

    context: WorkerContext
    pod: Callable[[], Object]
    waiting: Callable[[], Mapping[str, tuple[str, str]]]
    starting: Callable[[], set[str]]
    actual_resources: Callable[[Object, Container | None], Object]
    extra_conditions: Callable[[], list[Object]]
    ending: bool = False
    ended: bool = False
    verdict: Verdict | None = None
    _messages: dict[str, str] = field(default_factory=dict)

    def publish(self) -> None:
        """Makes the status and has it written if it is a new one, or if the API has another one by now."""
        context, pod = self.context, self.pod()
        uid = objects.uid(pod)
        known = context.statuses.get(uid)
        previous = known if known is not None else pod.get("status") or {}
        status = self._refused(pod, previous) if self.verdict and self.verdict.refused else self._status(pod, previous)
        if status != known:
            context.statuses.set(pod, status)
        else:
            context.statuses.poke(uid)

    def publish_exits(self) -> None:
        """Like :meth:`publish`, if a container that the last status has running runs no more: what is going to be done
        about it may take its time."""
        uid = objects.uid(self.pod())
        told = self.context.statuses.get(uid) or {}
        running = {
            s["containerID"] for kind in _STATUSES for s in told.get(kind) or () if "running" in s["state"]
        }  # fmt: skip
        if running - {container_id(c.id) for c in self.context.cache.pod(uid).running()}:
            self.publish()

    def _refused(self, pod: Object, previous: Object) -> Object:
        assert self.verdict is not None
        status: Object = {
            "phase": "Failed",
            "reason": self.verdict.reason,
            "message": f"Pod was rejected: {self.verdict.message}",
            "qosClass": qos_class(pod),
            "startTime": previous.get("startTime") or objects.format_time(self.context.clock.now()),
            "conditions": previous.get("conditions") or [],
        }
        if pod["metadata"].get("generation"):
            status["observedGeneration"] = pod["metadata"]["generation"]
        return status

    def _status(self, pod: Object, previous: Object) -> Object:
        context = self.context
        uid = objects.uid(pod)
        found = self._shown(context.cache.pod(uid))
        volumes = context.volumes.mounted(uid)
        conditions = self.extra_conditions()
        if self.verdict is not None and self.verdict.condition is not None:
            conditions.append(self.verdict.condition)
        return generate(
            pod,
            PodFacts(
                runtime=found,
                previous=previous,
                now=context.clock.now(),
                started_at=context.clock.now(),
                containers=ContainerFacts(
                    waiting=self.waiting(),
                    messages=self._words(pod, found),
                    is_ready=lambda name: context.probes.is_ready(uid, name),
                    is_started=lambda name: context.probes.is_started(uid, name),
                    actual_resources=self.actual_resources,
                    resource_health=lambda ctr: context.manager.health(pod, ctr),
                    image_volumes={n: v.image_ref for n, v in volumes.items() if v.image},
                    nothing_starts=self.ending,
                ),
                host_ips=context.node.host_ips,
                ending=self.ending,
                ended=self.ended,
                verdict=(self.verdict.reason, self.verdict.message) if self.verdict else None,
                extra_conditions=conditions,
            ),
        )

    def _shown(self, found: PodRuntime) -> PodRuntime:
        """Without containers whose start is not over (their postStart hook runs): they still wait."""
        starting = self.starting()
        if not starting:
            return found
        return found.without(
            {c.id for c in found.containers if c.name in starting and c.state is not ContainerState.EXITED}
        )

    def _words(self, pod: Object, found: PodRuntime) -> Mapping[str, str]:
        """Last words of ended containers, each read, and its end counted, once."""
        count = sum(len(pod["spec"].get(k) or ()) for k in ("containers", "initContainers", "ephemeralContainers"))
        share = termination_message.MAX_POD // max(1, count)
        for container in found.containers:
            if container.state is ContainerState.EXITED and container.id not in self._messages:
                self._messages[container.id] = termination_message.read(container, share)
                kind = next((k for k, ctr in pods.all_containers(pod) if ctr["name"] == container.name), pods.REGULAR)
                self.context.exits[kind, container.exit_code, container.reason] += 1
        return self._messages
