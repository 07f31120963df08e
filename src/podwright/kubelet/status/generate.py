"""A Pod's status as a pure function of its spec, of what the runtime has, and of what the worker knows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from podwright.api import objects, pods
from podwright.api.objects import Object
from podwright.api.pods import qos_class
from podwright.kubelet.restart_policy import may_restart_all
from podwright.kubelet.runtime_cache import PodRuntime
from podwright.kubelet.status import conditions
from podwright.kubelet.status.container_statuses import ContainerFacts, settle, statuses
from podwright.kubelet.status.phase import FAILED, PENDING, RUNNING, SUCCEEDED, phase
from podwright.kubelet.sync.actions import restart_all_wanted, sandbox_needed


@dataclass(frozen=True, slots=True)
class PodFacts:
    """What a status is made of beside the Pod. `previous` is the last status of this Pod (the API's, if none was made
    here). `now` and `started_at` are seconds since the epoch. `ending`: nothing will be started any more; `ended`:
    and nothing runs. `verdict` is a (reason, message) that fails the Pod, such as an eviction's; `extra_conditions`
    are those of a disruption or a resize."""

    runtime: PodRuntime
    previous: Object
    now: float
    started_at: float
    containers: ContainerFacts = field(default_factory=ContainerFacts)
    host_ips: Sequence[str] = ()
    ending: bool = False
    ended: bool = False
    verdict: tuple[str, str] | None = None
    extra_conditions: Sequence[Object] = ()


def generate(pod: Object, facts: PodFacts) -> Object:
    """The whole of status, but for fields that others own."""
    spec, previous = pod["spec"], facts.previous
    restarting = _restarting_all(pod, facts)
    if restarting or objects.condition_is_true({"status": previous}, conditions.ALL_RESTARTING):
        facts = replace(facts, containers=replace(facts.containers, restarting_all=True))
    inits = _settled(statuses(
        pod, pods.init_containers(pod), facts.runtime, previous.get("initContainerStatuses") or (), facts.containers
    ), facts, spec, init=True)  # fmt: skip
    mains = _settled(
        statuses(pod, pods.containers(pod), facts.runtime, previous.get("containerStatuses") or (), facts.containers),
        facts, spec, init=False,
    )  # fmt: skip
    ephemeral = statuses(
        pod,
        pods.ephemeral_containers(pod),
        facts.runtime,
        previous.get("ephemeralContainerStatuses") or (),
        facts.containers,
    )
    by_name = {s["name"]: s for s in (*inits, *mains)}
    status: Object = {"phase": _phase(pod, by_name, facts), "qosClass": qos_class(pod)}
    generation = int(pod["metadata"].get("generation") or 0)
    if generation:
        status["observedGeneration"] = generation
    _explain(pod, status, facts)
    status["startTime"] = previous.get("startTime") or objects.format_time(facts.started_at)
    _addresses(pod, status, facts)
    status["conditions"] = _conditions(pod, by_name, status["phase"], facts, generation, restarting)
    status["containerStatuses"] = mains
    if spec.get("resources"):
        status["resources"] = spec["resources"]
        status["allocatedResources"] = spec["resources"].get("requests") or {}
    if inits:
        status["initContainerStatuses"] = inits
    if ephemeral:
        status["ephemeralContainerStatuses"] = ephemeral
    return status


def _restarting_all(pod: Object, facts: PodFacts) -> bool:
    sandbox = facts.runtime.sandbox
    return sandbox is not None and restart_all_wanted(pod, facts.runtime, sandbox)


def _settled(found: list[Object], facts: PodFacts, spec: Object, *, init: bool) -> list[Object]:
    if not facts.ended:
        return found
    if init or not spec.get("initContainers"):
        return [settle(s) for s in found]
    # Main containers of a Pod that never got through its initialization have not run, so were not lost either.
    begun = any("terminated" in s["state"] or s.get("lastState", {}).get("terminated") for s in found)
    return [settle(s) for s in found] if begun else found


def _phase(pod: Object, by_name: dict[str, Object], facts: PodFacts) -> str:
    if facts.verdict is not None:
        return FAILED
    sandbox = facts.runtime.sandbox
    initialized = sandbox is not None and any(
        facts.runtime.latest(c["name"], sandbox.id) is not None for c in pods.containers(pod)
    )
    computed = phase(pod, by_name, ending=facts.ending, initialized=initialized)
    for known in (facts.previous.get("phase"), (pod.get("status") or {}).get("phase")):
        if known in (SUCCEEDED, FAILED):
            return str(known)
    if facts.ended and computed in (PENDING, RUNNING):
        return FAILED
    if facts.ending and not facts.ended and computed in (SUCCEEDED, FAILED):
        # Whoever reads that a Pod is over gives its place away: not before the node has it back.
        return str(facts.previous.get("phase") or PENDING)
    return computed


def _explain(pod: Object, status: Object, facts: PodFacts) -> None:
    """reason and message: of the verdict, or as they were if the phase is."""
    if facts.verdict is not None:
        status["reason"], status["message"] = facts.verdict
        return
    for source in (facts.previous, pod.get("status") or {}):
        if source.get("phase") == status["phase"]:
            for name in ("reason", "message"):
                if source.get(name):
                    status.setdefault(name, source[name])


def _addresses(pod: Object, status: Object, facts: PodFacts) -> None:
    hosts = list(facts.host_ips)
    if hosts:
        status["hostIP"] = hosts[0]
        status["hostIPs"] = [{"ip": ip} for ip in hosts]
    sandbox = facts.runtime.sandbox
    ips = hosts if pods.host_network(pod) else list(sandbox.ips) if sandbox is not None else []
    if pods.host_network(pod) and facts.previous.get("podIPs"):
        ips = [entry["ip"] for entry in facts.previous["podIPs"]]
    if not ips and facts.ending:
        ips = [entry["ip"] for entry in facts.previous.get("podIPs") or ()]
    if ips:
        status["podIP"] = ips[0]
        status["podIPs"] = [{"ip": ip} for ip in ips]


def _conditions(
    pod: Object, by_name: dict[str, Object], found: str, facts: PodFacts, generation: int, restarting: bool
) -> list[Object]:
    current = (pod.get("status") or {}).get("conditions") or ()
    previous = facts.previous.get("conditions") or ()
    others = [c for c in current if c["type"] not in conditions.OWNED]
    made_here = {c["type"] for c in facts.extra_conditions}
    kept = [c for c in others if c["type"] not in made_here]
    kept += [c for c in previous if c["type"] == "DisruptionTarget" and c["type"] not in made_here
             and all(k["type"] != c["type"] for k in kept)]  # fmt: skip
    needed, _ = sandbox_needed(pod, facts.runtime)
    containers = conditions.containers_ready(pod, by_name, found)
    own = [
        *facts.extra_conditions,
        conditions.ready_to_start(not needed),
        conditions.initialized(pod, by_name, found),
        conditions.ready(pod, containers, others),
        containers,
        conditions.scheduled(),
    ]
    if any(may_restart_all(ctr) for ctr in (*pods.init_containers(pod), *pods.containers(pod))):
        own.append(conditions.all_restarting(found, restarting))
    known = [*previous, *(c for c in current if all(p["type"] != c["type"] for p in previous))]
    return kept + conditions.with_times(own, known, objects.format_time(facts.now), generation)
