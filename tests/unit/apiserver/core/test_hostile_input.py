"""Input that means harm, over real connections: each is the client's fault, and the server serves on."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import logging
import os
import random
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import aiohttp
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from podwright.api.protobuf import envelope
from podwright.api.resources import CONFIGMAPS
from podwright.apiserver.http import frontend, listener, watch_stream

from .conftest import ADMIN, Api, Pki, config_for, config_map, pod, running, service_account, take

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
ISSUER = "https://kubernetes.default.svc.cluster.local"


def resident() -> int:
    """Bytes of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def alive(api: Api) -> bool:
    return (await api.get("/readyz")).status == 200


async def test_annotations_have_a_limit(api: Api) -> None:
    big = config_map("big")
    big["metadata"]["annotations"] = {f"k{i}": "x" * 1024 for i in range(1024)}
    answer = await api.post(CONFIG_MAPS, big)
    assert answer.status == 422
    assert answer.json["details"]["causes"][0] == {
        "reason": "FieldValueTooLong", "message": "Too long: may not be more than 262144 bytes",
        "field": "metadata.annotations",
    }


async def test_a_body_without_a_length_has_the_same_limit(api: Api) -> None:
    async def endless() -> Any:
        for _ in range(64):
            yield b"x" * 65536

    headers = {"Authorization": f"Bearer {ADMIN}", "Content-Type": "application/json"}
    async with api.session.post(api.url + CONFIG_MAPS, data=endless(), headers=headers) as answer:
        assert answer.status == 413


@pytest.mark.parametrize("name", ["..", ".", "a/b", "a%2Fb", "..%2f..", "a\u0000", "a" * 254, "A", "é", "-a"])
async def test_names_that_are_paths(api: Api, name: str) -> None:
    answer = await api.post(CONFIG_MAPS, config_map(name))
    assert answer.status == 422, answer.text
    assert answer.json["details"]["causes"][0]["field"] == "metadata.name"


HEADS = [
    b"GET /api HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    b"POST /api HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    b"POST /api HTTP/1.1\r\nHost: x\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    b"POST /api HTTP/1.1\r\nHost: x\r\nContent-Length: +5\r\n\r\nhello",
    b"POST /api HTTP/1.1\r\nHost: x\r\nContent-Length: 0x5\r\n\r\nhello",
    b"POST /api HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n\r\n",
    b"POST /api HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffffffff\r\n",
    b"GET /api HTTP/1.1\r\nHost: x\r\nX-A: b\x00c\r\n\r\n",
    b"GET /api HTTP/1.1\r\nHost: x\r\n folded: b\r\n\r\n",
    b"GET /api HTTP/1.1\r\nHost: x\r\nX-Y\r\n\r\n",
    b"GET /api HTTP/9.9\r\nHost: x\r\n\r\n",
    b"G\xffT /api HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /api HTTP/1.1\r\nHost: x\r\n" + b"X-A: b\r\n" * 1000 + b"\r\n",
    b"GET /" + b"a" * 70000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03" + b"\x00" * 60 + b"\r\n\r\n",
]


async def exchange(api: Api, pki: Pki, text: bytes, seconds: float = 0.5) -> bytes:
    """All that comes back until the server closes the connection, or so many seconds have passed."""
    context = ssl.create_default_context(cafile=str(pki.path("ca.crt")))
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", api.server.port, ssl=context, server_hostname="localhost"
    )
    answer = b""
    try:
        writer.write(text)
        async with asyncio.timeout(seconds):
            while part := await reader.read(65536):
                answer += part
    except (TimeoutError, ConnectionError):
        pass
    finally:
        writer.close()
    return answer


async def test_heads_that_two_servers_would_read_differently(
    api: Api, pki: Pki, caplog: pytest.LogCaptureFixture
) -> None:
    answers = await asyncio.gather(*(exchange(api, pki, head) for head in HEADS))
    assert not [r for r in caplog.records if r.name == "aiohttp.server" and r.levelno > logging.DEBUG]
    for head, answer in zip(HEADS, answers, strict=True):
        first = answer.split(b"\r\n")[0]
        assert first[9:12] in (b"400", b"401", b"403", b"404", b"405", b"431", b"414", b""), (head[:80], first)
        assert answer.count(b"HTTP/1.1 ") <= 1, f"smuggled: {head[:80]!r} {answer[:200]!r}"
    assert await alive(api)


async def test_the_head_of_a_watch_has_no_body(api: Api, pki: Pki) -> None:
    path = f"{CONFIG_MAPS}?watch=true&timeoutSeconds=1"
    asked = f"HEAD {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ADMIN}\r\nConnection: close\r\n\r\n".encode()
    answer = await exchange(api, pki, asked, 60)
    assert answer.startswith(b"HTTP/1.1 200 ") and b"Content-Type: application/json" in answer
    assert answer.endswith(b"\r\n\r\n") and answer.count(b"\r\n\r\n") == 1


