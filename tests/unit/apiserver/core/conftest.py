"""A whole API server on a loopback port, over TLS, with a memory store."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from podwright.apiserver.config import ApiServerConfig
from podwright.apiserver.server import ApiServer

ADMIN = "admin-token"
BOB = "bob-token"


@dataclass
class Pki:
    directory: Path

    def path(self, name: str) -> Path:
        return self.directory / name


def _name(cn: str, *groups: str) -> x509.Name:
    parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, g) for g in groups]
    return x509.Name([*parts, x509.NameAttribute(NameOID.COMMON_NAME, cn)])


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    directory = tmp_path_factory.mktemp("pki")
    ca_key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)

    def write(name: str, subject: x509.Name, *, ca: bool = False) -> None:
        key = ca_key if ca else ec.generate_private_key(ec.SECP256R1())
        names = [x509.DNSName(known) for known in ("localhost", "e2e-test-webhook.hooks.svc")]
        address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        built = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(_name("test-ca"))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca, None), True)
            .add_extension(x509.SubjectAlternativeName([*names, address]), False)
            .sign(ca_key, hashes.SHA256())
        )
        (directory / f"{name}.crt").write_bytes(built.public_bytes(serialization.Encoding.PEM))
        (directory / f"{name}.key").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )

    write("ca", _name("test-ca"), ca=True)
    write("server", _name("kube-apiserver"))
    write("admin", _name("kubernetes-admin", "system:masters"))
    write("service-account", _name("unused"))
    (directory / "tokens.csv").write_text(f'{ADMIN},admin,1,"system:masters"\n{BOB},bob,2,"dev"\n')
    return Pki(directory)


@dataclass
class Answer:
    status: int
    headers: Any
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Api:
    """A plain HTTP client of the server."""

    def __init__(self, server: ApiServer, session: aiohttp.ClientSession, token: str = ADMIN) -> None:
        self.server = server
        self.session = session
        self.token = token

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.server.port}"

    async def request(
        self, method: str, path: str, body: Any = None, *, content_type: str = "application/json",
        headers: dict[str, str] | None = None, token: str | None = None,
    ) -> Answer:
        sent = {"Content-Type": content_type, **(headers or {})}
        token = self.token if token is None else token
        if token:
            sent["Authorization"] = f"Bearer {token}"
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        async with self.session.request(method, self.url + path, data=data, headers=sent) as response:
            return Answer(response.status, response.headers, await response.read())

    async def get(self, path: str, **more: Any) -> Answer:
        return await self.request("GET", path, **more)

    async def post(self, path: str, body: Any, **more: Any) -> Answer:
        return await self.request("POST", path, body, **more)

    async def put(self, path: str, body: Any, **more: Any) -> Answer:
        return await self.request("PUT", path, body, **more)

    async def patch(self, path: str, body: Any, kind: str = "merge-patch+json", **more: Any) -> Answer:
        return await self.request("PATCH", path, body, content_type=f"application/{kind}", **more)

    async def delete(self, path: str, body: Any = None, **more: Any) -> Answer:
        return await self.request("DELETE", path, body, **more)

    @asynccontextmanager
    async def watch(self, path: str, **more: Any) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
        headers = {"Authorization": f"Bearer {self.token}", **more.get("headers", {})}
        async with self.session.get(self.url + path, headers=headers) as response:
            assert response.status == 200, await response.text()

            async def events() -> AsyncIterator[dict[str, Any]]:
                async for line in response.content:
                    yield json.loads(line)

            yield events()


async def take(events: AsyncIterator[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    """The next `count` events."""
    found: list[dict[str, Any]] = []
    async with asyncio.timeout(60):
        while len(found) < count:
            found.append(await anext(events))
    return found


def config_for(pki: Pki, **more: Any) -> ApiServerConfig:
    settings: dict[str, Any] = {
        "store_url": "memory://", "certificate": pki.path("server.crt"), "key": pki.path("server.key"),
        "client_ca": pki.path("ca.crt"), "host": "127.0.0.1", "port": 0, "token_file": pki.path("tokens.csv"),
        "service_account_signing_key": pki.path("service-account.key"), "shutdown_seconds": 1.0, **more,
    }
    return ApiServerConfig(**settings)


@asynccontextmanager
async def running(config: ApiServerConfig, **more: Any) -> AsyncIterator[Api]:
    server = ApiServer(config, **more)
    await server.start()
    try:
        context = ssl.create_default_context(cafile=str(config.client_ca))
        connector = aiohttp.TCPConnector(ssl=context, limit=0)
        async with aiohttp.ClientSession(connector=connector) as session:
            yield Api(server, session)
    finally:
        await server.stop()


@pytest.fixture
async def api(pki: Pki) -> AsyncIterator[Api]:
    async with running(config_for(pki)) as api:
        yield api


def pod(name: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"containers": [{"name": "c", "image": "busybox"}], **spec},
    }


def config_map(name: str, **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


async def service_account(api: Api, namespace: str = "default") -> None:
    await api.post(
        f"/api/v1/namespaces/{namespace}/serviceaccounts",
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}},
    )
