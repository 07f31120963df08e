"""The API clients of the commands: kubernetes-admin's, and on a machine that joined, its node's own."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from podwright.client.client import Client
from podwright.client.https import HttpsTransport
from podwright.cluster.down import NoSuchCluster
from podwright.cluster.pki import Pki
from podwright.cluster.spec import ClusterSpec


@contextlib.asynccontextmanager
async def admin_client(spec: ClusterSpec, pki: Pki) -> AsyncIterator[Client]:
    """Closed at the end. Raises NoSuchCluster on a machine that joined: the authority's key is not there."""
    if spec.joined_node:
        raise NoSuchCluster(
            f"cluster {spec.name} is served by {spec.server}, and this machine is its node {spec.joined_node}: "
            "do it on a machine of its control plane"
        )
    admin = pki.client("admin", "kubernetes-admin", ["system:masters"])
    transport = HttpsTransport(
        [f"https://127.0.0.1:{spec.port}"], ca_file=pki.ca.certificate, certificate=(admin.certificate, admin.key)
    )
    client = Client(transport)
    try:
        yield client
    finally:
        await client.aclose()


@contextlib.asynccontextmanager
async def local_client(spec: ClusterSpec, pki: Pki) -> AsyncIterator[Client]:
    """Closed at the end. May read what is of this machine: as the admin, or as the node that the machine joined as."""
    if not spec.joined_node:
        async with admin_client(spec, pki) as client:
            yield client
        return
    from podwright.cluster.join import node_client

    client = node_client(spec, pki)
    try:
        yield client
    finally:
        await client.aclose()