def forged(pki: Pki) -> dict[str, str]:
    now = int(time.time())
    claims = {
        "iss": ISSUER, "sub": "system:serviceaccount:default:default", "aud": [ISSUER], "iat": now, "nbf": now,
        "exp": now + 3600,
        "kubernetes.io": {"namespace": "default", "serviceaccount": {"name": "default", "uid": "u"}},
    }
    ours = serialization.load_pem_private_key(pki.path("service-account.key").read_bytes(), None)
    assert isinstance(ours, ec.EllipticCurvePrivateKey)
    public = ours.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    part = base64.urlsafe_b64encode
    symmetric = part(json.dumps({"alg": "HS256", "typ": "JWT"}).encode()).rstrip(b"=") + b"." + part(
        json.dumps(claims).encode()
    ).rstrip(b"=")
    mac = part(hmac.new(public, symmetric, hashlib.sha256).digest()).rstrip(b"=")
    return {
        "none": jwt.encode(claims, "", algorithm="none"),
        "public key as secret": (symmetric + b"." + mac).decode(),
        "wrong key": jwt.encode(claims, ec.generate_private_key(ec.SECP256R1()), algorithm="ES256"),
        "expired": jwt.encode({**claims, "exp": now - 60}, ours, algorithm="ES256"),
        "not yet": jwt.encode({**claims, "nbf": now + 600}, ours, algorithm="ES256"),
        "wrong audience": jwt.encode({**claims, "aud": ["other"]}, ours, algorithm="ES256"),
        "no such account": jwt.encode({**claims, "sub": "system:serviceaccount:default:x"}, ours, algorithm="ES256"),
        "huge expiry": jwt.encode({**claims, "exp": 10**30}, ours, algorithm="ES256"),
        "text expiry": jwt.encode({**claims, "exp": now + 60, "kubernetes.io": "x"}, ours, algorithm="ES256"),
        "lists": jwt.encode({**claims, "kubernetes.io": {"serviceaccount": []}}, ours, algorithm="ES256"),
        "odd key id": jwt.encode(claims, ours, algorithm="ES256", headers={"kid": "../../etc/passwd"}),
        "two dots": "..",
        "no JSON": "e30.e30.e30",
        "array claims": part(b'{"alg":"ES256"}').decode().rstrip("=") + ".W10.AAAA",
        "garbage": "\u00e9" * 50,
    }


async def test_forged_tokens(api: Api, pki: Pki) -> None:
    await service_account(api)
    for what, token in forged(pki).items():
        answer = await api.get("/api/v1/nodes", token=token)
        assert answer.status == 401, (what, answer.status, answer.text)
    for header in ("Basic YTpi", "Bearer", "Bearer ", "bearer  x y", "Negotiate x", "Bearer " + "x" * 20000):
        answer = await api.get("/api/v1/nodes", token="", headers={"Authorization": header})
        assert answer.status in (401, 403), (header[:20], answer.status)


