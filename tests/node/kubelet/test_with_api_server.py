"""The kubelet against the real API server, as the user that a node is: what it may do, what it writes."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from podwright.api import objects
from podwright.api.objects import Object
from podwright.api.resources import EVENTS, LEASES, NODES, PODS, SERVICEACCOUNTS, Resource
from podwright.api.status import ApiError
from podwright.apiserver.config import ApiServerConfig
from podwright.apiserver.server import ApiServer
from podwright.client.client import Client
from podwright.client.informers import Informer
from podwright.client.transport import InProcessTransport
from podwright.runtime.images.store import ImageStore

from .conftest import NODE, KubeletNode, make_container, make_pod


def _certificate(directory: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "server")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(now).not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    paths = directory / "server.crt", directory / "server.key"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return paths


class ServerApi:
    """An API server in this process: `client` is the node's, `admin` anybody's. `find` reads the admin's informers."""

    def __init__(self, server: ApiServer) -> None:
        self.server = server
        self.admin = Client(InProcessTransport(server.local, "admin", ("system:masters",)))
        self.client = Client(InProcessTransport(server.local, f"system:node:{NODE}", ("system:nodes",)))
        self.informers = {r.qualified: Informer(self.admin, r) for r in (PODS, NODES, LEASES, EVENTS)}

    def find(self, row: Resource, name: str, namespace: str = "default") -> Object | None:
        return self.informers[row.qualified].get(f"{namespace}/{name}" if row.namespaced else name)


@pytest.fixture
async def node(
    mark: str, busybox_archive: Path, config: dict[str, Any], tmp_path: Path
) -> AsyncIterator[KubeletNode]:
    certificate, key = _certificate(tmp_path)
    server = ApiServer(
        ApiServerConfig(
            store_url=f"sqlite://{tmp_path}/store.db",
            certificate=certificate,
            key=key,
            host="127.0.0.1",
            port=0,
            service_account_signing_key=key,
        )
    )
    await server.start()
    api = ServerApi(server)
    base = Path("/var/lib/podwright") / mark
    images = ImageStore(base / "images", base / "references.json")
    await images.load_archive(busybox_archive)
    tasks = [asyncio.create_task(i.run()) for i in api.informers.values()]
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": "default"}}
    try:
        await api.admin.create(SERVICEACCOUNTS, account)
    except ApiError as refused:
        assert refused.code == 409
    made = KubeletNode(mark, images, api, **config)
    await made.config_map("kube-root-ca.crt", **{"ca.crt": "certificate"})
    await made.start()
    await made.until(lambda: (n := api.find(NODES, NODE)) and objects.condition_is_true(n, "Ready"))
    try:
        yield made
    finally:
        await made.destroy()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.stop()


async def test_a_pod_through_the_real_server(node: KubeletNode) -> None:
    await node.create(make_pod("web", make_container(), make_container("b")))
    pod = await node.until_ready()
    assert {c["type"] for c in pod["status"]["conditions"]} >= {"Ready", "PodScheduled", "ContainersReady"}
    # The ServiceAccount admission plugin gives every Pod a token; the node may ask for it.
    if any("projected" in v for v in pod["spec"].get("volumes") or ()):
        token = await node.sh("cat /var/run/secrets/kubernetes.io/serviceaccount/token")
        assert token.count(".") == 2
    lease = await node.until(lambda: node.api.find(LEASES, NODE, "kube-node-lease"))
    assert lease["spec"]["holderIdentity"] == NODE
    await node.until(lambda: any(e["reason"] == "Started" for e in node.api.informers["events"].items()))
    await node.user.delete(PODS, "web", namespace="default")
    await node.until(lambda: node.pod() is None)


async def test_a_new_kubelet_finds_node_and_pods(node: KubeletNode) -> None:
    await node.create(make_pod("web"))
    await node.until_ready()
    pid = node.container().pid
    await node.restart()
    await node.until(node.kubelet.node.registered.is_set)
    await node.until(lambda: node.kubelet.find_container("default", "web", "main"))
    assert node.container().pid == pid
    await node.user.delete(PODS, "web", namespace="default")
    await node.until(lambda: node.pod() is None)
