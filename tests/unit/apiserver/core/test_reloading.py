"""Files that the API server takes over while it runs, and what it does about those that it cannot."""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
import socket
import ssl
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec

from podwright.apiserver import reloading

from .conftest import ADMIN, BOB, Api, Pki, config_for, running
from .hook_server import https_server
from .test_front_proxy import certificate

REVIEW = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
NODES = "/api/v1/nodes"
SECRETS = "/api/v1/namespaces/default/secrets"


async def until(condition: Callable[[], Awaitable[object]]) -> None:
    async with asyncio.timeout(60):
        while not await condition():
            await asyncio.sleep(0.01)


async def counted(api: Api, kind: str, status: str) -> float:
    name = f'apiserver_{kind}_config_controller_automatic_reloads_total{{apiserver_id_hash="sha256:'
    text = (await api.get("/metrics")).text
    found = [line for line in text.splitlines() if line.startswith(name) and f'status="{status}"' in line]
    return float(found[0].rpartition(" ")[2]) if found else 0.0


async def in_force(api: Api, kind: str) -> list[str]:
    name = f"apiserver_{kind}_config_controller_last_config_info"
    return [line for line in (await api.get("/metrics")).text.splitlines() if line.startswith(name)]


async def test_issuers_of_tokens(pki: Pki, tmp_path: Path) -> None:
    keys = {name: ec.generate_private_key(ec.SECP256R1()) for name in "ab"}
    path, base = tmp_path / "authentication.yaml", ""

    async def issue(request: web.BaseRequest) -> web.StreamResponse:
        issuer = request.path[1]
        if request.path.endswith("/keys"):
            key = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(keys[issuer].public_key()))
            return web.json_response({"keys": [{**key, "kid": issuer, "use": "sig", "alg": "ES256"}]})
        return web.json_response({"issuer": f"{base}/{issuer}", "jwks_uri": f"{base}/{issuer}/keys"})

    def trust(issuer: str, more: str = "") -> None:
        authority = json.dumps(pki.path("ca.crt").read_text())
        path.write_text(
            "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\njwt:\n"
            f"- issuer: {{url: '{issuer}', audiences: [cluster], certificateAuthority: {authority}}}\n"
            f"  claimMappings: {{username: {{claim: sub, prefix: ''}}}}\n{more}"
        )

    def token(issuer: str) -> str:
        claims = {"iss": f"{base}/{issuer}", "aud": "cluster", "exp": time.time() + 600, "sub": f"jane-of-{issuer}"}
        return jwt.encode(claims, keys[issuer], "ES256", {"kid": issuer})

    async with https_server(pki, issue) as port:
        base = f"https://127.0.0.1:{port}"
        trust(f"{base}/a")
        async with running(config_for(pki, authentication_config=path)) as api:

            async def who(issuer: str) -> Any:
                body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
                answer = await api.post(REVIEW, body, token=token(issuer))
                return answer.json["status"]["userInfo"]["username"] if answer.status == 201 else answer.status

            async def failed(times: int) -> None:
                await until(lambda: _true(counted(api, "authentication", "failure"), times))
                assert (await who("a"), await who("b")) == (401, "jane-of-b"), "what was there stays"

            assert (await who("a"), await who("b")) == ("jane-of-a", 401)
            before = await in_force(api, "authentication")
            trust(f"{base}/b")
            await until(lambda: _true(counted(api, "authentication", "success"), 1))
            assert (await who("a"), await who("b")) == (401, "jane-of-b"), "the old issuer's tokens are over"
            after = await in_force(api, "authentication")
            assert len(after) == len(before) == 1 and after != before
            path.write_text("jwt: [")
            await failed(1)
            trust(f"{base}/a", "anonymous: {enabled: true}\n")
            await failed(2)
            trust("https://127.0.0.1:1/nobody")
            await failed(3)
            trust(f"{base}/a")
            await until(lambda: _true(counted(api, "authentication", "success"), 2))
            assert (await who("a"), await who("b")) == ("jane-of-a", 401)


