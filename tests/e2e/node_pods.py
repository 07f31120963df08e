"""What the node's end-to-end tests are made of: Pods in few words, waiting for what becomes of them, servers in the
test's own process for Pods, hooks and probes to call."""

from __future__ import annotations

import asyncio
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlencode

import aiohttp
import pytest
from grpclib.const import Cardinality, Handler
from grpclib.encoding.base import CodecBase
from grpclib.server import Server
from tests.e2e.conformance import Api, Json, Refused
from tests.e2e.harness import busybox, has_condition, until

STAY = "trap 'exit 0' TERM; sleep 3600 & wait"


def env(**variables: Any) -> Json:
    """Values are text or valueFrom."""
    return {"env": [{"name": k, **({"value": v} if isinstance(v, str) else {"valueFrom": v})}
                    for k, v in variables.items()]}  # fmt: skip


def field_env(**paths: str) -> Json:
    return env(**{name: {"fieldRef": {"fieldPath": path}} for name, path in paths.items()})


# -- a server of the test's own, which Pods, hooks and probes call --------------------------------------------------


class Listener:
    """Remembers the paths that it was asked for."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        listener = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                listener.paths.append(self.path)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                return

        self._server = ThreadingHTTPServer(("0.0.0.0", 0), Handler)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def heard(self, path: str) -> None:
        until(lambda: path in self.paths, f"somebody asks for {path}")

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def fetch(listener: Listener, path: str) -> list[str]:
    """The command that has a container with $HOST call us."""
    return ["sh", "-c", f"wget -qO- http://$HOST:{listener.port}{path}"]


@contextmanager
def listening() -> Iterator[Listener]:
    listener = Listener()
    try:
        yield listener
    finally:
        listener.close()


class _Bytes(CodecBase):
    __content_subtype__ = "proto"

    def encode(self, message: Any, message_type: Any) -> bytes:
        return bytes(message)

    def decode(self, data: bytes, message_type: Any) -> bytes:
        return data


class _Health:
    """grpc.health.v1, which always serves."""

    async def check(self, stream: Any) -> None:
        await stream.recv_message()
        await stream.send_message(b"\x08\x01")

    def __mapping__(self) -> dict[str, Handler]:
        return {"/grpc.health.v1.Health/Check": Handler(self.check, Cardinality.UNARY_UNARY, bytes, bytes)}


@contextmanager
def health_service() -> Iterator[int]:
    """The port of a gRPC server in this process."""
    found: Future[int] = Future()
    over = threading.Event()

    async def serve() -> None:
        server = Server([_Health()], codec=_Bytes())
        await server.start("0.0.0.0", 0)
        assert server._server is not None
        found.set_result(server._server.sockets[0].getsockname()[1])
        await asyncio.to_thread(over.wait)
        server.close()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        yield found.result(60)
    finally:
        over.set()
        thread.join()


# -- what the rows are made of --------------------------------------------------------------------------------------


def make(name: str, *containers: Json, **spec: Any) -> Json:
    usual = {"terminationGracePeriodSeconds": 1, "automountServiceAccountToken": False}
    meta = {"name": name, "labels": {"name": name}}
    return {"kind": "Pod", "metadata": meta, "spec": {**usual, "containers": list(containers), **spec}}


def stay(name: str = "main", command: str = STAY, **more: Any) -> Json:
    return busybox(name, command, **more)


def status_of(pod: Json, name: str = "main") -> Json:
    status = pod["status"]
    every = (*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ()),
             *status.get("ephemeralContainerStatuses", ()))  # fmt: skip
    return {s["name"]: s for s in every}[name]


def ready(api: Api, name: str) -> Json:
    return api.until("Pod", name, lambda p: has_condition(p, "Ready"), "ready")


def ended(api: Api, name: str, phase: str = "Succeeded") -> Json:
    return api.until("Pod", name, lambda p: p["status"]["phase"] == phase, phase)


def restarted(api: Api, name: str, times: int = 1) -> Json:
    return api.until("Pod", name, lambda p: status_of(p)["restartCount"] >= times, f"{times} restarts")


def untouched(api: Api, name: str, seconds: float = 3.0) -> None:
    """The container lives on, never restarted, for that long."""
    begin = time.monotonic()
    until(lambda: time.monotonic() - begin > seconds, "time goes by")
    assert status_of(api.get("Pod", name))["restartCount"] == 0, api.get("Pod", name)["status"]


def message(pod: Json, name: str = "main") -> str:
    return str(status_of(pod, name)["state"]["terminated"].get("message", ""))


def refused(code: int, call: Callable[[], Any]) -> str:
    with pytest.raises(Refused) as caught:
        call()
    assert caught.value.code == code, caught.value
    return str(caught.value)


def web(gone_after: float | None = None) -> str:
    """The command of a web server that answers /healthz for so many seconds."""
    serve = "trap 'exit 0' TERM; mkdir /w; echo ok > /w/healthz; httpd -p 8080 -h /w;"
    return f"{serve} sleep {gone_after} & wait $!; rm /w/healthz; {STAY}" if gone_after else f"{serve} {STAY}"


def connection(api: Api) -> ssl.SSLContext:
    """The admin's side of a TLS connection."""
    tls = ssl.create_default_context(cafile=str(api._session.verify))
    tls.load_cert_chain(str(api._session.cert))
    return tls


async def spoken(api: Api, path: str, protocol: str) -> bytes:
    """What a WebSocket says until it is closed."""
    tls = connection(api)
    async with aiohttp.ClientSession() as session, asyncio.timeout(60):
        async with session.ws_connect(api.server + path, protocols=(protocol,), ssl=tls) as socket:
            assert socket.protocol == protocol
            said = b""
            async for frame in socket:
                assert frame.type == aiohttp.WSMsgType.BINARY
                assert protocol != "channel.k8s.io" or frame.data[0] == 1 or len(frame.data) == 1, frame.data
                said += frame.data if protocol == "binary.k8s.io" else frame.data[1:] if frame.data[0] == 1 else b""
            return said


def log_of(api: Api, name: str, container: str = "main", **options: Any) -> str:
    return api.answer("GET", api.path("Pod", name, "log"), params={"container": container, **options}).text


def execute(api: Api, name: str, *command: str, container: str = "") -> str:
    """What a command in a container says on its standard output."""
    query = urlencode({"command": command, "container": container, "stdout": "1", "stderr": "1"}, doseq=True)
    path = f"{api.path('Pod', name, 'exec')}?{query}"
    return asyncio.run(spoken(api, path, "v4.channel.k8s.io")).decode()
