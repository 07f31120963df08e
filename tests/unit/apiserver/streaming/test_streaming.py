from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from apiserver_fakes import FakeObjects
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from podwright.api.status import ApiError
from podwright.apiserver.admission.chain import Chain, Plugin
from podwright.apiserver.admission.refusals import forbidden
from podwright.apiserver.requests import AdmissionRequest, UserInfo
from podwright.apiserver.streaming import Streaming
from podwright.apiserver.streaming.pods import container_of


def self_signed(folder: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .sign(key, hashes.SHA256())
    )
    cert_file, key_file = folder / "cert.pem", folder / "key.pem"
    cert_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return cert_file, key_file


class Kubelet:
    """Answers as a kubelet would, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.headers: list[Any] = []
        self.more = asyncio.Event()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.path_qs)
        self.headers.append(request.headers)
        if request.path.startswith("/containerLogs/ns/p/bad"):
            return web.Response(status=400, text='container "bad" in pod "p" is waiting to start: ContainerCreating\n')
        if request.path.startswith("/containerLogs"):
            response = web.StreamResponse(headers={"Content-Type": "text/plain"})
            await response.prepare(request)
            await response.write(b"one\n")
            await self.more.wait()
            await response.write(b"two\n")
            return response
        if request.path.startswith("/exec/ns/p/bad"):
            return web.Response(status=404, text="container not found")
        if request.path.startswith("/exec"):
            socket = web.WebSocketResponse(protocols=["v5.channel.k8s.io"])
            await socket.prepare(request)
            async for message in socket:
                await socket.send_bytes(b"\x01" + message.data[1:])
            return socket
        return web.Response(text=f"{request.method} {request.path_qs}", headers={"X-Kubelet": "yes"})


class Refuse(Plugin):
    name = "Refuse"

    def __init__(self) -> None:
        self.seen: list[AdmissionRequest] = []
        self.on = False

    def handles(self, request: AdmissionRequest) -> bool:
        return request.operation == "CONNECT"

    async def validate(self, request: AdmissionRequest) -> None:
        self.seen.append(request)
        if self.on:
            raise forbidden(request, "no")


@pytest.fixture
async def setup(tmp_path: Path) -> AsyncIterator[SimpleNamespace]:
    cert, key = self_signed(tmp_path)
    kubelet = Kubelet()
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(cert, key)
    kubelet_runner = web.ServerRunner(web.Server(kubelet.handle))
    await kubelet_runner.setup()
    site = web.TCPSite(kubelet_runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    port = kubelet_runner.addresses[0][1]
    objects = FakeObjects(
        {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": "n"},
            "status": {
                "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
                "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
            },
        },
        {
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "ns"},
            "spec": {"nodeName": "n", "containers": [{"name": "c"}, {"name": "bad"}]},
        },
        {
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pending", "namespace": "ns"},
            "spec": {"containers": [{"name": "c"}]},
        },
    )
    refuse = Refuse()
    config = SimpleNamespace(kubelet_ca=cert, kubelet_client_certificate=cert, kubelet_client_key=key)
    streaming = Streaming(config, objects, Chain([refuse]))  # type: ignore[arg-type]

    async def serve(request: web.BaseRequest) -> web.StreamResponse:
        _, resource, name, subresource, *rest = request.path.split("/")
        path = "/".join(rest)
        try:
            return await streaming.handle(
                request, user=UserInfo("u"), namespace="ns", name=name, resource=resource, subresource=subresource,
                path=path,
            )
        except ApiError as error:
            return web.json_response(error.status, status=error.code)

    runner = web.ServerRunner(web.Server(serve))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    base = f"http://127.0.0.1:{runner.addresses[0][1]}"
    async with aiohttp.ClientSession(base) as client:
        yield SimpleNamespace(
            client=client, kubelet=kubelet, refuse=refuse, objects=objects, port=runner.addresses[0][1]
        )
    await streaming.close()
    await runner.cleanup()
    await kubelet_runner.cleanup()


async def test_logs_flow_while_they_are_written(setup: SimpleNamespace) -> None:
    async with setup.client.get("/pods/p/log?container=c&follow=true&tailLines=5") as answer:
        assert answer.status == 200
        assert await answer.content.readany() == b"one\n"
        setup.kubelet.more.set()
        assert await answer.content.read() == b"two\n"
    assert setup.kubelet.asked == ["/containerLogs/ns/p/c?follow=true&tailLines=5"]


async def test_the_kubelets_refusal_becomes_a_status(setup: SimpleNamespace) -> None:
    async with setup.client.get("/pods/p/log?container=bad") as answer:
        status = await answer.json()
    assert (status["code"], status["reason"]) == (400, "BadRequest")
    assert status["message"] == 'container "bad" in pod "p" is waiting to start: ContainerCreating'


async def test_wrong_containers_and_options_never_reach_the_kubelet(setup: SimpleNamespace) -> None:
    for query, code, text in (
        ("", 400, "a container name must be specified for pod p, choose one of: [c bad]"),
        ("?container=x", 400, "container x is not valid for pod p"),
        ("?container=c&tailLines=-1", 422, 'PodLogOptions "p" is invalid: tailLines: Invalid value: -1'),
    ):
        async with setup.client.get(f"/pods/p/log{query}") as answer:
            status = await answer.json()
        assert (status["code"], text in status["message"]) == (code, True), status
    async with setup.client.get("/pods/pending/log") as answer:
        assert (answer.status, await answer.read()) == (200, b"")
    assert not setup.kubelet.asked


async def test_exec_relays_a_websocket_and_hides_credentials(setup: SimpleNamespace) -> None:
    async with setup.client.ws_connect(
        "/pods/p/exec?container=c&command=sh&command=-c&stdin=true&stdout=true", protocols=["v5.channel.k8s.io"],
        headers={"Authorization": "Bearer secret"},
    ) as socket:
        assert socket.protocol == "v5.channel.k8s.io"
        big = b"\x00" + b"x" * 300_000
        for data in (b"\x00hello", big):
            await socket.send_bytes(data)
            assert (await socket.receive_bytes())[1:] == data[1:]
    assert setup.kubelet.asked == ["/exec/ns/p/c?input=1&output=1&command=sh&command=-c"]
    assert "Authorization" not in setup.kubelet.headers[0]
    assert setup.refuse.seen[0].object["command"] == ["sh", "-c"]


async def test_exec_errors(setup: SimpleNamespace) -> None:
    async with setup.client.get("/pods/p/exec?container=c&command=a&stdout=1") as answer:
        assert answer.status == 400 and "Upgrade request required" in await answer.text()
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await setup.client.ws_connect("/pods/p/exec?container=bad&command=a&stdout=1")
    assert refused.value.status == 404
    with pytest.raises(aiohttp.WSServerHandshakeError) as pending:
        await setup.client.ws_connect("/pods/pending/exec?command=a&stdout=1")
    assert pending.value.status == 400
    setup.refuse.on = True
    with pytest.raises(aiohttp.WSServerHandshakeError) as denied:
        await setup.client.ws_connect("/pods/p/exec?container=c&command=a&stdout=1")
    assert denied.value.status == 403


async def test_any_upgraded_protocol_is_relayed_byte_for_byte() -> None:
    """SPDY/3.1, which the HTTP server does not know: a raw echo behind a 101."""
    from podwright.apiserver.streaming.relay import relay

    got: list[bytes] = []

    async def backend(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\nfirst")
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(backend, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]

    async def serve(request: web.BaseRequest) -> web.StreamResponse:
        return await relay(request, "127.0.0.1", port, "/portForward/ns/p", tls=None)

    runner = web.ServerRunner(web.Server(serve))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    reader, writer = await asyncio.open_connection(*runner.addresses[0][:2])
    writer.write(
        b"POST /x HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n"
        b"X-Stream-Protocol-Version: portforward.k8s.io\r\nContent-Length: 0\r\n\r\n"
    )
    async with asyncio.timeout(60):
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 ")
        assert await reader.readexactly(5) == b"first"
        data = bytes(range(256)) * 4096
        writer.write(data)
        assert await reader.readexactly(len(data)) == data
        writer.close()
        await asyncio.sleep(0)
    assert b"X-Stream-Protocol-Version: portforward.k8s.io" in got[0]
    await runner.cleanup()
    server.close()


async def test_proxy_to_a_node_and_the_slash(setup: SimpleNamespace) -> None:
    async with setup.client.post("/nodes/n/proxy/stats/summary?x=1") as answer:
        assert await answer.text() == "POST /stats/summary?x=1"
        assert answer.headers["X-Kubelet"] == "yes"
    async with setup.client.get("/nodes/n/proxy", allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (301, "/api/v1/nodes/n/proxy/")
    async with setup.client.get("/nodes/n/proxy/", allow_redirects=False) as answer:
        assert (answer.status, await answer.text()) == (200, "GET /")


async def test_proxy_to_a_service_needs_an_endpoint(setup: SimpleNamespace) -> None:
    setup.objects.put(
        {
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "s", "namespace": "ns"},
            "spec": {"ports": [{"name": "web", "port": 80}]},
        }
    )
    async with setup.client.get("/services/s:web/proxy/") as answer:
        assert answer.status == 503
        assert (await answer.json())["message"] == 'no endpoints available for service "s"'

    backend = web.ServerRunner(web.Server(setup.kubelet.handle))
    await backend.setup()
    await web.TCPSite(backend, "127.0.0.1", 0).start()
    setup.objects.put(
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": "s-1", "namespace": "ns", "labels": {"kubernetes.io/service-name": "s"}},
            "endpoints": [{"addresses": ["127.0.0.1"], "conditions": {"ready": True}}],
            "ports": [{"name": "web", "port": backend.addresses[0][1]}],
        }
    )
    for name in ("s:web", "s:80", "s"):
        async with setup.client.put(f"/services/{name}/proxy/a/b") as answer:
            assert await answer.text() == "PUT /a/b"
    await backend.cleanup()


def test_the_default_container_annotation_counts_for_exec_only() -> None:
    pod = {
        "metadata": {"name": "p", "annotations": {"kubectl.kubernetes.io/default-container": "b"}},
        "spec": {"containers": [{"name": "a"}, {"name": "b"}]},
    }
    assert container_of(pod, "", annotated=True) == "b"
    with pytest.raises(ApiError):
        container_of(pod, "")


async def test_a_proxied_body_keeps_its_length(setup: SimpleNamespace) -> None:
    """Servers that know no chunks would take the body for the next request."""
    async with setup.client.put("/nodes/n/proxy/x", data=b"body") as answer:
        assert answer.status == 200
    assert setup.kubelet.headers[-1]["Content-Length"] == "4"
    assert "Transfer-Encoding" not in setup.kubelet.headers[-1]