async def _true(number: Awaitable[float], wanted: float) -> bool:
    return await number == wanted


async def test_authorizers(pki: Pki, tmp_path: Path) -> None:
    path = tmp_path / "authorization.yaml"

    def ask(*kinds: str) -> None:
        listed = ", ".join(f"{{type: {kind}, name: {kind.lower()}}}" for kind in kinds)
        # Written beside it and moved over it, as most programs do.
        aside = tmp_path / "new"
        aside.write_text(
            "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthorizationConfiguration\n" f"authorizers: [{listed}]\n"
        )
        aside.replace(path)

    ask("AlwaysAllow", "RBAC")
    async with running(config_for(pki, authorization_config=path)) as api:

        async def status() -> int:
            return (await api.get(NODES, token=BOB)).status

        assert await status() == 200
        ask("RBAC")
        await until(lambda: _true(status(), 403))
        assert await counted(api, "authorization", "success") == 1
        ask("Node", "AlwaysAllow")  # the node authorizer was not there at the start
        await until(lambda: _true(counted(api, "authorization", "failure"), 1))
        assert await status() == 403
        ask("AlwaysAllow", "RBAC")
        await until(lambda: _true(status(), 200))
        text = (await api.get("/metrics")).text
    assert 'apiserver_authorization_decisions_total{decision="allowed",name="alwaysallow",type="AlwaysAllow"}' in text


@pytest.mark.parametrize("automatic", [True, False])
async def test_keys_of_encryption(pki: Pki, tmp_path: Path, automatic: bool) -> None:
    path = tmp_path / "encryption.yaml"

    def seal(*names: str) -> None:
        secrets = {name: base64.b64encode(name.encode() * 32).decode() for name in names}
        keys = ", ".join(f"{{name: {name}, secret: {secret}}}" for name, secret in secrets.items())
        path.write_text(
            "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n"
            f"- {{resources: [secrets], providers: [{{aesgcm: {{keys: [{keys}]}}}}]}}\n"
        )

    seal("a")
    config = config_for(
        pki, store_url=f"sqlite://{tmp_path}/store", encryption_config=path,
        encryption_config_automatic_reload=automatic,
    )
    async with running(config) as api:

        async def sealed_by(name: str) -> str:
            body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}}
            assert (await api.post(SECRETS, body)).status == 201
            backend: Any = api.server.store
            entry = await backend._backend.get(f"/registry/secrets/default/{name}")
            return str(entry.value[:20].split(b":")[4].decode())

        assert await sealed_by("one") == "a"
        assert ((await api.get("/readyz/kms-providers")).status == 200) is automatic
        hook = "/livez/poststarthook/start-encryption-provider-config-automatic-reload"
        assert ((await api.get(hook)).status == 200) is automatic
        if not automatic:
            assert await in_force(api, "encryption") == []
            return
        seal("b", "a")
        await until(lambda: _true(counted(api, "encryption", "success"), 1))
        assert await sealed_by("two") == "b"
        assert (await api.put(f"{SECRETS}/one", (await api.get(f"{SECRETS}/one")).json)).status == 200
        seal("b")
        await until(lambda: _true(counted(api, "encryption", "success"), 2))
        path.write_text("kind: EncryptionConfiguration\napiVersion: apiserver.config.k8s.io/v1\nresources: [{}]\n")
        await until(lambda: _true(counted(api, "encryption", "failure"), 1))
        assert await sealed_by("three") == "b"


