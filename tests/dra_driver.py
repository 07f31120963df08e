"""A DRA driver for tests: it prepares each claim as one device, "dev-0" of the pool "pool", and writes a CDI file for
it below `backing`, by which the container finds CLAIM=<the claim's name> in its environment. `errors` are what claims,
by name, fail with."""

from __future__ import annotations

import json
from typing import Any

from grpclib.const import Handler
from tests.csi_driver import CsiDriver

from podwright.kubelet.devices.claims import SERVICE, VERSION


class DraDriver(CsiDriver):
    errors: dict[str, str]
    kind = "dra.test/claim"

    def info(self) -> dict[str, Any]:
        return {"type": "DRAPlugin", "name": self.name, "endpoint": str(self.socket), "supported_versions": [VERSION]}

    def _node(self) -> dict[str, Handler]:
        self.errors = {}
        actions = {"NodePrepareResources": self._prepare, "NodeUnprepareResources": self._unprepare}
        return {
            f"/{SERVICE}/{name}": self._handler(name, action, f"{name}Request", f"{name}Response", SERVICE)
            for name, action in actions.items()
        }

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
