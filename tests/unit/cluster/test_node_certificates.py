"""A joined node's certificates are renewed while it runs, by a real API server and the controllers that sign."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from podwright.api.objects import Object
from podwright.api.resources import BUILTIN, NODES
from podwright.apiserver.config import ApiServerConfig
from podwright.apiserver.server import ApiServer
from podwright.client.client import Client
from podwright.client.clock import SystemClock
from podwright.client.https import HttpsTransport
from podwright.client.transport import InProcessTransport
from podwright.cluster import joining
from podwright.cluster.join import keep_certificates, node_client, node_pair, serving_pair
from podwright.cluster.layout import Layout
from podwright.cluster.pki import Pki
from podwright.cluster.registry import Ranges
from podwright.cluster.spec import ClusterSpec
from podwright.controllers.certificates import CertificateApprover, CertificateSigner
from podwright.controllers.config import ControllerConfig
from podwright.controllers.manager import ControllerManager


class Later(SystemClock):
    """Time goes by as it does, but years are over, and whoever sleeps is woken at once."""

    def now(self) -> float:
        return time.time() + 100 * 365 * 86400

    async def sleep(self, seconds: float) -> None:
        assert seconds >= 60, "nobody is asked all the time"
        await asyncio.sleep(0.01)


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[tuple[ClusterSpec, Layout]]:
    layout = Layout("c", tmp_path)
    pki = Pki(layout.pki)
    pki.ensure_ca()
    pair = pki.server("apiserver", "kube-apiserver", ["127.0.0.1"])
    server = ApiServer(
        ApiServerConfig(
            store_url="memory://", certificate=pair.certificate, key=pair.key, client_ca=pki.ca.certificate,
            host="127.0.0.1", port=0, shutdown_seconds=0.2,
        )
    )  # fmt: skip
    await server.start()

    def client_for(user: str, groups: Sequence[str] = ("system:masters",)) -> Client:
        return Client(InProcessTransport(server.local, user, groups))

    admin, config = client_for("admin"), ControllerConfig(
        signing_ca_certificate=pki.ca.certificate, signing_ca_key=pki.ca.key
    )
    node: Object = {
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": "second"},
        "status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.2"}]},
    }
    await admin.create(NODES, node)
    await joining.ensure(server, ClusterSpec("c"), Ranges(0))
    pki.client("node-second", "system:node:second", ["system:nodes"])
    pki.server("kubelet-second", "system:node:second", ["second", "192.0.2.2"])
    manager = ControllerManager(client_for, config=config, controllers=(CertificateApprover, CertificateSigner))
    signing = asyncio.ensure_future(manager.run())
    yield ClusterSpec("c", server=f"https://127.0.0.1:{server.port}", joined_node="second", address="192.0.2.2"), layout
    signing.cancel()
    await asyncio.gather(signing, return_exceptions=True)
    await server.stop()


async def test_certificates_are_renewed_under_the_running_node(cluster: tuple[ClusterSpec, Layout]) -> None:
    spec, layout = cluster
    pki = Pki(layout.pki)
    pairs = (node_pair(pki, "second"), serving_pair(pki, "second"))
    before = [x509.load_pem_x509_certificate(p.certificate.read_bytes()) for p in pairs]
    own, again = node_client(spec, pki), asyncio.Event()
    assert isinstance(own.transport, HttpsTransport)
    watch = own.watch(NODES, field_selector="metadata.name=second")
    assert (await anext(watch)).type == "ADDED"

    def renewed() -> None:
        assert isinstance(own.transport, HttpsTransport)
        own.transport.renew((pairs[0].certificate, pairs[0].key))
        again.set()

    keeping = asyncio.ensure_future(keep_certificates(spec, layout, Later(), renewed))
    async with asyncio.timeout(60):
        await again.wait()
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
    after = [x509.load_pem_x509_certificate(p.certificate.read_bytes()) for p in pairs]
    for old, new in zip(before, after, strict=True):
        assert new.serial_number != old.serial_number
        assert "CN=system:node:second" in new.subject.rfc4514_string()
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    reviews = BUILTIN.by_kind("authentication.k8s.io/v1", "SelfSubjectReview")
    assert reviews is not None
    user = (await own.create(reviews, review))["status"]["userInfo"]
    assert user["extra"]["authentication.kubernetes.io/credential-id"] == [
        f"X509SHA256={after[0].fingerprint(hashes.SHA256()).hex()}"
    ]
    await own.patch(NODES, "second", {"metadata": {"labels": {"a": "b"}}})
    async with asyncio.timeout(60):
        assert (await anext(watch)).type == "MODIFIED", "what was under way goes on"
    await own.aclose()
