"""The API client with which the commands ask a local cluster's server, as kubernetes-admin."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from podwright.client.client import Client
from podwright.client.https import HttpsTransport
from podwright.cluster.pki import Pki


@contextlib.asynccontextmanager
async def admin_client(pki: Pki, port: int) -> AsyncIterator[Client]:
    """Closed at the end."""
    admin = pki.client("admin", "kubernetes-admin", ["system:masters"])
    transport = HttpsTransport(
        [f"https://127.0.0.1:{port}"], ca_file=pki.ca.certificate, certificate=(admin.certificate, admin.key)
    )
    client = Client(transport)
    try:
        yield client
    finally:
        await client.aclose()