async def test_certificates_of_others(api: Api, pki: Pki, tmp_path: Path) -> None:
    """One that our authority did not sign never becomes a user; bytes that are no TLS end the connection."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj",
         "/O=system:masters/CN=evil", "-keyout", "k.pem", "-out", "c.pem", "-days", "1"],
        cwd=tmp_path, check=True, capture_output=True,
    )
    context = ssl.create_default_context(cafile=str(pki.path("ca.crt")))
    context.load_cert_chain(tmp_path / "c.pem", tmp_path / "k.pem")
    with pytest.raises((OSError, aiohttp.ServerDisconnectedError)):
        async with api.session.get(f"{api.url}/api/v1/nodes", ssl=context) as answer:
            await answer.read()
    _, writer = await asyncio.open_connection("127.0.0.1", api.server.port)
    writer.write(random.Random(1).randbytes(500))
    writer.close()
    assert await alive(api)


def mutations(rng: random.Random, whole: bytes, count: int) -> list[bytes]:
    found = []
    for _ in range(count):
        data = bytearray(whole)
        for _ in range(rng.randrange(1, 4)):
            at = rng.randrange(len(data))
            match rng.randrange(4):
                case 0:
                    data[at] = rng.randrange(256)
                case 1:
                    del data[at : at + rng.randrange(1, 20)]
                case 2:
                    data[at:at] = rng.choice([b"\xff\xff\xff\xff\x0f", b"{", b"[", b"\x00", b"\xed\xa0\x80", b"1e400"])
                case _:
                    data[at:at] = data[at : at + 30] * rng.randrange(1, 4)
            if not data:
                break
        found.append(bytes(data))
    return found


async def test_bodies_with_bytes_changed_at_random(api: Api) -> None:
    await service_account(api)
    rng = random.Random(3)
    whole = pod("a", nodeSelector={"a": "b"})
    forms = {
        "application/json": json.dumps(whole).encode(),
        "application/yaml": b"apiVersion: v1\nkind: Pod\nmetadata: &m\n  name: a\nspec:\n  containers:\n"
        b"  - {name: c, image: 'x', command: [a, *m, !!int 3]}\n  ? [a]\n  : b\n",
        "application/vnd.kubernetes.protobuf": envelope.encode(whole),
    }
    for media, sent in forms.items():
        for data in mutations(rng, sent, 60):
            answer = await api.post("/api/v1/namespaces/default/pods?dryRun=All", data, content_type=media)
            assert answer.status < 500, (media, data, answer.text)


async def test_numbers_and_depth(api: Api) -> None:
    for value in ("1" * 5000, "-" + "9" * 400, "1e9999", "0.1e-999", "1E400", "-0", "9223372036854775808", "00", "1."):
        body = b'{"metadata":{"name":"a"},"spec":{"replicas":%s}}' % value.encode()
        answer = await api.post("/apis/apps/v1/namespaces/default/deployments", body)
        assert answer.status in (400, 422), (value[:20], answer.status)
    deep = b'{"metadata":{"name":"a"},"data":' + b'{"a":' * 20000 + b"1" + b"}" * 20001
    for kind in ("json", "yaml"):
        assert (await api.post(CONFIG_MAPS, deep, content_type=f"application/{kind}")).status == 400
    bomb = b"a: &a [x,x,x,x,x,x,x,x,x]\n" + b"".join(
        b"%c: &%c [%s]\n" % (98 + i, 98 + i, b",".join([b"*%c" % (97 + i)] * 9)) for i in range(9)
    )
    assert (await api.post(CONFIG_MAPS, bomb, content_type="application/yaml")).status == 400


async def test_a_body_that_does_not_come_is_not_waited_for(api: Api, pki: Pki, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frontend, "_BODY_SECONDS", 0.2)
    head = (
        f"POST {CONFIG_MAPS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ADMIN}\r\n"
        "Content-Type: application/json\r\nContent-Length: 50\r\n\r\n{"
    )
    assert (await exchange(api, pki, head.encode())).split(b"\r\n")[0].endswith(b"408 Request Timeout")


async def test_a_watcher_that_does_not_read_is_dropped(api: Api, pki: Pki, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is kept for it beyond its bound; the one beside it gets everything."""
    monkeypatch.setattr(watch_stream, "_PENDING_BYTES", 2**20)
    await api.post(CONFIG_MAPS, config_map("big", a=""))
    cache = api.server.registry.cache(CONFIGMAPS)
    small = socket.socket()
    small.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    small.setblocking(False)
    await asyncio.get_running_loop().sock_connect(small, ("127.0.0.1", api.server.port))
    reader, writer = await asyncio.open_connection(
        sock=small, ssl=ssl.create_default_context(cafile=str(pki.path("ca.crt"))), server_hostname="localhost"
    )
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    query = "?watch=1&resourceVersion=0&allowWatchBookmarks=false"
    writer.write(f"GET {CONFIG_MAPS}{query} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ADMIN}\r\n\r\n".encode())

    def watchers() -> int:
        return sum(len(found) for found in cache._subscribers.values())

    before = watchers()
    async with api.watch(f"{CONFIG_MAPS}?watch=1") as events:
        await take(events, 1)
        for i in range(120):
            await api.patch(f"{CONFIG_MAPS}/big", {"data": {"a": f"{i}" + "x" * 100_000}})
            assert (await take(events, 1))[0]["object"]["data"]["a"].startswith(f"{i}x")
        assert watchers() == before + 1
    writer.transport.abort()
    del reader


async def test_connections_that_say_nothing(pki: Pki, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody else waits for them, their memory has bounds, and those that never spoke are closed.
    ``PODWRIGHT_IDLE_CONNECTIONS=10000`` is the large form."""
    count = int(os.environ.get("PODWRIGHT_IDLE_CONNECTIONS", "150"))
    monkeypatch.setattr(listener, "HANDSHAKE_SECONDS", 1.5 + count / 200)
    async with running(config_for(pki)) as api:
        before = resident()
        idle = await asyncio.create_subprocess_exec(
            sys.executable, str(Path(__file__).with_name("idle_clients.py")), str(api.server.port),
            str(pki.path("ca.crt")), str(count), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )
        assert idle.stdin is not None and idle.stdout is not None
        try:
            async with asyncio.timeout(300):
                assert await idle.stdout.readline() == b"open\n"
                assert (resident() - before) / count < 512 * 1024, "bytes a connection"
                for _ in range(3):  # a new connection each time
                    head = f"GET {CONFIG_MAPS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ADMIN}\r\n"
                    answer = await exchange(api, pki, f"{head}Connection: close\r\n\r\n".encode(), 60)
                    assert answer.startswith(b"HTTP/1.1 200 ")
                silent = kept = 0
                while silent < count // 3 * 2:
                    assert (await api.get("/readyz")).status == 200
                    idle.stdin.write(b"\n")
                    silent, kept = map(int, (await idle.stdout.readline()).split())
                    await asyncio.sleep(0.05)
                assert kept == 0, "whoever had an answer may ask again"
        finally:
            idle.stdin.close()
            await idle.wait()
