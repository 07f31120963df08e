"""The CSI drivers of this node: registered by their sockets, told to the cluster in the node's CSINode object."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from podwright.api import objects
from podwright.api.objects import Object
from podwright.api.resources import CSINODES, NODES
from podwright.api.status import ApiError
from podwright.client.backoff import Backoff
from podwright.client.client import Client
from podwright.client.clock import Clock
from podwright.client.transport import ServerUnreachable
from podwright.kubelet.plugins.registration import BadPlugin, Plugin
from podwright.kubelet.plugins.sockets import PluginFailure, PluginSocket
from podwright.kubelet.volumes.mounted import VolumeFailure

log = logging.getLogger(__name__)

STAGE_UNSTAGE = 1
GET_VOLUME_STATS = 2
EXPAND_VOLUME = 3
SINGLE_NODE_MULTI_WRITER = 5
VOLUME_MOUNT_GROUP = 6
_NODE_ID = "csi.volume.kubernetes.io/nodeid"
_TRIES = 5


@dataclass(slots=True)
class Driver:
    endpoint: Path
    capabilities: frozenset[int] | None = None
    """Asked for when they are first needed."""
    locks: dict[str, asyncio.Lock] = field(default_factory=dict)
    """By volume handle: one call at a time about a volume."""


class CsiDrivers:
    """`register` and `deregister` are for the plugin watcher."""

    def __init__(self, client: Client, node_name: str) -> None:
        self._client = client
        self._node_name = node_name
        self._drivers: dict[str, Driver] = {}
        self._writing = asyncio.Lock()

    # What the plugin watcher calls.

    async def register(self, plugin: Plugin) -> None:
        """Raises BadPlugin, PluginFailure."""
        if not any(version.removeprefix("v").partition(".")[0] == "1" for version in plugin.versions):
            supported = ", ".join(plugin.versions) or "none"
            raise BadPlugin(f"CSI driver {plugin.name} supports no version that this node does: {supported}")
        async with PluginSocket(plugin.endpoint) as socket:
            info = await socket.call("csi.v1.Node", "NodeGetInfo", {})
        if not info.get("node_id"):
            raise BadPlugin(f"CSI driver {plugin.name} gave an empty node ID")
        self._drivers[plugin.name] = Driver(plugin.endpoint)
        try:
            await self._tell_csi_node(plugin.name, info)
            await self._tell_node(plugin.name, info)
        except (ApiError, ServerUnreachable) as refused:
            raise BadPlugin(f"error updating CSINode object with CSI driver node info: {refused}") from refused

    async def deregister(self, plugin: Plugin) -> None:
        """The driver is gone from the node."""
        name = plugin.name
        self._drivers.pop(name, None)
        try:
            await self._tell_csi_node(name, None)
            await self._tell_node(name, None)
        except (ApiError, ServerUnreachable) as failed:
            # Nobody is harmed: without the driver nothing new starts here, and it corrects this when it is back.
            log.warning("CSI driver %s is gone, which could not be told: %s", name, failed)

    async def announce(self, registered: asyncio.Event, clock: Clock) -> None:
        """Makes the node's CSINode, which stands even with no driver, as soon as the Node is `registered`."""
        await registered.wait()
        backoff = Backoff(first=0.2, maximum=30.0)
        while True:
            try:
                async with self._writing:
                    await self._csi_node()
                return
            except (ApiError, ServerUnreachable) as failed:
                log.info("CSINode %s not made yet: %s", self._node_name, failed)
                await clock.sleep(backoff.next())

    # What volumes call.

    async def call(self, driver: str, method: str, request: Object) -> Object:
        """A call of the driver's Node service.

        Raises:
            VolumeFailure: no such driver is registered.
            PluginFailure
        """
        async with PluginSocket(self._driver(driver).endpoint) as socket:
            return await socket.call("csi.v1.Node", method, request)

    async def capabilities(self, driver: str) -> frozenset[int]:
        """Raises VolumeFailure, PluginFailure."""
        known = self._driver(driver)
        if known.capabilities is None:
            answer = await self.call(driver, "NodeGetCapabilities", {})
            found = [(c.get("rpc") or {}).get("type", 0) for c in answer.get("capabilities") or ()]
            known.capabilities = frozenset(found)
        return known.capabilities

    def lock(self, driver: str, handle: str) -> asyncio.Lock:
        """Raises VolumeFailure."""
        return self._driver(driver).locks.setdefault(handle, asyncio.Lock())

    def _driver(self, name: str) -> Driver:
        found = self._drivers.get(name)
        if found is None:
            raise VolumeFailure(f"driver name {name} not found in the list of registered CSI drivers")
        return found

    # What the cluster is told.

    async def _csi_node(self) -> Object:
        try:
            return await self._client.get(CSINODES, self._node_name)
        except ApiError as refused:
            if refused.code != 404:
                raise
        node = await self._client.get(NODES, self._node_name)
        owner = {"apiVersion": "v1", "kind": "Node", "name": self._node_name, "uid": objects.uid(node)}
        fresh: Object = {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "CSINode",
            "metadata": {"name": self._node_name, "ownerReferences": [owner]},
            "spec": {"drivers": []},
        }
        return await self._client.create(CSINODES, fresh)

    async def _tell_csi_node(self, name: str, info: Object | None) -> None:
        async with self._writing:
            for attempt in range(_TRIES):
                csi_node = await self._csi_node()
                before = (csi_node.get("spec") or {}).get("drivers") or []
                drivers = [d for d in before if d["name"] != name]
                if info is not None:
                    drivers.append(_entry(name, info))
                if drivers == before:
                    return
                try:
                    await self._client.update(CSINODES, {**csi_node, "spec": {**csi_node["spec"], "drivers": drivers}})
                    return
                except ApiError as refused:
                    if refused.code != 409 or attempt == _TRIES - 1:
                        raise

    async def _tell_node(self, name: str, info: Object | None) -> None:
        """The node's id by the driver as an annotation, its topology as labels."""
        async with self._writing:
            node = await self._client.get(NODES, self._node_name)
            annotated = objects.annotations(node).get(_NODE_ID)
            before: dict[str, str] = orjson.loads(annotated) if annotated else {}
            after = {k: v for k, v in before.items() if k != name}
            if info is not None:
                after[name] = str(info["node_id"])
            labels = dict(_segments(info)) if info is not None else {}
            if after == before and all(objects.labels(node).get(k) == v for k, v in labels.items()):
                return
            text = orjson.dumps(after, option=orjson.OPT_SORT_KEYS).decode() if after else None
            metadata = {"annotations": {_NODE_ID: text}, "labels": labels}
            await self._client.patch(NODES, self._node_name, {"metadata": metadata})


def _segments(info: Object) -> Mapping[str, str]:
    return (info.get("accessible_topology") or {}).get("segments") or {}


def _entry(name: str, info: Object) -> Object:
    """A driver's entry of CSINode."""
    entry: Object = {"name": name, "nodeID": str(info["node_id"]), "topologyKeys": sorted(_segments(info))}
    if int(info.get("max_volumes_per_node") or 0) > 0:
        entry["allocatable"] = {"count": int(info["max_volumes_per_node"])}
    return entry


def refused(failure: PluginFailure) -> VolumeFailure:
    """A driver's refusal as a volume's."""
    return VolumeFailure(str(failure))
