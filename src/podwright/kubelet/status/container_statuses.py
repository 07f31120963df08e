"""containerStatuses, initContainerStatuses and ephemeralContainerStatuses, from the runtime's containers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from podwright.api import objects, pods
from podwright.api.objects import Object
from podwright.kubelet import labels
from podwright.kubelet.restart_policy import should_restart
from podwright.kubelet.runtime_cache import PodRuntime
from podwright.kubelet.status.phase import RESTARTING_ALL
from podwright.runtime.protocol import Container, ContainerState

STATUS_UNKNOWN = "ContainerStatusUnknown"
_LOST = "The container could not be located when the pod was terminated"
_LOST_RUNNING = "The container could not be located when the pod was deleted.  The container used to be Running"


def container_id(runtime_id: str) -> str:
    """How statuses spell a container's id."""
    return "podwright://" + runtime_id if runtime_id else ""


def runtime_id(text: str) -> str:
    """The runtime's id of a status' containerID."""
    return text.partition("://")[2] or text


def _allocated(ctr: Object, container: Container | None) -> Object:
    return ctr.get("resources") or {}


@dataclass(frozen=True, slots=True)
class ContainerFacts:
    """What is known of a Pod's containers beside the runtime's word. `waiting` is why a container could not be
    started: (reason, message) by name. `messages` are termination messages by container id. `actual_resources` gives
    what a running container has now, of what it was given."""

    waiting: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    messages: Mapping[str, str] = field(default_factory=dict)
    is_ready: Callable[[str], bool] = lambda name: True
    is_started: Callable[[str], bool] = lambda name: True
    actual_resources: Callable[[Object, Container | None], Object] = _allocated
    resource_health: Callable[[Object], list[Object]] = lambda ctr: []
    """allocatedResourcesStatus of a container."""
    image_volumes: Mapping[str, str] = field(default_factory=dict)
    """Image reference by the name of the image volume."""
    nothing_starts: bool = False
    """The Pod is being ended."""
    restarting_all: bool = False
    """A container's end has asked for all to start over: those that are gone will be back."""


def statuses(
    pod: Object, specs: Sequence[Object], runtime: PodRuntime, previous: Sequence[Object], facts: ContainerFacts
) -> list[Object]:
    """One status for each of the containers `specs` of the Pod, in their order."""
    before = {s["name"]: s for s in previous}
    return [_status(pod, spec, runtime, before.get(spec["name"]), facts) for spec in specs]


def _status(
    pod: Object, spec: Object, runtime: PodRuntime, before: Object | None, facts: ContainerFacts
) -> Object:
    name = spec["name"]
    instances = runtime.of_name(name)
    if instances:
        status = _from_runtime(spec, instances, before, facts)
    else:
        status = _without_runtime(pod, spec, before, facts)
    mounts = _mount_statuses(spec, facts)
    if mounts:
        status["volumeMounts"] = mounts
    _waiting_reason(pod, spec, status, facts)
    if health := facts.resource_health(spec):
        status["allocatedResourcesStatus"] = health
    running = "running" in status["state"]
    started = running and facts.is_started(name)
    status["started"] = started
    status["ready"] = started and facts.is_ready(name)
    if pods.is_init(pod, name) and not pods.is_sidecar(spec):
        ended = status["state"].get("terminated")
        status["ready"] = ended is not None and ended["exitCode"] == 0
    elif pods.is_ephemeral(pod, name):
        status["ready"] = False
    return status


def _mount_statuses(spec: Object, facts: ContainerFacts) -> list[Object]:
    found = []
    for mount in spec.get("volumeMounts") or ():
        status: Object = {"name": mount["name"], "mountPath": mount["mountPath"]}
        if mount.get("readOnly"):
            status["readOnly"] = True
            recursive = mount.get("recursiveReadOnly") in ("Enabled", "IfPossible")
            status["recursiveReadOnly"] = "Enabled" if recursive else "Disabled"
        if mount["name"] in facts.image_volumes:
            status["volumeStatus"] = {"image": {"imageRef": facts.image_volumes[mount["name"]]}}
        found.append(status)
    return found


