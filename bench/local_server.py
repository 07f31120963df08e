"""An API server in this process, for measurements of what talks to one."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from podwright.api.resources import SERVICEACCOUNTS
from podwright.apiserver.config import ApiServerConfig
from podwright.apiserver.server import ApiServer
from podwright.client.client import Client
from podwright.client.transport import InProcessTransport
from podwright.cluster.pki import Pki


@asynccontextmanager
async def local_server() -> AsyncIterator[tuple[ApiServer, Client]]:
    """The server, on a SQLite file that goes with it, and a client that may do everything. The namespace default has
    its ServiceAccount."""
    with tempfile.TemporaryDirectory() as directory:
        pki = Pki(Path(directory))
        pki.ensure_ca()
        pair = pki.server("apiserver", "kube-apiserver", ["127.0.0.1"])
        server = ApiServer(
            ApiServerConfig(
                store_url=f"sqlite://{directory}/store.db", certificate=pair.certificate, key=pair.key,
                host="127.0.0.1", port=0, service_account_signing_key=pki.ensure_service_account_key(),
            )
        )  # fmt: skip
        await server.start()
        try:
            admin = Client(InProcessTransport(server.local, "admin", ("system:masters",)))
            account = {"metadata": {"name": "default", "namespace": "default"}}
            await admin.create(SERVICEACCOUNTS, {"apiVersion": "v1", "kind": "ServiceAccount", **account})
            yield server, admin
        finally:
            await server.stop()