async def test_certificates(pki: Pki, tmp_path: Path) -> None:
    for name in ("server.crt", "server.key", "ca.crt"):
        shutil.copy(pki.path(name), tmp_path / name)
    certificate(tmp_path, "other-ca", "/CN=other-ca")
    signed = ("-CA", "other-ca.crt", "-CAkey", "other-ca.key", "-addext", "subjectAltName=DNS:localhost")
    certificate(tmp_path, "other", "/O=system:masters/CN=other", *signed)
    certificate(tmp_path, "other-server", "/CN=kube-apiserver", *signed)
    authorities = tmp_path / "authorities.pem"
    authorities.write_text((tmp_path / "ca.crt").read_text() + (tmp_path / "other-ca.crt").read_text())

    def connect(port: int, client: Path) -> ssl.SSLSocket:
        context = ssl.create_default_context(cafile=str(authorities))
        context.load_cert_chain(client.with_suffix(".crt"), client.with_suffix(".key"))
        connection = context.wrap_socket(socket.create_connection(("127.0.0.1", port)), server_hostname="localhost")
        connection.settimeout(60)
        return connection

    def ask(connection: ssl.SSLSocket) -> int:
        connection.sendall(f"GET {NODES} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        with connection.makefile("rb") as answer:
            status = answer.readline().split()
            if not status:
                raise ConnectionError
            length = 0
            while (line := answer.readline().strip()) != b"":
                if line.lower().startswith(b"content-length: "):
                    length = int(line[16:])
            answer.read(length)
        return int(status[1])

    def shown(port: int) -> bytes | None:
        with connect(port, tmp_path / "other") as connection:
            return connection.getpeercert(binary_form=True)

    def accepted(port: int, client: Path) -> bool:
        try:
            with connect(port, client) as connection:
                return ask(connection) == 200
        except OSError:
            return False

    def der(name: str) -> bytes:
        return ssl.PEM_cert_to_DER_cert((tmp_path / f"{name}.crt").read_text())

    thread = asyncio.to_thread
    files = {"certificate": tmp_path / "server.crt", "key": tmp_path / "server.key", "client_ca": tmp_path / "ca.crt"}
    async with running(config_for(pki, **files)) as api:
        port = api.server.port
        old = await thread(connect, port, pki.path("admin"))
        assert await thread(ask, old) == 200
        assert not await thread(accepted, port, tmp_path / "other")
        shutil.copy(tmp_path / "other-ca.crt", tmp_path / "ca.crt")
        await until(lambda: thread(accepted, port, tmp_path / "other"))
        assert await thread(ask, old) == 401, "who is connected is judged by the new authorities too"
        old.close()
        assert not await thread(accepted, port, pki.path("admin"))
        headers = {"Authorization": f"Bearer {ADMIN}"}

        async def published() -> bool:
            where = "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication"
            async with api.session.get(api.url + where, headers=headers) as answer:
                return str((await answer.json())["data"]["client-ca-file"]) == (tmp_path / "other-ca.crt").read_text()

        await until(published)
        kept = await thread(connect, port, tmp_path / "other")
        before = der("server")
        (tmp_path / "server.key").write_bytes((tmp_path / "other-server.key").read_bytes())
        assert await thread(shown, port) == before, "a key without its certificate changes nothing"
        shutil.copy(tmp_path / "other-server.crt", tmp_path / "server.crt")

        async def renewed() -> bool:
            return await thread(shown, port) == der("other-server")

        await until(renewed)
        assert await thread(ask, kept) == 200, "connections stay"
        kept.close()


async def test_files_behind_a_link_that_is_exchanged(tmp_path: Path) -> None:
    """As the kubelet mounts ConfigMaps: the directory of the data is exchanged, the file's own link stays."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    (tmp_path / "..data").symlink_to("one")
    path = tmp_path / "file"
    path.symlink_to("..data/file")
    seen: list[str] = []
    async with asyncio.timeout(60):
        async for _ in reloading.changes([path]):
            seen.append(path.read_text())
            if seen[-1] == "two":
                break
            (tmp_path / "..tmp").symlink_to("two")
            (tmp_path / "..tmp").replace(tmp_path / "..data")
    assert seen[0] == "one"
