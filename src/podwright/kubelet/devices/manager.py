"""Device plugins: who is registered, which devices there are, and who has them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from podwright.api import objects, pods, quantity
from podwright.api.objects import Object
from podwright.api.validation.pod_resources import is_extended
from podwright.client.backoff import Backoff
from podwright.client.clock import Clock
from podwright.kubelet.devices.ledger import FILE, Allocation, Ledger
from podwright.kubelet.plugins.registration import BadPlugin, Plugin
from podwright.kubelet.plugins.serving import CallRefused, serve
from podwright.kubelet.plugins.sockets import PluginFailure, PluginSocket
from podwright.runtime.protocol import Device, Mount

log = logging.getLogger(__name__)

VERSION = "v1beta1"
STOPPED_GRACE = 300.0
"""Seconds for which a resource is still told of whose plugin has gone (upstream's endpointStopGracePeriod)."""
_SERVICE = "v1beta1.DevicePlugin"
_HEALTHY = "Healthy"
_TIMEOUT = 10.0


class DevicesUnavailable(Exception):
    """A container cannot have the devices that it asks for."""


@dataclass(slots=True)
class _Resource:
    """`socket` is open as long as the plugin lives; `task` stands for it, or waits for it to come back."""

    devices: dict[str, Object] = field(default_factory=dict)
    socket: PluginSocket | None = None
    options: Object = field(default_factory=dict)
    task: asyncio.Task[None] | None = None

    def healthy(self) -> set[str]:
        return {name for name, device in self.devices.items() if device.get("health") == _HEALTHY}


@dataclass(frozen=True, slots=True)
class Needs:
    """What a container gets with its devices."""

    env: Mapping[str, str] = field(default_factory=dict)
    mounts: Sequence[Mount] = ()
    devices: Sequence[Device] = ()
    annotations: Mapping[str, str] = field(default_factory=dict)
    cdi: Sequence[str] = ()
    """Names of CDI devices."""


class DeviceManager:
    """`changed` is given (capacity, allocatable) of all resources of plugins whenever they are other ones. Run
    :meth:`run` as a task."""

    def __init__(
        self, directory: Path, clock: Clock, changed: Callable[[dict[str, str], dict[str, str]], None]
    ) -> None:
        self.directory = directory
        self._clock = clock
        self._changed = changed
        self._ledger = Ledger.read(directory / FILE)
        self._resources = {name: _Resource() for name in self._ledger.resources}
        self._gone: set[str] = set()
        self._group: asyncio.TaskGroup | None = None

    async def run(self) -> None:
        """Until cancelled. Sockets of plugins are removed first: by that they learn that they must register anew."""
        self._clear()
        self._tell()
        async with asyncio.TaskGroup() as group:
            self._group = group
            for name, resource in self._resources.items():
                resource.task = group.create_task(self._await_return(name, resource), name=f"devices {name}")
            await serve(
                self.directory / "kubelet.sock",
                "v1beta1.Registration",
                {"Register": ("v1beta1.RegisterRequest", "v1beta1.Empty", self._asked)},
            )

    def _clear(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o750)
        for path in self.directory.iterdir():
            if path.is_socket():
                path.unlink(missing_ok=True)

    # Plugins.

    async def _asked(self, request: Object) -> Object:
        """Registration.Register. A plugin may begin to serve only after the answer."""
        name, endpoint = request.get("resource_name", ""), request.get("endpoint", "")
        if request.get("version") != VERSION:
            raise CallRefused(
                f'requested API version "{request.get("version", "")}" is not supported by kubelet. '
                f'Supported version is ["{VERSION}"]'
            )
        if not is_extended(name):
            raise CallRefused(f'the ResourceName "{name}" is invalid')
        if not endpoint or "/" in endpoint:
            raise CallRefused(f'the endpoint "{endpoint}" is no file name')
        self._begin(name, self.directory / endpoint, dict(request.get("options") or {}))
        return {}

    async def register(self, plugin: Plugin) -> None:
        """A plugin of type DevicePlugin in the plugin registry. Raises BadPlugin, PluginFailure."""
        if VERSION not in plugin.versions:
            raise BadPlugin(f"device plugin supports no version of {VERSION}: {', '.join(plugin.versions)}")
        if not is_extended(plugin.name):
            raise BadPlugin(f'invalid name of device plugin socket: "{plugin.name}"')
        async with PluginSocket(plugin.endpoint) as socket:
            options = await socket.call(_SERVICE, "GetDevicePluginOptions", {}, timeout=_TIMEOUT)
        self._begin(plugin.name, plugin.endpoint, options)

    async def deregister(self, plugin: Plugin) -> None:
        name = plugin.name
        resource = self._resources.get(name)
        if resource is not None and resource.task is not None and self._group is not None:
            resource.task.cancel()
            resource.task = self._group.create_task(self._await_return(name, resource), name=f"devices {name}")

    def _begin(self, name: str, path: Path, options: Object) -> None:
        assert self._group is not None
        before = self._resources.get(name)
        if before is not None and before.task is not None:
            before.task.cancel()
        # Until it has listed them itself, it can give none.
        known = {i: {**d, "health": "Unhealthy"} for i, d in (before.devices if before else {}).items()}
        resource = _Resource(known, None, options)
        self._resources[name] = resource
        self._gone.discard(name)
        resource.task = self._group.create_task(self._follow(name, path, resource), name=f"devices {name}")
        if name not in self._ledger.resources:
            self._ledger.resources.add(name)
            self._note()

    async def _follow(self, name: str, path: Path, resource: _Resource) -> None:
        """As long as the plugin lives, and a while after."""
        backoff = Backoff(first=0.02, maximum=1.0)
        until = self._clock.monotonic() + _TIMEOUT
        listed = False

        def seen(answer: Object) -> None:
            nonlocal listed
            listed = True
            resource.socket = socket
            resource.devices = {d.get("ID", ""): d for d in answer.get("devices") or ()}
            self._tell()

        while True:
            try:
                async with PluginSocket(path) as socket:
                    await socket.stream(_SERVICE, "ListAndWatch", {}, seen)
                log.warning("device plugin of %s has ended its list", name)
            except PluginFailure as failed:
                log.warning("device plugin of %s: %s", name, failed)
            finally:
                resource.socket = None
            if listed or self._clock.monotonic() >= until:
                break
            await self._clock.sleep(backoff.next())
        await self._await_return(name, resource)

    async def _await_return(self, name: str, resource: _Resource) -> None:
        """Without its plugin a resource has no device that can be given; later it is none of this node's."""
        for device in resource.devices.values():
            device["health"] = "Unhealthy"
        self._tell()
        await self._clock.sleep(STOPPED_GRACE)
        log.warning("resource %s has lost its device plugin for good", name)
        del self._resources[name]
        self._gone.add(name)
        self._ledger.resources.discard(name)
        self._note()
        self._tell()

    def _note(self) -> None:
        """Which resources there are is worth no failure: at the worst one that is gone is told of for a while."""
        try:
            self._ledger.write()
        except OSError as failed:
            log.warning("%s: %s", self._ledger.file, failed)

    def _tell(self) -> None:
        gone = dict.fromkeys(self._gone, "0")
        self._changed(
            {**gone, **{name: str(len(r.devices)) for name, r in self._resources.items()}},
            {**gone, **{name: str(len(r.healthy())) for name, r in self._resources.items()}},
        )

    def allocatable(self) -> Iterator[tuple[str, Sequence[Object]]]:
        """(resource, its healthy devices)"""
        for name, resource in self._resources.items():
            yield name, [resource.devices[i] for i in sorted(resource.healthy())]

    # Pods.

    def obstacle(self, pod: Object) -> str:
        """Why the Pod's containers cannot have their devices, "" if they can."""
        try:
            self._choose(pod)
        except DevicesUnavailable as why:
            return str(why)
        return ""

    def reserve(self, pod: Object) -> None:
        """Sets devices aside for the Pod. Raises DevicesUnavailable, OSError."""
        chosen = self._choose(pod)
        if chosen:
            self._ledger.pods[objects.uid(pod)] = chosen
            self._ledger.write()

    def _choose(self, pod: Object) -> dict[str, dict[str, Allocation]]:
        """What has ended before the other containers start leaves them its devices."""
        uid = objects.uid(pod)
        before = self._ledger.pods.get(uid, {})
        chosen: dict[str, dict[str, Allocation]] = {}
        free: dict[str, set[str]] = {}
        left: dict[str, set[str]] = {}
        for ctr in (*pods.init_containers(pod), *pods.containers(pod)):
            for name, count in _asks(ctr):
                resource = self._resources.get(name)
                if resource is None or not count:
                    continue
                healthy = resource.healthy()
                known = before.get(ctr["name"], {}).get(name)
                if known is not None and len(known.ids) == count:
                    if not healthy.issuperset(known.ids):
                        raise DevicesUnavailable(
                            f"no healthy devices present; cannot allocate unhealthy devices {name}"
                        )
                    chosen.setdefault(ctr["name"], {})[name] = known
                    continue
                if name not in free:
                    free[name] = healthy - self._ledger.taken(name, but=uid) - _of(before, name)
                reusable = left.setdefault(name, set())
                ids = [*sorted(reusable), *sorted(free[name])][:count]
                if len(ids) < count:
                    raise DevicesUnavailable(
                        f"requested number of devices unavailable for {name}. Requested: {count}, "
                        f"Available: {len(ids)}"
                    )
                free[name] -= set(ids)
                ends = pods.is_init(pod, ctr["name"]) and not pods.is_sidecar(ctr)
                left[name] = reusable | set(ids) if ends else reusable - set(ids)
                chosen.setdefault(ctr["name"], {})[name] = Allocation(ids)
        return chosen

    async def allocate(self, pod: Object) -> None:
        """Has the plugins hand over what is reserved, once for each container. Raises DevicesUnavailable, OSError."""
        uid = objects.uid(pod)
        for container, name, allocation in list(self._ledger.of_pod(uid)):
            if allocation.response is None:
                await self._allocate(uid, container, name, allocation)
                self._ledger.write()

    async def _allocate(self, uid: str, container: str, name: str, allocation: Allocation) -> None:
        resource = self._resources.get(name)
        if resource is None or resource.socket is None:
            raise DevicesUnavailable(f"no healthy devices present; cannot allocate unhealthy devices {name}")
        try:
            if resource.options.get("get_preferred_allocation_available"):
                await self._prefer(uid, container, name, allocation, resource.socket)
            asked = {"container_requests": [{"devices_ids": allocation.ids}]}
            answer = await resource.socket.call(_SERVICE, "Allocate", asked, timeout=_TIMEOUT)
        except PluginFailure as failed:
            raise DevicesUnavailable(str(failed)) from failed
        responses: Sequence[Object] = answer.get("container_responses") or ()
        if len(responses) != 1:
            raise DevicesUnavailable(f"device plugin of {name} answered for {len(responses)} containers, not for one")
        allocation.response = responses[0]

    async def _prefer(
        self, uid: str, container: str, name: str, allocation: Allocation, socket: PluginSocket
    ) -> None:
        """Takes the devices that the plugin would rather give, if they are still free when it has said so."""

        def free() -> set[str]:
            others = {c: r for c, r in self._ledger.pods.get(uid, {}).items() if c != container}
            taken = self._ledger.taken(name, but=uid) | _of(others, name)
            return self._resources[name].healthy() - taken

        if not free().issuperset(allocation.ids):
            # An init container's that has ended: they are what there is.
            return
        asked = {"available_deviceIDs": sorted(free()), "allocation_size": len(allocation.ids)}
        answer = await socket.call(
            _SERVICE, "GetPreferredAllocation", {"container_requests": [asked]}, timeout=_TIMEOUT
        )
        wanted = ((answer.get("container_responses") or [{}])[0]).get("deviceIDs") or []
        if len(set(wanted)) == len(allocation.ids) and free().issuperset(wanted):
            allocation.ids = list(wanted)

    async def before_start(self, uid: str, container: str) -> None:
        """Plugins that prepare their devices for each start do. Raises DevicesUnavailable."""
        for name, allocation in self._ledger.pods.get(uid, {}).get(container, {}).items():
            resource = self._resources.get(name)
            if resource is None or not resource.options.get("pre_start_required"):
                continue
            if resource.socket is None:
                raise DevicesUnavailable(f"the device plugin of {name} is gone")
            try:
                await resource.socket.call(
                    _SERVICE, "PreStartContainer", {"devices_ids": allocation.ids}, timeout=30.0
                )
            except PluginFailure as failed:
                raise DevicesUnavailable(f"device plugin PreStartContainer rpc failed with err: {failed}") from failed

    def needs(self, uid: str, container: str) -> Needs:
        """What the container is made with."""
        found = [a.response or {} for a in self._ledger.pods.get(uid, {}).get(container, {}).values()]
        return Needs(
            env={k: v for r in found for k, v in (r.get("envs") or {}).items()},
            mounts=[
                Mount(m["container_path"], m.get("host_path", ""), readonly=bool(m.get("read_only")))
                for r in found for m in r.get("mounts") or ()
            ],
            devices=[
                Device(d["host_path"], d.get("container_path") or d["host_path"], d.get("permissions") or "mrw")
                for r in found for d in r.get("devices") or ()
            ],
            annotations={k: v for r in found for k, v in (r.get("annotations") or {}).items()},
            cdi=[c["name"] for r in found for c in r.get("cdi_devices") or ()],
        )  # fmt: skip

    def of_container(self, uid: str, container: str) -> Iterator[tuple[str, Sequence[Object]]]:
        """(resource, the devices that the container has)"""
        for name, allocation in self._ledger.pods.get(uid, {}).get(container, {}).items():
            resource = self._resources.get(name)
            yield name, [(resource.devices.get(i) if resource else None) or {"ID": i} for i in allocation.ids]

    def health(self, uid: str, container: str) -> list[Object]:
        """The container's allocatedResourcesStatus (KEP-4680): Unknown is what no plugin tells of any more."""
        found = []
        for name, allocation in self._ledger.pods.get(uid, {}).get(container, {}).items():
            resource = self._resources.get(name) or _Resource()
            told = {i: resource.devices.get(i, {}).get("health", "Unknown") for i in allocation.ids}
            found.append({"name": name, "resources": [{"resourceID": i, "health": h} for i, h in told.items()]})
        return found

    def users(self) -> list[str]:
        """The Pods that have devices, by uid."""
        return list(self._ledger.pods)

    def release(self, uid: str) -> None:
        """Nothing of the Pod runs any more. Raises OSError."""
        if self._ledger.pods.pop(uid, None) is not None:
            self._ledger.write()

    def retain(self, uids: set[str]) -> None:
        """Devices of all other Pods are free. Raises OSError."""
        for uid in set(self._ledger.pods) - uids:
            self.release(uid)


def _asks(ctr: Object) -> Iterator[tuple[str, int]]:
    resources = ctr.get("resources") or {}
    for name, amount in {**(resources.get("requests") or {}), **(resources.get("limits") or {})}.items():
        yield name, quantity.value(amount)


def _of(containers: Mapping[str, Mapping[str, Allocation]], name: str) -> set[str]:
    return {i for each in containers.values() if name in each for i in each[name].ids}
