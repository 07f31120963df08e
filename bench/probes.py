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

import hpack
import uvloop

from podwright.client.clock import SystemClock
from podwright.kubelet.probes.manager import Probes

PROBES = 1000


_HTTP = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"


def _frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def _grpc() -> bytes:
    """grpc.health.v1, in HTTP/2 frames: serving."""
    encoder = hpack.Encoder()
    head = encoder.encode([(":status", "200"), ("content-type", "application/grpc")])
    trailers = encoder.encode([("grpc-status", "0")])
    return b"".join((
        _frame(4, 0, 0), _frame(4, 1, 0), _frame(1, 4, 1, head),
        _frame(0, 0, 1, b"\0\0\0\0\2\x08\x01"), _frame(1, 5, 1, trailers),
    ))  # fmt: skip


class Server(asyncio.Protocol):
    """Always well, and so cheap that it is never the server that is late."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        answer, self._answer = self._answer, b""
        self._transport.write(answer)  # type: ignore[attr-defined]


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
        loop = asyncio.get_running_loop()
        servers = [
            await loop.create_server(lambda a=answer: Server(a), "127.0.0.1", 0, backlog=2048)  # type: ignore[misc]
            for answer in (_HTTP, _grpc())
        ]
        ports.send(tuple(server.sockets[0].getsockname()[1] for server in servers))
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