def _from_runtime(
    spec: Object, instances: Sequence[Container], before: Object | None, facts: ContainerFacts
) -> Object:
    newest = instances[0]
    status: Object = {
        "name": spec["name"],
        "image": newest.image or spec.get("image", ""),
        "imageID": newest.image_ref,
        "containerID": container_id(newest.id),
        "restartCount": labels.restart_count(newest),
        "state": _state(newest, facts.messages),
        "lastState": {},
    }
    if len(instances) > 1 and instances[1].state is ContainerState.EXITED:
        status["lastState"] = _state(instances[1], facts.messages)
    elif before is not None:
        status["lastState"] = _last_state_of(before, status["containerID"])
    if before is not None:
        for kind in ("state", "lastState"):
            _keep_words(status[kind], before)
        status["restartCount"] = max(status["restartCount"], int(before.get("restartCount") or 0))
    allocated = spec.get("resources") or {}
    if allocated.get("requests"):
        status["allocatedResources"] = dict(allocated["requests"])
    status["resources"] = facts.actual_resources(spec, newest)
    if newest.state in (ContainerState.RUNNING, ContainerState.EXITED):
        uid, gid, groups = newest.user
        status["user"] = {"linux": {"uid": uid, "gid": gid, "supplementalGroups": list(groups)}}
        status["stopSignal"] = newest.stop_signal
    return status


def _keep_words(state: Object, before: Object) -> None:
    """The last words of a container outlive the file that they were in."""
    ended = state.get("terminated")
    if not ended or ended.get("message"):
        return
    for kind in ("state", "lastState"):
        known = (before.get(kind) or {}).get("terminated") or {}
        if known.get("containerID") == ended["containerID"] and known.get("message"):
            ended["message"] = known["message"]


def _last_state_of(before: Object, container_id: str) -> Object:
    """The end before the present instance, when the runtime has forgotten that one."""
    ended = (before.get("state") or {}).get("terminated")
    if ended and before.get("containerID") != container_id:
        return {"terminated": ended}
    last = (before.get("lastState") or {}).get("terminated")
    return {"terminated": last} if last else {}


def _state(container: Container, messages: Mapping[str, str]) -> Object:
    if container.state is ContainerState.RUNNING:
        return {"running": {"startedAt": objects.format_time(container.started_at)}}
    if container.state is not ContainerState.EXITED:
        return {"waiting": {"reason": "ContainerCreating"}}
    ended: Object = {
        "exitCode": container.exit_code,
        "reason": container.reason or ("Completed" if container.exit_code == 0 else "Error"),
        "startedAt": objects.format_time(container.started_at) if container.started_at else None,
        "finishedAt": objects.format_time(container.finished_at) if container.finished_at else None,
        "containerID": container_id(container.id),
    }
    if container.signal:
        ended["signal"] = container.signal
    message = messages.get(container.id) or container.message
    if message:
        ended["message"] = message
    return {"terminated": {k: v for k, v in ended.items() if v is not None}}


def _without_runtime(pod: Object, spec: Object, before: Object | None, facts: ContainerFacts) -> Object:
    """The runtime has no such container: it was never made, or is gone."""
    status: Object = {
        "name": spec["name"],
        "image": spec.get("image", ""),
        "imageID": "",
        "restartCount": 0,
        "state": {"waiting": {"reason": "PodInitializing" if pods.init_containers(pod) else "ContainerCreating"}},
        "lastState": {},
    }
    if before is None:
        return status
    state = before.get("state") or {}
    if facts.restarting_all and ("running" in state or "terminated" in state):
        ended = state.get("terminated") or {"message": _LOST, "exitCode": 137}
        restarts = int(before.get("restartCount") or 0) + 1
        return {**status, "restartCount": restarts, "lastState": {"terminated": {**ended, "reason": RESTARTING_ALL}}}
    if "terminated" in state:
        return {**before, "lastState": before.get("lastState") or {}}
    status["restartCount"] = int(before.get("restartCount") or 0)
    status["lastState"] = before.get("lastState") or {}
    if "running" in state:
        status["lastState"] = {
            "terminated": {"reason": STATUS_UNKNOWN, "message": _LOST_RUNNING, "exitCode": 137}
        }
        if not objects.is_deleting(pod):
            status["restartCount"] += 1
    return status


def _waiting_reason(pod: Object, spec: Object, status: Object, facts: ContainerFacts) -> None:
    """A container that will be started, but could not yet, waits, with the reason why."""
    found = facts.waiting.get(spec["name"])
    if found is None or facts.nothing_starts or "running" in status["state"]:
        return
    ended = status["state"].get("terminated")
    if ended is not None:
        if not should_restart(pod, spec, int(ended["exitCode"])):
            return
        status["lastState"] = {"terminated": ended}
    reason, message = found
    status["state"] = {"waiting": {"reason": reason, "message": message} if message else {"reason": reason}}


def settle(status: Object) -> Object:
    """The status of a container of a Pod that has ended: what did not end by the book is counted as lost."""
    if "terminated" in status["state"]:
        return status
    lost = {"reason": STATUS_UNKNOWN, "message": _LOST, "exitCode": 137}
    return {**status, "state": {"terminated": lost}, "ready": False, "started": False}
