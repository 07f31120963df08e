"""A joined node's certificates are renewed while it runs, by a real API server and the controllers that sign."""

from __future__ import annotations

import asyncio
import ssl
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
from podwright.cluster import joining, renewal
from podwright.cluster.join import keep_certificates, node_client, node_pair, serving_pair
from podwright.cluster.layout import Layout
from podwright.cluster.pki import KeyPair, Pki
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


class Someday(SystemClock):
    """So many days later; whoever sleeps is woken at once."""

    def __init__(self) -> None:
        self.days = 0.0
        self.looked = asyncio.Event()

    def now(self) -> float:
        return time.time() + self.days * 86400

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0.01)
        self.looked.set()


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


def serial(pair: KeyPair) -> int:
    return x509.load_pem_x509_certificate(pair.certificate.read_bytes()).serial_number


async def test_certificates_are_renewed_under_the_running_node(cluster: tuple[ClusterSpec, Layout]) -> None:
    spec, layout = cluster
    pki = Pki(layout.pki)
    pairs = (node_pair(pki, "second"), serving_pair(pki, "second"))
    before = [x509.load_pem_x509_certificate(p.certificate.read_bytes()) for p in pairs]
    own, again = node_client(spec, pki), asyncio.Event()
    transport = own.transport
    assert isinstance(transport, HttpsTransport)
    watch = own.watch(NODES, field_selector="metadata.name=second")
    assert (await anext(watch)).type == "ADDED"

    def show(certificate: tuple[Path, Path]) -> None:
        transport.renew(certificate)
        again.set()

    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        showing = group.create_task(renewal.shown(pairs[0], show))
        keeping = group.create_task(keep_certificates(spec, layout, Later()))
        await again.wait()
        while serial(pairs[1]) == before[1].serial_number:
            await asyncio.sleep(0.01)
        keeping.cancel()  # it would go on and on: years are over for each new one too
        await asyncio.wait((keeping,))
        showing.cancel()
    transport.renew((pairs[0].certificate, pairs[0].key))
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


async def test_the_servers_own_certificates_are_renewed_under_it(tmp_path: Path) -> None:
    clock = Someday()
    pki = Pki(tmp_path, now=clock.now)
    pki.ensure_ca()
    serving, client = pki.server("apiserver", "kube-apiserver", ["127.0.0.1"]), pki.client("admin", "kubernetes-admin")
    before = serial(serving), serial(client)
    config = ApiServerConfig(
        store_url="memory://", certificate=serving.certificate, key=serving.key, client_ca=pki.ca.certificate,
        host="127.0.0.1", port=0, shutdown_seconds=0.2,
    )  # fmt: skip
    server = ApiServer(config)
    await server.start()
    unverified = ssl.create_default_context()
    unverified.check_hostname, unverified.verify_mode = False, ssl.CERT_NONE

    async def shown() -> int:
        _, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=unverified)
        der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.close()
        return x509.load_der_x509_certificate(der).serial_number

    async def renew() -> None:
        pki.renew()

    try:
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            keeping = group.create_task(renewal.keep("c", pki.renewal, renew, clock))
            await clock.looked.wait()
            assert (await shown(), serial(client)) == before, "all of its time is left"
            clock.days = 0.75 * 365
            while await shown() == before[0]:
                await asyncio.sleep(0.01)
            assert await shown() == serial(serving) and serial(client) != before[1]
            assert pki.renewal() > clock.now()
            keeping.cancel()
    finally:
        await server.stop()
