"""Dynamic resource allocation on the node (KEP-4381): the drivers of a Pod's ResourceClaims prepare what the scheduler
has allocated, and say by which CDI devices containers get it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from weakref import WeakValueDictionary

import orjson

from podwright.api import objects
from podwright.api.objects import Object
from podwright.api.resources import RESOURCECLAIMS, RESOURCESLICES
from podwright.api.status import ApiError
from podwright.client.backoff import Backoff
from podwright.client.client import Client
from podwright.client.clock import Clock
from podwright.client.transport import ServerUnreachable
from podwright.kubelet.plugins.registration import BadPlugin, Plugin
from podwright.kubelet.plugins.sockets import PluginFailure, PluginSocket
from podwright.runtime import atomic

log = logging.getLogger(__name__)

FILE = "dra_manager_state"
"""Upstream's name of the file; what is in it is our own."""
SERVICE = "k8s.io.kubelet.pkg.apis.dra.v1.DRAPlugin"
VERSION = "v1.DRAPlugin"
GONE_GRACE = 30.0
"""Seconds after which the ResourceSlices of a driver go that is not here (any more)."""
_TIMEOUT = 45.0


HEALTH = "v1.DRAResourceHealth"
"""The service by which a driver may tell how its devices are (KEP-4680)."""
_HEALTH = ("Unknown", "Healthy", "Unhealthy")
_HEALTH_LASTS = 30.0
"""Seconds, where the driver does not say."""


class ClaimFailure(Exception):
    """The Pod's claims cannot be prepared, or given back, yet."""


@dataclass(slots=True)
class Claim:
    """A claim that Pods here use. `prepared`: driver → the devices that it told of."""

    namespace: str
    name: str
    uid: str
    drivers: list[str]
    pods: list[str] = field(default_factory=list)
    prepared: dict[str, list[Object]] = field(default_factory=dict)

    def devices(self, request: str = "") -> Iterator[tuple[str, Object]]:
        """(driver, device) of one of the claim's requests, or of all."""
        for driver, devices in self.prepared.items():
            for device in devices:
                names = [n.partition("/")[0] for n in device.get("request_names") or ()]
                if not request or not names or request in names:
                    yield driver, device


