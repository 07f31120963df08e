"""What probes cost: 1,000 a second, of HTTP, TCP and gRPC and all together, against servers in another process.

    python bench/probes.py [--seconds 8] [--json FILE]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import resource
import time
from pathlib import Path
from typing import Any

import uvloop
from aiohttp import web
from grpclib.const import Cardinality, Handler
from grpclib.encoding.base import CodecBase
from grpclib.server import Server

from podwright.client.clock import SystemClock
from podwright.kubelet.probes.manager import Probes

PROBES = 1000


class Bytes(CodecBase):
    __content_subtype__ = "proto"

    def encode(self, message: Any, message_type: Any) -> bytes:
        return bytes(message)

    def decode(self, data: bytes, message_type: Any) -> bytes:
        return data


class Health:
    """grpc.health.v1: serving."""

    @staticmethod
    async def check(stream: Any) -> None:
        await stream.recv_message()
        await stream.send_message(b"\x08\x01")

    def __mapping__(self) -> dict[str, Handler]:
        return {"/grpc.health.v1.Health/Check": Handler(self.check, Cardinality.UNARY_UNARY, bytes, bytes)}


class Nobody:
    """Neither runtime nor recorder nor listener has anything to do here; failures are counted."""

    def __init__(self) -> None:
        self.failures = 0
        self.last = ""

    def event(self, *words: Any, **_: Any) -> None:
        self.failures += 1
        self.last = str(words[-1])

    def probe_failed(self, *_: Any) -> None:
        self.failures += 1

    def readiness_changed(self, *_: Any) -> None:
        return


def serve(ports: Any) -> None:
    async def main() -> None:
        async def ok(_: web.BaseRequest) -> web.Response:
            return web.Response(text="ok")

        runner = web.ServerRunner(web.Server(ok, access_log=None))
        await runner.setup()
        http = web.TCPSite(runner, "127.0.0.1", 0, backlog=2048)
        await http.start()
        grpc = Server([Health()], codec=Bytes())
        await grpc.start("127.0.0.1", 0, backlog=2048)
        listening = grpc._server
        assert listening is not None and runner.addresses
        ports.send((runner.addresses[0][1], listening.sockets[0].getsockname()[1]))
        await asyncio.Event().wait()

    uvloop.run(main())


def probe(kind: str, http: int, grpc: int) -> dict[str, Any]:
    actions: dict[str, dict[str, Any]] = {
        "http": {"httpGet": {"port": http, "path": "/healthz"}},
        "tcp": {"tcpSocket": {"port": http}},
        "grpc": {"grpc": {"port": grpc}},
    }
    return {**actions[kind], "periodSeconds": 1, "timeoutSeconds": 1, "failureThreshold": 3, "successThreshold": 1}


async def measure(kinds: list[str], http: int, grpc: int, seconds: float) -> tuple[float, Nobody]:
    """(share of a core, who counted the failures)."""
    nobody = Nobody()
    probes = Probes(nobody, nobody, SystemClock())  # type: ignore[arg-type]
    probes.listen(nobody)
    task = asyncio.create_task(probes.run())
    for number in range(PROBES):
        uid = f"uid-{number}"
        container = {"name": "c", "image": "x", "livenessProbe": probe(kinds[number % len(kinds)], http, grpc)}
        meta = {"name": uid, "namespace": "default", "uid": uid}
        probes.add_pod({"metadata": meta, "spec": {"containers": [container]}, "status": {}})
        probes.pod_ip_known(uid, "127.0.0.1")
        probes.container_started(uid, "c", f"id-{number}", 1, SystemClock().now())
        await asyncio.sleep(1 / PROBES)
    before, begun = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    await asyncio.sleep(seconds)
    after, took = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter() - begun
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / took, nobody


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    here, there = multiprocessing.Pipe()
    server = multiprocessing.Process(target=serve, args=(there,), daemon=True)
    server.start()
    http, grpc = here.recv()
    rows = []
    for kinds in (["http"], ["tcp"], ["grpc"], ["http", "tcp", "grpc"]):
        share, nobody = uvloop.run(measure(kinds, http, grpc, arguments.seconds))
        what = f"1,000 probes a second: {', '.join(kinds)}"
        print(f"{what:<48} {share * 100:6.1f} % of a core   {nobody.failures} failed   target < 50   {nobody.last}")
        rows.append({"what": what, "value": share * 100, "unit": "% of a core", "target": "< 50"})
    server.terminate()
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
