"""In-place resize of a running Pod (KEP-1287): what its spec asks for now, what the node has allocated, and what its
containers really have.

The allocation outlives the kubelet: it is written to a file when a resize is accepted; before the first one it is what
the containers were made with.
"""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path

from podwright.api import objects, pods, quantity
from podwright.api.objects import Object, deepcopy
from podwright.api.pods import GUARANTEED, qos_class
from podwright.client.events import NORMAL, WARNING
from podwright.kubelet import labels
from podwright.kubelet.containers.resources import (
    DISK_PREFIX,
    container_resources,
    pod_requests_limits,
    pod_resources,
)
from podwright.kubelet.cpu_manager import STATIC
from podwright.kubelet.sync.actions import Kill
from podwright.kubelet.sync.container_work import ContainerWork
from podwright.kubelet.worker_context import WorkerContext
from podwright.runtime.protocol import Container, ContainerState, RuntimeFailure

log = logging.getLogger(__name__)

_KINDS = ("initContainers", "containers")


def _resizable(name: str) -> bool:
    return name in ("cpu", "memory") or name.startswith(DISK_PREFIX)


def _part(resources: Object) -> Object:
    """What of a container's resources can be changed in place."""
    return {
        which: {n: a for n, a in (resources.get(which) or {}).items() if _resizable(n)}
        for which in ("requests", "limits")
        if resources.get(which)
    }