class ClaimManager:
    """Run :meth:`run` as a task: it clears away what drivers that are gone have left in the API. `changed` is called
    when devices are better or worse than before."""

    def __init__(
        self, directory: Path, node: str, client: Client, clock: Clock, changed: Callable[[], None]
    ) -> None:
        self._file = directory / FILE
        self._node = node
        self._client = client
        self._clock = clock
        self._drivers: dict[str, Plugin] = {}
        self._claims = _read(self._file)
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._changed = changed
        self._group: asyncio.TaskGroup | None = None
        self._watches: dict[str, asyncio.Task[None]] = {}
        self._health: dict[str, dict[tuple[str, str], tuple[str, float]]] = {}
        """Driver → pool and device → how it is, and until when that counts."""
        self._gone = asyncio.Event()
        self._gone.set()

    # Drivers.

    async def register(self, plugin: Plugin) -> None:
        """A plugin of type DRAPlugin in the plugin registry. Raises BadPlugin."""
        if VERSION not in plugin.versions:
            raise BadPlugin(f"none of the DRA gRPC API versions of {plugin.name} is {VERSION}: {plugin.versions}")
        self._drivers[plugin.name] = plugin
        self._watch(plugin)
        for claim in [c for c in self._claims.values() if not c.pods and plugin.name in c.drivers]:
            try:
                await self._unprepare(claim)
            except (ClaimFailure, OSError) as failed:
                log.warning("claim %s/%s: %s", claim.namespace, claim.name, failed)

    async def deregister(self, plugin: Plugin) -> None:
        # While a driver is updated its successor registers before it goes itself.
        if self._drivers.get(plugin.name) == plugin:
            del self._drivers[plugin.name]
            if plugin.name in self._watches:
                self._watches.pop(plugin.name).cancel()
            self._gone.set()

    def _watch(self, plugin: Plugin) -> None:
        """How its devices are, from now on, if it tells."""
        if plugin.name in self._watches:
            self._watches.pop(plugin.name).cancel()
        if HEALTH in plugin.versions and self._group is not None:
            watch = self._group.create_task(self._follow_health(plugin), name=f"health {plugin.name}")
            self._watches[plugin.name] = watch

    async def _follow_health(self, plugin: Plugin) -> None:
        backoff = Backoff(first=1.0, maximum=30.0)

        def seen(answer: Object) -> None:
            backoff.reset()
            now, told = self._clock.monotonic(), {}
            for entry in answer.get("devices") or ():
                device = entry.get("device") or {}
                lasts = max(0, entry.get("health_check_timeout_seconds") or 0) or _HEALTH_LASTS
                health = _HEALTH[entry.get("health", 0)] if entry.get("health", 0) < len(_HEALTH) else _HEALTH[0]
                told[device.get("pool_name", ""), device.get("device_name", "")] = health, now + lasts
            before, self._health[plugin.name] = self._health.get(plugin.name, {}), told
            if {k: h for k, (h, _) in before.items()} != {k: h for k, (h, _) in told.items()}:
                self._changed()

        try:
            while True:
                try:
                    async with PluginSocket(plugin.endpoint) as socket:
                        await socket.stream(HEALTH, "NodeWatchResources", {}, seen)
                except PluginFailure as failed:
                    log.warning("health of devices of %s: %s", plugin.name, failed)
                seen({})
                await self._clock.sleep(backoff.next())
        finally:
            if self._health.pop(plugin.name, None):
                self._changed()

    def health(self, pod: Object, ctr: Object) -> list[Object]:
        """allocatedResourcesStatus of the container's claimed devices."""
        found = []
        for entry in (ctr.get("resources") or {}).get("claims") or ():
            request = entry.get("request") or ""
            resources = []
            for _, driver, device in self.of_container(pod, {"resources": {"claims": [entry]}}):
                key = device.get("pool_name", ""), device.get("device_name", "")
                health, until = self._health.get(driver, {}).get(key, (_HEALTH[0], 0.0))
                known = health if self._clock.monotonic() < until else _HEALTH[0]
                resources.append({"resourceID": "/".join((driver, *key)), "health": known})
            if resources:
                found.append({"name": "/".join(filter(None, (f"claim:{entry['name']}", request))),
                              "resources": resources})  # fmt: skip
        return found

    def users(self) -> set[str]:
        """The Pods that have claims, by uid."""
        return {uid for claim in self._claims.values() for uid in claim.pods}

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            for plugin in self._drivers.values():
                self._watch(plugin)
            await self._clear_away()

    async def _clear_away(self) -> None:
        while True:
            await self._gone.wait()
            self._gone.clear()
            await self._clock.sleep(GONE_GRACE)
            try:
                await self._clear_slices()
            except (ApiError, ServerUnreachable) as failed:
                log.warning("ResourceSlices of drivers that are gone: %s", failed)
                self._gone.set()

    async def _clear_slices(self) -> None:
        mine = await self._client.items(RESOURCESLICES, field_selector=f"spec.nodeName={self._node}")
        for each in mine:
            if each["spec"]["driver"] not in self._drivers:
                try:
                    await self._client.delete(RESOURCESLICES, objects.name(each), uid=objects.uid(each))
                except ApiError as refused:
                    if refused.code not in (404, 409):
                        raise

    async def _call(self, driver: str, method: str, claim: Claim) -> Object:
        """The driver's answer about one claim. Raises ClaimFailure."""
        plugin = self._drivers.get(driver)
        if plugin is None:
            raise ClaimFailure(f"DRA driver {driver} is not registered")
        asked = {"namespace": claim.namespace, "uid": claim.uid, "name": claim.name}
        try:
            async with PluginSocket(plugin.endpoint) as socket:
                answer = await socket.call(SERVICE, method, {"claims": [asked]}, timeout=_TIMEOUT)
        except PluginFailure as failed:
            raise ClaimFailure(f"{method} failed: {failed}") from failed
        told: Object | None = (answer.get("claims") or {}).get(claim.uid)
        if told is None:
            raise ClaimFailure(f"{method} skipped 1 ResourceClaims")
        if told.get("error"):
            raise ClaimFailure(f"{method} failed for ResourceClaim {claim.name}: {told['error']}")
        return told

    # Pods.

    async def prepare(self, pod: Object) -> None:
        """Has all claims of the Pod prepared that are not yet. Raises ClaimFailure, OSError."""
        for word, name in _names(pod):
            if not name:
                raise ClaimFailure(f"ResourceClaim not created yet for claim {word} of pod {objects.name(pod)}")
            if any(known.prepared.keys() >= set(known.drivers) for known in self._of(pod, name)):
                continue
            claim = await self._allocated(pod, name)
            async with self._lock(claim.uid):
                known = self._claims.setdefault(claim.uid, claim)
                if objects.uid(pod) not in known.pods:
                    known.pods.append(objects.uid(pod))
                    # Written first: what a driver has begun must be taken back by whoever comes after us.
                    self._write()
                for driver in known.drivers:
                    if driver not in known.prepared:
                        answer = await self._call(driver, "NodePrepareResources", known)
                        known.prepared[driver] = answer.get("devices") or []
                        self._write()

    async def _allocated(self, pod: Object, name: str) -> Claim:
        namespace, uid = objects.namespace(pod), objects.uid(pod)
        try:
            claim = await self._client.get(RESOURCECLAIMS, name, namespace=namespace)
        except (ApiError, ServerUnreachable) as failed:
            who = f"referenced by pod {objects.name(pod)}"
            raise ClaimFailure(f"failed to fetch ResourceClaim {name} {who}: {failed}") from failed
        status = claim.get("status") or {}
        if all(user.get("uid") != uid for user in status.get("reservedFor") or ()):
            raise ClaimFailure(
                f"pod {objects.name(pod)} ({uid}) is not allowed to use ResourceClaim {name} ({objects.uid(claim)})"
            )
        results = ((status.get("allocation") or {}).get("devices") or {}).get("results") or ()
        return Claim(namespace, name, objects.uid(claim), list(dict.fromkeys(r["driver"] for r in results)))

    def _lock(self, uid: str) -> asyncio.Lock:
        return self._locks.setdefault(uid, asyncio.Lock())

    def of_container(self, pod: Object, ctr: Object) -> Iterator[tuple[Claim, str, Object]]:
        """(claim, driver, device) for each device that the container gets."""
        names = dict(_names(pod))
        for entry in (ctr.get("resources") or {}).get("claims") or ():
            for claim in self._of(pod, names.get(entry["name"], "")):
                for driver, device in claim.devices(entry.get("request") or ""):
                    yield claim, driver, device

    def _of(self, pod: Object, name: str) -> list[Claim]:
        """The Pod's claim of that name, if it has begun to be prepared."""
        return [c for c in self._claims.values() if c.name == name and objects.uid(pod) in c.pods]

    def cdi(self, pod: Object, ctr: Object) -> Sequence[str]:
        """Names of the container's CDI devices."""
        found = (i for _, _, d in self.of_container(pod, ctr) for i in d.get("cdi_device_ids") or ())
        return list(dict.fromkeys(found))

    async def release(self, uid: str) -> None:
        """Nothing of the Pod runs any more. Raises ClaimFailure, OSError."""
        for claim in [c for c in self._claims.values() if uid in c.pods]:
            await self._unprepare(claim, uid)

    async def retain(self, uids: set[str]) -> None:
        """Claims of all other Pods are given back, now or when their drivers are here again. Raises OSError."""
        for claim in list(self._claims.values()):
            for uid in set(claim.pods) - uids:
                try:
                    await self._unprepare(claim, uid)
                except ClaimFailure as failed:
                    claim.pods.remove(uid)
                    self._write()
                    log.info("claim %s/%s is not given back yet: %s", claim.namespace, claim.name, failed)

    async def _unprepare(self, claim: Claim, pod: str = "") -> None:
        """The last Pod's end is the claim's."""
        async with self._lock(claim.uid):
            if not set(claim.pods) - {pod}:
                for driver in claim.drivers:
                    # Asked as well if preparing failed: it may have been done half.
                    await self._call(driver, "NodeUnprepareResources", claim)
                self._claims.pop(claim.uid, None)
            elif pod in claim.pods:
                claim.pods.remove(pod)
            self._write()

    def _write(self) -> None:
        atomic.write_json(self._file, [asdict(claim) for claim in self._claims.values()])


def _names(pod: Object) -> Iterator[tuple[str, str]]:
    """(the Pod's word for it, name of the ResourceClaim, "" if it is still to be made). A template whose status names
    no claim needs none."""
    statuses = (pod.get("status") or {}).get("resourceClaimStatuses") or ()
    made = {s["name"]: s.get("resourceClaimName") for s in statuses}
    for entry in pod["spec"].get("resourceClaims") or ():
        name = entry.get("resourceClaimName") or made.get(entry["name"], "")
        if name is not None:
            yield entry["name"], name


def _read(file: Path) -> dict[str, Claim]:
    """An unreadable file is an empty one; its claims are prepared a second time then, and the log says so."""
    try:
        return {entry["uid"]: Claim(**entry) for entry in orjson.loads(file.read_bytes())}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError) as broken:
        log.error("%s cannot be read, prepared claims are not known: %r", file, broken)
        return {}
