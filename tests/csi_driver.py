"""A CSI driver for tests: volumes are directories below `backing`, published by bind mounts. It registers itself as a
node-driver-registrar would. `fail` makes calls go wrong: a list of gRPC statuses by method, used up one by one; with
"+" before it the call takes effect first. `calls` are (method, request) in order."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from grpclib.const import Cardinality, Handler, Status
from grpclib.exceptions import GRPCError
from grpclib.server import Server, Stream

from podwright.kubelet.plugins.grpc_calls import MessageCodec

NODE = "csi.v1.Node"
REGISTRATION = "pluginregistration.Registration"


class CsiDriver:
    def __init__(self, name: str, kubelet_dir: Path, backing: Path, *, capabilities: tuple[int, ...] = (1,)) -> None:
        self.name = name
        self.backing = backing
        self.capabilities = capabilities
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.fail: dict[str, list[str]] = {}
        self.registered: dict[str, Any] = {}
        self.socket = kubelet_dir / "plugins" / name / "csi.sock"
        self.registry = kubelet_dir / "plugins_registry" / f"{name}-reg.sock"
        self._servers: list[Server] = []

    def names(self) -> list[str]:
        return [method for method, _ in self.calls]

    def last(self, method: str) -> dict[str, Any]:
        return next(request for name, request in reversed(self.calls) if name == method)

    async def start(self) -> None:
        for path, handler in ((self.socket, _Service(self._node())), (self.registry, _Service(self._registration()))):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            server = Server([handler], codec=MessageCodec())
            await server.start(path=str(path))
            self._servers.append(server)

    async def stop(self) -> None:
        for server in self._servers:
            server.close()
            await server.wait_closed()
        self._servers.clear()
        for path in (self.registry, self.socket):
            path.unlink(missing_ok=True)

    # What the kubelet calls.

    def info(self) -> dict[str, Any]:
        """What it registers as."""
        return {"type": "CSIPlugin", "name": self.name, "endpoint": str(self.socket), "supported_versions": ["1.0.0"]}

    def _registration(self) -> dict[str, Handler]:
        def info(request: dict[str, Any]) -> dict[str, Any]:
            return self.info()

        def status(request: dict[str, Any]) -> dict[str, Any]:
            self.registered = request
            return {}

        return {
            f"/{REGISTRATION}/GetInfo": self._handler("GetInfo", info, "InfoRequest", "PluginInfo", REGISTRATION),
            f"/{REGISTRATION}/NotifyRegistrationStatus": self._handler(
                "Notify", status, "RegistrationStatus", "RegistrationStatusResponse", REGISTRATION
            ),
        }

    def _node(self) -> dict[str, Handler]:
        actions: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
            "NodeGetInfo": lambda r: {
                "node_id": f"id-of-{self.name}", "max_volumes_per_node": 7,
                "accessible_topology": {"segments": {"topology.test/zone": "z1"}},
            },
            "NodeGetCapabilities": lambda r: {"capabilities": [{"rpc": {"type": t}} for t in self.capabilities]},
            "NodeStageVolume": self._stage,
            "NodeUnstageVolume": lambda r: self._unmount(r["staging_target_path"]),
            "NodePublishVolume": self._publish,
            "NodeUnpublishVolume": self._unpublish,
            "NodeExpandVolume": lambda r: {"capacity_bytes": r["capacity_range"]["required_bytes"]},
            "NodeGetVolumeStats": lambda r: {
                "usage": [{"available": 60, "total": 100, "used": 40, "unit": 1}, {"total": 9, "used": 4, "unit": 2}]
            },
        }
        return {
            f"/{NODE}/{name}": self._handler(name, action, f"{name}Request", f"{name}Response", NODE)
            for name, action in actions.items()
        }

    def _handler(
        self, name: str, action: Callable[[dict[str, Any]], dict[str, Any]], asked: str, answer: str, service: str
    ) -> Handler:
        package = service.rpartition(".")[0]

        async def serve(stream: Stream[Any, Any]) -> None:
            request = await stream.recv_message()
            self.calls.append((name, request))
            wrong = (self.fail.get(name) or [""]).pop(0) if self.fail.get(name) else ""
            if wrong and not wrong.startswith("+"):
                raise GRPCError(Status[wrong], f"{name} is told to fail")
            result = action(request)
            if wrong:
                raise GRPCError(Status[wrong[1:]], f"{name} is told to fail afterwards")
            await stream.send_message(result)

        types: Any = (f"{package}.{asked}", f"{package}.{answer}")
        return Handler(serve, Cardinality.UNARY_UNARY, *types)

    def _volume(self, handle: str) -> Path:
        found = self.backing / handle
        found.mkdir(parents=True, exist_ok=True)
        return found

    def _stage(self, request: dict[str, Any]) -> dict[str, Any]:
        if "block" not in request["volume_capability"]:
            _bind(self._volume(request["volume_id"]), Path(request["staging_target_path"]))
        return {}

    def _publish(self, request: dict[str, Any]) -> dict[str, Any]:
        target = Path(request["target_path"])
        if "block" in request["volume_capability"]:
            target.touch()
            device = Path(request["volume_context"]["device"])
            if not _mounted(target):
                subprocess.run(["mount", "--bind", device, target], check=True)
            return {}
        assert target.parent.is_dir()
        target.mkdir(exist_ok=True)
        staged = request.get("staging_target_path")
        if staged:
            assert _mounted(Path(staged)), "published before it was staged"
        _bind(Path(staged) if staged else self._volume(request["volume_id"]), target)
        return {}

    def _unpublish(self, request: dict[str, Any]) -> dict[str, Any]:
        self._unmount(request["target_path"])
        target = Path(request["target_path"])
        if target.is_dir():
            target.rmdir()
        else:
            target.unlink(missing_ok=True)
        return {}

    def _unmount(self, path: str) -> dict[str, Any]:
        if _mounted(Path(path)):
            subprocess.run(["umount", path], check=True)
        return {}


@contextlib.contextmanager
def in_thread(driver: CsiDriver) -> Iterator[None]:
    """For tests that are not asynchronous."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(driver.start(), loop).result(60)
        yield
    finally:
        asyncio.run_coroutine_threadsafe(driver.stop(), loop).result(60)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


class _Service:
    def __init__(self, mapping: dict[str, Handler]) -> None:
        self._mapping = mapping

    def __mapping__(self) -> dict[str, Handler]:
        return self._mapping


def _mounted(path: Path) -> bool:
    return any(line.split(" ")[4] == str(path) for line in Path("/proc/self/mountinfo").read_text().splitlines())


def _bind(source: Path, target: Path) -> None:
    if not _mounted(target):
        subprocess.run(["mount", "--bind", source, target], check=True)
