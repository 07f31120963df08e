"""/healthz, /livez, /readyz and /metrics of a process that runs scheduler or controllers alone, at upstream's ports.

The health pages are open. Who reads /metrics shows a bearer token that the API server knows (TokenReview) and lets read
that path (SubjectAccessReview), as upstream's delegated authentication and authorization has it. The certificate is
made anew at each start and signed by nobody, as upstream's is unless one is given."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import prometheus_client
from aiohttp import web

from podwright.api.resources import SUBJECTACCESSREVIEWS, TOKENREVIEWS
from podwright.api.status import ApiError
from podwright.client.client import Client
from podwright.client.transport import ServerUnreachable
from podwright.cluster import host
from podwright.cluster.pki import Pki

log = logging.getLogger(__name__)

SCHEDULER_PORT = 10259
CONTROLLERS_PORT = 10257
_HEALTH = frozenset({"/healthz", "/livez", "/readyz"})
_BEARER = "Bearer "

Check = Callable[[], bool]


def _certificate() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    with tempfile.TemporaryDirectory() as directory:
        pki = Pki(Path(directory))
        pki.ensure_ca()
        pair = pki.server("component", host.hostname(), [host.hostname(), "localhost", "127.0.0.1"])
        context.load_cert_chain(str(pair.certificate), str(pair.key))
    return context


async def _refusal(client: Client, request: web.BaseRequest) -> web.Response | None:
    """None if the caller may read the path, else the answer that it may not."""
    header = request.headers.get("Authorization", "")
    if not header.startswith(_BEARER):
        return web.Response(status=401, text="Unauthorized")
    try:
        asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
                 "spec": {"token": header.removeprefix(_BEARER)}}
        review = (await client.create(TOKENREVIEWS, asked)).get("status") or {}
        if not review.get("authenticated"):
            return web.Response(status=401, text="Unauthorized")
        user = review.get("user") or {}
        wanted = {"nonResourceAttributes": {"path": request.path, "verb": request.method.lower()}}
        asked = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
                 "spec": {**wanted, "user": user.get("username"), "groups": user.get("groups") or [],
                          "uid": user.get("uid") or "", "extra": user.get("extra") or {}}}
        answer = (await client.create(SUBJECTACCESSREVIEWS, asked)).get("status") or {}
    except (ApiError, ServerUnreachable) as failed:
        log.warning("%s not shown: %s", request.path, failed)
        return web.Response(status=500, text="Internal Server Error")
    if answer.get("allowed"):
        return None
    return web.Response(
        status=403, text=f'forbidden: User "{user.get("username")}" cannot get path "{request.path}"'
    )


@contextlib.asynccontextmanager
async def serving(client: Client, port: int, ready: Mapping[str, Check]) -> AsyncIterator[int]:
    """Serves while the context lasts; gives the port, which the system chooses for 0. `ready`: what /readyz asks, by
    name.

    Raises:
        OSError: the port is taken.
    """

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        if request.method not in ("GET", "HEAD"):
            return web.Response(status=405, text="Method Not Allowed")
        if request.path in _HEALTH:
            checks = ready if request.path == "/readyz" else {}
            failed = [f"[-]{name} failed: reason withheld\n" for name, check in checks.items() if not check()]
            if failed:
                return web.Response(status=500, text=f"{''.join(failed)}readyz check failed\n")
            return web.Response(text="ok")
        if request.path != "/metrics":
            return web.Response(status=404, text="404 page not found")
        refused = await _refusal(client, request)
        if refused is not None:
            return refused
        body = await asyncio.to_thread(prometheus_client.generate_latest)
        return web.Response(body=body, headers={"Content-Type": prometheus_client.CONTENT_TYPE_LATEST})

    both = socket.has_dualstack_ipv6()
    listening = socket.create_server(
        ("", port), family=socket.AF_INET6 if both else socket.AF_INET, dualstack_ipv6=both
    )
    runner = web.ServerRunner(web.Server(handle, access_log=None), shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.SockSite(runner, listening, ssl_context=await asyncio.to_thread(_certificate)).start()
        yield int(listening.getsockname()[1])
    finally:
        await runner.cleanup()
