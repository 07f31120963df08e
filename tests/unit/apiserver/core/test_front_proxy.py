"""A proxy that authenticates users: its word counts by its certificate alone."""

from __future__ import annotations

import asyncio
import socket
import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest

from .conftest import Api, Pki, config_for, running

REVIEW = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
REMOTE = (
    ("X-Remote-User", "jane"), ("x-remote-uid", "7"), ("X-Remote-Group", "dev"), ("X-Remote-Group", "ops"),
    ("X-Remote-Extra-Scopes", "a"), ("X-Remote-Extra-Scopes", "b"), ("X-Remote-Extra-example.com%2fkey", "c"),
)


def certificate(where: Path, name: str, subject: str, *signer: str) -> None:
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1",
         "-subj", subject, "-keyout", f"{name}.key", "-out", f"{name}.crt", *signer],
        cwd=where, check=True, capture_output=True,
    )


@pytest.fixture(scope="module")
def proxies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("front-proxy")
    certificate(where, "ca", "/CN=front-proxy-ca")
    signed = ("-CA", "ca.crt", "-CAkey", "ca.key")
    certificate(where, "proxy", "/CN=front-proxy-client", *signed)
    certificate(where, "other", "/O=system:masters/CN=other", *signed)
    return where


async def whoami(api: Api, certificate: Path, headers: Any = ()) -> tuple[int, Any]:
    context = ssl.create_default_context(cafile=str(api.server.config.client_ca))
    context.load_cert_chain(certificate.with_suffix(".crt"), certificate.with_suffix(".key"))
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    async with api.session.post(api.url + REVIEW, json=body, headers=headers, ssl=context) as answer:
        said = await answer.json()
        return answer.status, said["status"]["userInfo"] if answer.status == 201 else None


async def test_its_word_counts_by_its_certificate(pki: Pki, proxies: Path) -> None:
    config = config_for(
        pki, requestheader_client_ca=proxies / "ca.crt", requestheader_allowed_names=("front-proxy-client",)
    )
    async with running(config) as api:
        assert await whoami(api, proxies / "proxy", REMOTE) == (201, {
            "username": "jane", "uid": "7", "groups": ["dev", "ops", "system:authenticated"],
            "extra": {"scopes": ["a", "b"], "example.com/key": ["c"]},
        })
        # Nobody named, another name, or a token beside it.
        assert (await whoami(api, proxies / "proxy"))[0] == 401
        assert (await whoami(api, proxies / "other", REMOTE))[0] == 401
        assert (await whoami(api, proxies / "other"))[0] == 401
        code, user = await whoami(api, proxies / "proxy", {"Authorization": f"Bearer {api.token}"})
        assert (code, user["username"]) == (201, "admin")
        # Who is no proxy is who their certificate says.
        code, user = await whoami(api, pki.path("admin"), REMOTE)
        assert (code, user["username"]) == (201, "kubernetes-admin")
        plain = await api.post(REVIEW, {"kind": "SelfSubjectReview", "apiVersion": "authentication.k8s.io/v1"},
                               headers={"X-Remote-User": "jane"})
        assert plain.json["status"]["userInfo"]["username"] == "admin"
        found = await api.get("/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication")
        assert found.json["data"]["requestheader-client-ca-file"] == (proxies / "ca.crt").read_text()


async def test_without_names_every_certificate_of_the_authority_counts(pki: Pki, proxies: Path) -> None:
    async with running(config_for(pki, requestheader_client_ca=proxies / "ca.crt")) as api:
        code, user = await whoami(api, proxies / "other", {"X-Remote-User": "jane"})
        assert (code, user["username"], user["groups"]) == (201, "jane", ["system:authenticated"])


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_session_that_is_resumed_is_its_certificates(
    pki: Pki, proxies: Path, version: ssl.TLSVersion
) -> None:
    context = ssl.create_default_context(cafile=str(pki.path("ca.crt")))
    context.maximum_version = version
    context.load_cert_chain(pki.path("admin.crt"), pki.path("admin.key"))
    session: ssl.SSLSession | None = None

    def ask(port: int) -> tuple[bool | None, bytes]:
        nonlocal session
        with socket.create_connection(("127.0.0.1", port)) as plain:
            with context.wrap_socket(plain, server_hostname="localhost", session=session) as connection:
                connection.settimeout(60)
                connection.sendall(b"GET /api/v1/nodes HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                answer = b""
                while part := connection.recv(65536):
                    answer += part
                session = connection.session
                return connection.session_reused, answer[:12]

    async with running(config_for(pki, requestheader_client_ca=proxies / "ca.crt")) as api:
        answers = [await asyncio.to_thread(ask, api.server.port) for _ in range(3)]
    assert answers == [(False, b"HTTP/1.1 200"), (True, b"HTTP/1.1 200"), (True, b"HTTP/1.1 200")]
