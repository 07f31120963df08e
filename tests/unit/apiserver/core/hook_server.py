"""A real HTTPS server for what the API server calls: conversion and admission webhooks, extension API servers."""

from __future__ import annotations

import base64
import inspect
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from .conftest import Pki

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


@dataclass
class HookServer:
    """`answers` by path, from the review's request to the response (which may be waited for); what was asked is kept in
    `asked`."""

    port: int
    bundle: str
    answers: dict[str, Callable[[dict[str, Any]], Any]] = field(default_factory=dict)
    asked: list[dict[str, Any]] = field(default_factory=list)

    def client_config(self, path: str) -> dict[str, Any]:
        return {"url": f"https://127.0.0.1:{self.port}{path}", "caBundle": self.bundle}

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        review = json.loads(await request.read())
        self.asked.append(review["request"])
        answer = self.answers[request.path](review["request"])
        if inspect.isawaitable(answer):
            answer = await answer
        response = {"uid": review["request"]["uid"], **answer}
        return web.json_response({**{k: review[k] for k in ("apiVersion", "kind")}, "response": response})


@asynccontextmanager
async def https_server(pki: Pki, handler: Handler, *, client_ca: str = "") -> AsyncIterator[int]:
    """Serves `handler` under the test PKI's server certificate; the port. With `client_ca`, asks for certificates."""
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=client_ca or None)
    tls.load_cert_chain(pki.path("server.crt"), pki.path("server.key"))
    if client_ca:
        tls.verify_mode = ssl.CERT_OPTIONAL
    runner = web.ServerRunner(web.Server(handler), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


@asynccontextmanager
async def hook_server(pki: Pki) -> AsyncIterator[HookServer]:
    made = HookServer(0, base64.b64encode(pki.path("ca.crt").read_bytes()).decode())
    async with https_server(pki, made.handle) as port:
        made.port = port
        yield made