class Resizer:
    """Of one Pod, `admitted` as it was when its worker began; the worker alone calls it."""

    def __init__(self, context: WorkerContext, admitted: Object) -> None:
        self._context = context
        self._admitted = admitted
        self._uid = objects.uid(admitted)
        self._file: Path = context.config.data_dir / "allocations" / f"{self._uid}.json"
        self._allocation: Object | None = None
        self._loaded = False
        self._applied: dict[str, Object] = {}
        self._pending: tuple[str, str] | None = None
        self._error = ""
        self._in_progress = False
        self._restarting: dict[str, str] = {}
        """Containers that are restarted for their new resources → the id of the one that ends."""
        self._pod_changed = False
        self._cached: tuple[Object, Object] | None = None

    def allocated(self, pod: Object) -> Object:
        """The Pod with the resources that the node has allocated to it."""
        self._load()
        if self._allocation is None:
            return pod
        if self._cached is not None and self._cached[0] is pod:
            return self._cached[1]
        changed = deepcopy(pod)
        for kind in _KINDS:
            for ctr in changed["spec"].get(kind) or ():
                if ctr["name"] in self._allocation["containers"]:
                    ctr["resources"] = self._allocation["containers"][ctr["name"]]
        if self._allocation.get("pod") is not None:
            changed["spec"]["resources"] = self._allocation["pod"]
        self._cached = (pod, changed)
        return changed

    def _load(self) -> None:
        if self._loaded:
            return
        self._loaded = True
        try:
            self._allocation = json.loads(self._file.read_text())
            # The kubelet that wrote it may have died before it acted on it.
            self._pod_changed = True
            return
        except FileNotFoundError:
            pass
        except (OSError, ValueError) as broken:
            log.warning("allocation of Pod %s cannot be read: %s", self._uid, broken)
        running = {c.name: c for c in reversed(self._context.cache.pod(self._uid).running())}
        if running:
            made = {n: json.loads(c.annotations.get(labels.RESOURCES, "{}")) for n, c in running.items()}
            self._allocation = {"containers": made, "pod": None}

    async def sync(self, pod: Object, work: ContainerWork) -> None:
        """Accepts or puts off what the spec asks for, and brings running containers to what is allocated."""
        if self._wants_change(pod):
            self._decide(pod)
        if self._allocation is not None:
            await self._actuate(self.allocated(pod), work)

    def _wants_change(self, pod: Object) -> bool:
        self._load()
        if self._allocation is None:
            if self._context.cache.pod(self._uid).sandbox is None:
                return False
            self._allocation = self._of(self._admitted)
        current = self.allocated(pod)
        differs = any(
            _part(new.get("resources") or {}) != _part(old.get("resources") or {})
            for kind in _KINDS
            for new, old in zip(pod["spec"].get(kind) or (), current["spec"].get(kind) or (), strict=False)
        )
        if not differs and (pod["spec"].get("resources") or {}) == (current["spec"].get("resources") or {}):
            self._pending = None
            return False
        return True

    @staticmethod
    def _of(pod: Object) -> Object:
        return {
            "containers": {c["name"]: c.get("resources") or {} for k in _KINDS for c in pod["spec"].get(k) or ()},
            "pod": pod["spec"].get("resources"),
        }

    def _decide(self, pod: Object) -> None:
        before, self._pending = self._pending, self._obstacle(pod)
        if self._pending is not None:
            reason, message = self._pending
            if self._pending != before:
                self._tell(WARNING, f"Resize{reason}", f"Pod resize {reason}", pod, error=message)
            return
        last, self._allocation = self._allocation, self._of(pod)
        self._pod_changed |= last is None or last["pod"] != self._allocation["pod"]
        self._cached = None
        self._in_progress = True
        self._tell(NORMAL, "ResizeStarted", "Pod resize started", pod)
        self._file.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._file.with_suffix(".new")
        temporary.write_text(json.dumps(self._allocation))
        temporary.rename(self._file)

    def _obstacle(self, pod: Object) -> tuple[str, str] | None:
        """(reason, message) of PodResizePending, None if the node has room."""
        if pods.is_static(pod):
            return "Infeasible", "In-place resize of static-pods is not supported"
        if self._context.manager.cpus.policy == STATIC and qos_class(pod) == GUARANTEED:
            return "Infeasible", "Resize is infeasible for Guaranteed Pods alongside CPU Manager static policy"
        wanted, _ = pod_requests_limits(pod)
        node = self._context.node.allocatable
        used: dict[str, str] = {}
        for other in self._context.others(self._uid):
            for name, amount in pod_requests_limits(other)[0].items():
                used[name] = quantity.add(used.get(name, "0"), amount)
        for name, amount in wanted.items():
            if not _resizable(name) or name not in node:
                continue
            scale = quantity.milli if name == "cpu" else quantity.value
            have, taken, asked = scale(node[name]), scale(used.get(name, "0")), scale(amount)
            if asked > have:
                text = f"Node didn't have enough capacity: {name}, requested: {asked}, capacity: {have}"
                return "Infeasible", text
            if asked + taken > have:
                text = f"Node didn't have enough resource: {name}, requested: {asked}, used: {taken}, capacity: {have}"
                return "Deferred", text
        return None

    async def _actuate(self, pod: Object, work: ContainerWork) -> None:
        found = self._context.cache.pod(self._uid)
        if found.sandbox is None:
            return
        busy = work.jobs.names()
        self._restarting = {
            name: old for name, old in self._restarting.items()
            if name in busy or (now := found.latest(name, found.sandbox.id)) is None or now.id == old
        }  # fmt: skip
        changes = []
        for kind in _KINDS:
            for ctr in pod["spec"].get(kind) or ():
                container = found.latest(ctr["name"], found.sandbox.id)
                if container is None or container.state is not ContainerState.RUNNING or ctr["name"] in busy:
                    continue
                if self._pod_changed or _part(self._has(container)) != _part(ctr.get("resources") or {}):
                    changes.append((ctr, container))
        if not changes and not self._pod_changed:
            self._finish(pod)
            return
        self._error = ""
        self._pod_changed = True
        try:
            # The Pod's own limits grow before its containers' and shrink after them: they hold for both orders
            # because a Pod's group that is too small would be the only one to refuse.
            await self._grow_pod(pod, found.sandbox.id)
            for ctr, container in changes:
                if _needs_restart(ctr, self._has(container)):
                    self._restarting[ctr["name"]] = container.id
                    message = f"Container {ctr['name']} resize requires restart"
                    work.kill(Kill(container.id, ctr["name"], message, start_again=True))
                    continue
                resources = container_resources(pod, ctr, self._context.node.policy, lift=True)
                await self._context.runtime.update_container_resources(container.id, resources)
                self._applied[container.id] = ctr.get("resources") or {}
            if self._restarting:
                return  # The kernel would not let the Pod have less than those that end still have.
            node = self._context.node
            whole = pod_resources(pod, node.policy, node.allocatable, lift=True)
            await self._context.runtime.update_pod_resources(found.sandbox.id, whole)
            await self._context.manager.weigh()
            self._pod_changed = False
        except RuntimeFailure as failed:
            self._error = str(failed)
            self._tell(WARNING, "ResizeError", "Pod resize error", pod, error=self._error)
            return
        self._finish(pod)

    def _finish(self, pod: Object) -> None:
        """A resize is over when every container that runs has what is allocated to it."""
        if self._in_progress and not self._error and not self._restarting:
            self._in_progress = False
            self._tell(NORMAL, "ResizeCompleted", "Pod resize completed", pod)

    async def _grow_pod(self, pod: Object, sandbox_id: str) -> None:
        """Lifts the Pod's limits while its containers change."""
        lifted = replace(pod_resources(pod, self._context.node.policy), memory_limit=-1, cpu_quota=-1)
        await self._context.runtime.update_pod_resources(sandbox_id, lifted)

    def _has(self, container: Container) -> Object:
        """The resources that the container was made with or last given."""
        known = self._applied.get(container.id)
        if known is None:
            try:
                known = dict(json.loads(container.annotations.get(labels.RESOURCES, "{}")))
            except ValueError:
                known = {}
        return known

    def actual(self, ctr: Object, container: Container | None) -> Object:
        """status.containerStatuses[].resources."""
        allocated: Object = ctr.get("resources") or {}
        if container is None or container.state is not ContainerState.RUNNING:
            return allocated
        has = self._has(container)
        return {**allocated, **{k: v for k, v in has.items() if k in ("requests", "limits")}}

    def _tell(self, kind: str, reason: str, words: str, pod: Object, **more: str) -> None:
        """An event with the resources in question, in upstream's form."""
        told: Object = {
            k: [{"name": c["name"], "resources": c.get("resources") or {}} for c in pod["spec"][k]]
            for k in _KINDS
            if pod["spec"].get(k)
        }
        told |= {"generation": int(pod["metadata"].get("generation") or 0), **more}
        text = json.dumps(told, separators=(",", ":"))
        self._context.recorder.event(pod, kind, reason, f"{words}: {text}")

    def conditions(self) -> list[Object]:
        """PodResizePending and PodResizeInProgress."""
        found: list[Object] = []
        if self._pending is not None:
            reason, message = self._pending
            found.append({"type": "PodResizePending", "status": "True", "reason": reason, "message": message})
        if self._in_progress or self._error:
            condition: Object = {"type": "PodResizeInProgress", "status": "True"}
            if self._error:
                condition |= {"reason": "Error", "message": self._error}
            found.append(condition)
        return found

    def forget(self) -> None:
        """The Pod is gone."""
        self._file.unlink(missing_ok=True)


def _needs_restart(ctr: Object, has: Object) -> bool:
    """Whether a resource changes whose resizePolicy says RestartContainer."""
    wanted = ctr.get("resources") or {}
    for policy in ctr.get("resizePolicy") or ():
        if policy.get("restartPolicy") != "RestartContainer":
            continue
        name = policy["resourceName"]
        for which in ("requests", "limits"):
            if (wanted.get(which) or {}).get(name) != (has.get(which) or {}).get(name):
                return True
    return False
