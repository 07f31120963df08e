"""What is to be done for a Pod now: a pure function of its spec, of what the runtime has, and of what probes say.

The order of things is that of the documentation pages "Pod Lifecycle", "Init Containers" and "Sidecar Containers".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field

from podwright.api import pods
from podwright.api.objects import Object
from podwright.kubelet import labels
from podwright.kubelet.probing import ProbeKind
from podwright.kubelet.restart_policy import RESTART_ALL, restart_action, should_restart
from podwright.kubelet.runtime_cache import PodRuntime
from podwright.runtime.protocol import Container, ContainerState, Sandbox, SandboxState


@dataclass(frozen=True, slots=True)
class Kill:
    """A container to be ended; `probe` is the probe that failed, if that is why. `start_again`: its new definition
    runs afterwards whatever the restart policy says."""

    container_id: str
    name: str
    message: str
    probe: ProbeKind | None = None
    start_again: bool = False


@dataclass(slots=True)
class PodActions:
    """`start` are names of containers, all of which may be started at the same time. `kill_pod`: end everything of
    the present sandbox first. `finished`: nothing of this Pod will run again. `attempt` counts sandboxes."""

    create_sandbox: bool = False
    attempt: int = 0
    kill_pod: bool = False
    finished: bool = False
    restart_all: bool = False
    start: list[str] = field(default_factory=list)
    kill: list[Kill] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Observed:
    """The world beside the Pod's spec. `busy` are containers that are being started or ended right now;
    `probe_failures` by container id; `is_started` says of a running container whether its startup probe has
    succeeded."""

    runtime: PodRuntime
    busy: Set[str] = frozenset()
    probe_failures: Mapping[str, ProbeKind] = field(default_factory=dict)
    is_started: Callable[[str], bool] = lambda name: True


def sandbox_needed(pod: Object, runtime: PodRuntime) -> tuple[bool, int]:
    """Whether a new sandbox is needed, and its attempt."""
    sandbox = runtime.sandbox
    if sandbox is None:
        return True, 0
    if sandbox.state is not SandboxState.READY:
        return True, sandbox.metadata.attempt + 1
    if not pods.host_network(pod) and not sandbox.ips:
        return True, sandbox.metadata.attempt + 1
    return False, sandbox.metadata.attempt


def compute(pod: Object, seen: Observed) -> PodActions:
    needed, attempt = sandbox_needed(pod, seen.runtime)
    if needed:
        return _with_new_sandbox(pod, seen, attempt)
    sandbox = seen.runtime.sandbox
    assert sandbox is not None
    actions = PodActions(attempt=attempt)
    if restart_all_wanted(pod, seen.runtime, sandbox):
        actions.kill_pod = actions.restart_all = True
        return actions
    for ctr in pods.ephemeral_containers(pod):
        if seen.runtime.latest(ctr["name"]) is None and ctr["name"] not in seen.busy:
            actions.start.append(ctr["name"])
    initialized = _initialize(pod, seen, sandbox, actions)
    if actions.kill_pod or not initialized:
        return actions
    _main_containers(pod, seen, actions)
    return actions


def _with_new_sandbox(pod: Object, seen: Observed, attempt: int) -> PodActions:
    """Everything begins anew, but for main containers that have ended for good."""
    runtime = seen.runtime
    actions = PodActions(create_sandbox=True, kill_pod=bool(runtime.sandboxes), attempt=attempt)
    wanted = [c["name"] for c in pods.containers(pod) if _wants_to_run(pod, c, runtime.latest(c["name"]))]
    if attempt and not wanted and _any_main_created(pod, runtime, ""):
        actions.create_sandbox = False
        actions.finished = True
        return actions
    if attempt and _init_failed_for_good(pod, runtime):
        actions.create_sandbox = False
        actions.finished = True
        return actions
    if pods.init_containers(pod):
        actions.start = [pods.init_containers(pod)[0]["name"]]
    else:
        actions.start = wanted
    return actions


def _init_failed_for_good(pod: Object, runtime: PodRuntime) -> bool:
    for ctr in pods.init_containers(pod):
        last = runtime.latest(ctr["name"])
        if last is not None and last.state is ContainerState.EXITED and last.exit_code != 0:
            if not pods.is_sidecar(ctr) and not should_restart(pod, ctr, last.exit_code):
                return True
    return False


def _any_main_created(pod: Object, runtime: PodRuntime, sandbox_id: str) -> bool:
    return any(runtime.latest(c["name"], sandbox_id) is not None for c in pods.containers(pod))


def _wants_to_run(pod: Object, ctr: Object, last: Container | None) -> bool:
    """Whether a container that does not run is to be started."""
    if last is None or last.state in (ContainerState.CREATED, ContainerState.UNKNOWN):
        return True
    if last.state is ContainerState.RUNNING:
        return True
    return should_restart(pod, ctr, last.exit_code)


def restart_all_wanted(pod: Object, runtime: PodRuntime, sandbox: Sandbox) -> bool:
    """Whether a container of this sandbox exited with a code whose rule restarts the whole Pod."""
    for ctr in (*pods.init_containers(pod), *pods.containers(pod)):
        last = runtime.latest(ctr["name"], sandbox.id)
        if last is not None and last.state is ContainerState.EXITED:
            if restart_action(ctr, last.exit_code) == RESTART_ALL:
                return True
    return False


def _initialize(pod: Object, seen: Observed, sandbox: Sandbox, actions: PodActions) -> bool:
    """Init containers one after the other, each sidecar staying up; True once the main ones may run."""
    inits = pods.init_containers(pod)
    runtime = seen.runtime
    initialized = _any_main_created(pod, runtime, sandbox.id)
    initialized = initialized or any(c["name"] in seen.busy for c in pods.containers(pod))
    reached = max((i for i, c in enumerate(inits) if runtime.latest(c["name"], sandbox.id) is not None), default=-1)
    for index, ctr in enumerate(inits):
        passed = initialized or index < reached
        last = runtime.latest(ctr["name"], sandbox.id)
        if pods.is_sidecar(ctr):
            if not _sidecar(ctr, last, seen, actions) and not passed:
                return False
        elif not initialized and not _init_container(pod, ctr, last, seen, actions):
            return False
    return True


def _sidecar(ctr: Object, last: Container | None, seen: Observed, actions: PodActions) -> bool:
    """Whether it runs and has started."""
    name = ctr["name"]
    if name in seen.busy:
        return False
    if last is None or last.state is not ContainerState.RUNNING:
        _kill_unknown(last, actions)
        actions.start.append(name)
        return False
    kill = _reason_to_kill(ctr, last, seen, "Init container")
    if kill is not None:
        actions.kill.append(kill)
        return False
    return seen.is_started(name)


def _init_container(pod: Object, ctr: Object, last: Container | None, seen: Observed, actions: PodActions) -> bool:
    """Whether it has succeeded."""
    name = ctr["name"]
    if name in seen.busy:
        return False
    if last is None or last.state is ContainerState.UNKNOWN or last.state is ContainerState.CREATED:
        _kill_unknown(last, actions)
        actions.start.append(name)
        return False
    if last.state is ContainerState.RUNNING:
        return False
    if last.exit_code == 0:
        return True
    if should_restart(pod, ctr, last.exit_code):
        actions.start.append(name)
    else:
        actions.kill_pod = actions.finished = True
    return False


def _kill_unknown(last: Container | None, actions: PodActions) -> None:
    if last is not None and last.state is ContainerState.UNKNOWN:
        text = f'Container is in "{last.state.value}" state, try killing it before restart'
        actions.kill.append(Kill(last.id, last.name, text))


def _reason_to_kill(ctr: Object, running: Container, seen: Observed, what: str = "Container") -> Kill | None:
    name = ctr["name"]
    written = running.annotations.get(labels.CONTAINER_HASH, "")
    if written and written != labels.container_hash(ctr):
        return Kill(running.id, name, f"{what} {name} definition changed")
    failed = seen.probe_failures.get(running.id)
    if failed is not None:
        return Kill(running.id, name, f"{what} {name} failed {failed.value} probe", failed)
    return None


def _main_containers(pod: Object, seen: Observed, actions: PodActions) -> None:
    kept = 0
    starting = []
    for ctr in pods.containers(pod):
        name = ctr["name"]
        last = seen.runtime.latest(name)
        if name in seen.busy:
            kept += 1
        elif last is None or last.state is not ContainerState.RUNNING:
            if _wants_to_run(pod, ctr, last):
                _kill_unknown(last, actions)
                starting.append(name)
        else:
            kill = _reason_to_kill(ctr, last, seen)
            kept += 1
            if kill is not None:
                # After a failed probe its exit leads to the next round, where its restart policy decides.
                changed = kill.probe is None
                again = changed or should_restart(pod, ctr, 137)
                message = kill.message + (", will be restarted" if again else "")
                actions.kill.append(Kill(kill.container_id, name, message, kill.probe, start_again=changed))
    if not kept and not starting:
        actions.kill_pod = actions.finished = True
        actions.start.clear()
    actions.start += starting
