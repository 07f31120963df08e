"""A DRA driver for tests: it prepares each claim as one device, "dev-0" of the pool "pool", and writes a CDI file for
it below `backing`, by which the container finds CLAIM=<the claim's name> in its environment. `errors` are what claims,
by name, fail with."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from grpclib.const import Cardinality, Handler
from grpclib.server import Stream
from tests.csi_driver import CsiDriver

from podwright.kubelet.devices.claims import HEALTH, SERVICE, VERSION


class DraDriver(CsiDriver):
    errors: dict[str, str]
    healthy: bool
    kind = "dra.test/claim"

    def info(self) -> dict[str, Any]:
        return {"type": "DRAPlugin", "name": self.name, "endpoint": str(self.socket),
                "supported_versions": [VERSION, HEALTH]}  # fmt: skip

    def _node(self) -> dict[str, Handler]:
        self.errors = {}
        self.healthy = True
        self._changed = asyncio.Condition()
        actions = {"NodePrepareResources": self._prepare, "NodeUnprepareResources": self._unprepare}
        watch: Any = ("v1.NodeWatchResourcesRequest", "v1.NodeWatchResourcesResponse")
        return {f"/{HEALTH}/NodeWatchResources": Handler(self._watch, Cardinality.UNARY_STREAM, *watch)} | {
            f"/{SERVICE}/{name}": self._handler(name, action, f"{name}Request", f"{name}Response", SERVICE)
            for name, action in actions.items()
        }

    async def set_health(self, healthy: bool) -> None:
        async with self._changed:
            self.healthy = healthy
            self._changed.notify_all()

    async def _watch(self, stream: Stream[Any, Any]) -> None:
        await stream.recv_message()
        while True:
            async with self._changed:
                device = {"pool_name": "pool", "device_name": "dev-0"}
                await stream.send_message({"devices": [{"device": device, "health": 1 if self.healthy else 2}]})
                await self._changed.wait()

    def _file(self, claim: dict[str, Any]) -> Any:
        self.backing.mkdir(parents=True, exist_ok=True)
        return self.backing / f"dra-test-{claim['uid']}.json"

    def _prepare(self, request: dict[str, Any]) -> dict[str, Any]:
        answers: dict[str, Any] = {}
        for claim in request["claims"]:
            if claim["name"] in self.errors:
                answers[claim["uid"]] = {"error": self.errors[claim["name"]]}
                continue
            device = {"name": claim["uid"], "containerEdits": {"env": [f"CLAIM={claim['name']}"]}}
            spec = {"cdiVersion": "0.6.0", "kind": self.kind, "devices": [device]}
            self._file(claim).write_text(json.dumps(spec))
            answers[claim["uid"]] = {"devices": [{
                "request_names": ["one"], "pool_name": "pool", "device_name": "dev-0",
                "cdi_device_ids": [f"{self.kind}={claim['uid']}"],
            }]}  # fmt: skip
        return {"claims": answers}

    def _unprepare(self, request: dict[str, Any]) -> dict[str, Any]:
        for claim in request["claims"]:
            self._file(claim).unlink(missing_ok=True)
        return {"claims": {claim["uid"]: {} for claim in request["claims"]}}
