"""A device plugin for tests: devices "dev-0", "dev-1", … of one resource, each the same device of the host by another
name, with a file that says which. As a program (DIRECTORY RESOURCE COUNT) it registers anew whenever its socket is
removed, as plugins do, and makes a device healthy or not by lines "+dev-0" and "-dev-0" on its standard input."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

from grpclib.const import Cardinality, Handler, Status
from grpclib.exceptions import GRPCError
from grpclib.server import Server, Stream

from podwright.kubelet.plugins.grpc_calls import MessageCodec
from podwright.kubelet.plugins.sockets import PluginFailure, PluginSocket

SERVICE = "v1beta1.DevicePlugin"
HOST_DEVICE = "/dev/loop-control"
"""One that containers have not anyway."""


class DevicePlugin:
    """`calls` are (method, request) in order. `prefer` orders devices that are asked for; `refuse` is what Allocate
    fails with."""

    def __init__(self, directory: Path, resource: str, count: int, *, prefer: bool = False) -> None:
        self.directory = directory
        self.resource = resource
        self.healthy = {f"dev-{n}": True for n in range(count)}
        self.prefer = prefer
        self.refuse = ""
        self.cdi: list[str] = []
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.socket = directory / f"{resource.replace('/', '-')}.sock"
        self._changed = asyncio.Condition()
        self._server: Server | None = None
        self._stopping = False

    def __mapping__(self) -> dict[str, Handler]:
        types: dict[str, tuple[str, str, Any, Cardinality]] = {
            "GetDevicePluginOptions": ("Empty", "DevicePluginOptions", self._options, Cardinality.UNARY_UNARY),
            "ListAndWatch": ("Empty", "ListAndWatchResponse", self._watch, Cardinality.UNARY_STREAM),
            "GetPreferredAllocation": (
                "PreferredAllocationRequest", "PreferredAllocationResponse", self._preferred, Cardinality.UNARY_UNARY
            ),
            "Allocate": ("AllocateRequest", "AllocateResponse", self._allocate, Cardinality.UNARY_UNARY),
            "PreStartContainer": (
                "PreStartContainerRequest", "PreStartContainerResponse", self._start_one, Cardinality.UNARY_UNARY
            ),
        }  # fmt: skip
        return {
            f"/{SERVICE}/{name}": Handler(self._told(name, act), kind, f"v1beta1.{asked}", f"v1beta1.{answer}")  # type: ignore[arg-type]
            for name, (asked, answer, act, kind) in types.items()
        }

    def _told(self, name: str, act: Any) -> Any:
        async def serve(stream: Stream[Any, Any]) -> None:
            request = await stream.recv_message()
            self.calls.append((name, request))
            await act(stream, request)

        return serve

    def options(self) -> dict[str, Any]:
        return {"pre_start_required": True, "get_preferred_allocation_available": self.prefer}

    async def _options(self, stream: Stream[Any, Any], request: dict[str, Any]) -> None:
        await stream.send_message(self.options())

    async def _watch(self, stream: Stream[Any, Any], request: dict[str, Any]) -> None:
        while not self._stopping:
            devices = [
                {"ID": i, "health": "Healthy" if well else "Unhealthy", "topology": {"nodes": [{"ID": 0}]}}
                for i, well in self.healthy.items()
            ]
            async with self._changed:
                await stream.send_message({"devices": devices})
                await self._changed.wait()

    async def _preferred(self, stream: Stream[Any, Any], request: dict[str, Any]) -> None:
        asked = request["container_requests"][0]
        last = sorted(asked["available_deviceIDs"], reverse=True)[: asked["allocation_size"]]
        await stream.send_message({"container_responses": [{"deviceIDs": last}]})

    async def _allocate(self, stream: Stream[Any, Any], request: dict[str, Any]) -> None:
        if self.refuse:
            raise GRPCError(Status.UNKNOWN, self.refuse)
        ids = request["container_requests"][0]["devices_ids"]
        notes = self.directory / f"notes-{'-'.join(ids)}"
        notes.write_text(" ".join(ids))
        response = {
            "envs": {"TEST_DEVICES": ",".join(ids)},
            "mounts": [{"container_path": "/etc/test-devices", "host_path": str(notes), "read_only": True}],
            "devices": [
                {"container_path": f"/dev/test/{i}", "host_path": HOST_DEVICE, "permissions": "r"} for i in ids
            ],
            "annotations": {"devices.test/ids": ",".join(ids)},
            "cdi_devices": [{"name": name} for name in self.cdi],
        }
        await stream.send_message({"container_responses": [response]})

    async def _start_one(self, stream: Stream[Any, Any], request: dict[str, Any]) -> None:
        await stream.send_message({})

    async def set_health(self, device: str, healthy: bool) -> None:
        async with self._changed:
            self.healthy[device] = healthy
            self._changed.notify_all()

    async def serve(self) -> None:
        self.socket.unlink(missing_ok=True)
        self._stopping = False
        self._server = Server([self], codec=MessageCodec())
        await self._server.start(path=str(self.socket))

    async def register(self, **other: Any) -> None:
        """Raises PluginFailure if the kubelet refuses."""
        request = {
            "version": "v1beta1", "endpoint": self.socket.name, "resource_name": self.resource,
            "options": self.options(), **other,
        }  # fmt: skip
        async with PluginSocket(self.directory / "kubelet.sock") as kubelet:
            await kubelet.call("v1beta1.Registration", "Register", request, timeout=5)

    async def start(self) -> None:
        await self.serve()
        await self.register()

    async def stop(self) -> None:
        if self._server is not None:
            async with self._changed:
                self._stopping = True
                self._changed.notify_all()
            await asyncio.sleep(0)
            self._server.close()
            await self._server.wait_closed()
            self._server = None
        self.socket.unlink(missing_ok=True)


async def _keep_registered(plugin: DevicePlugin) -> None:
    while True:
        if not plugin.socket.exists():
            await plugin.stop()
            try:
                await plugin.start()
            except PluginFailure:
                plugin.socket.unlink(missing_ok=True)
        await asyncio.sleep(0.1)


async def _main(directory: str, resource: str, count: str) -> None:
    plugin = DevicePlugin(Path(directory), resource, int(count))
    keeping = asyncio.create_task(_keep_registered(plugin))
    while line := await asyncio.to_thread(sys.stdin.readline):
        await plugin.set_health(line.strip()[1:], line.startswith("+"))
    keeping.cancel()
    await plugin.stop()


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
