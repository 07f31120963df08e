"""The API server under load: figures by wrk (TLS, 32 connections, the load generator on the same cores).

usage: bench/apiserver.py [--seconds S] [--json FILE]

Starts a server of its own on a loopback port with a fresh SQLite store, every write fsynced, default admission on.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import signal
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "src"))

TOKEN = "bench-token"
NAMESPACE = "/api/v1/namespaces/default"
LIST_PODS = 6758
WATCHERS, UPDATES = 1000, 20

CREATE = """
local thread_id, count = 0, 0
function setup(thread) thread:set("id", thread_id); thread_id = thread_id + 1 end
function init(args) kind, prefix, token = args[1], args[2], args[3] end
local pod = '"spec":{"containers":[{"name":"c","image":"docker.io/library/busybox:1.36","command":["sleep","3600"],' ..
  '"resources":{"requests":{"cpu":"10m","memory":"16Mi"}}}]}'
function request()
  count = count + 1
  local name = string.format("%s-%d-%d", prefix, id, count)
  local headers = { ["Authorization"] = "Bearer " .. token, ["Content-Type"] = "application/json" }
  if kind == "cm" then
    return wrk.format("POST", "/api/v1/namespaces/default/configmaps", headers,
      '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"' .. name .. '"},"data":{"a":"b"}}')
  end
  return wrk.format("POST", "/api/v1/namespaces/default/pods", headers,
    '{"apiVersion":"v1","kind":"Pod","metadata":{"name":"' .. name .. '","labels":{"app":"bench"}},' .. pod .. '}')
end
"""
READ = """
function init(args) wrk.headers["Authorization"] = "Bearer " .. args[1]; wrk.headers["Accept"] = "application/json" end
"""


def certificates(directory: Path) -> None:
    """One self-signed certificate for server and client CA, and a key for tokens."""
    subprocess.run(
        [
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days",
            "2", "-subj", "/CN=bench", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "server.key", "-out",
            "server.crt",
        ],
        cwd=directory, check=True, capture_output=True,
    )
    (directory / "tokens.csv").write_text(f'{TOKEN},bench,1,"system:masters"\n')


async def serve(directory: Path) -> None:
    """The server's process; prints its port."""
    from podwright.apiserver.config import ApiServerConfig
    from podwright.apiserver.server import ApiServer

    server = ApiServer(
        ApiServerConfig(
            store_url=f"sqlite://{directory}/store.db", certificate=directory / "server.crt",
            key=directory / "server.key", host="127.0.0.1", port=0, token_file=directory / "tokens.csv",
            service_account_signing_key=directory / "server.key",
        )
    )
    await server.start()
    print(server.port, flush=True)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()
    await server.stop()


class Load:
    def __init__(self, port: int, directory: Path, seconds: float) -> None:
        self.url = f"https://127.0.0.1:{port}"
        self.directory = directory
        self.seconds = seconds
        (directory / "create.lua").write_text(CREATE)
        (directory / "read.lua").write_text(READ)

    def wrk(self, script: str, path: str, *args: str, connections: int = 32, seconds: float = 0) -> dict[str, Any]:
        """Requests per second and latencies (ms); fails on any answer that is no success."""
        run = subprocess.run(
            [
                "wrk", "-t2", f"-c{connections}", f"-d{seconds or self.seconds:.0f}s", "--latency", "-s",
                str(self.directory / script), self.url + path, "--", *args,
            ],
            capture_output=True, text=True, check=True,
        )
        text = run.stdout
        if "Non-2xx" in text:
            raise SystemExit(f"{path}: not every answer was a success\n{text}")
        rate = float(re.search(r"Requests/sec:\s+([\d.]+)", text).group(1))  # type: ignore[union-attr]
        return {"rate": rate, "p50_ms": _latency(text, "50%"), "p99_ms": _latency(text, "99%")}


def _latency(text: str, which: str) -> float:
    value, unit = re.search(rf"{which}\s+([\d.]+)(us|ms|s)", text).groups()  # type: ignore[union-attr]
    return float(value) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[unit]


def _session() -> Any:
    import aiohttp

    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=context, limit=0), headers={"Authorization": f"Bearer {TOKEN}"},
        timeout=aiohttp.ClientTimeout(total=None),
    )


async def fill(url: str, count: int) -> None:
    """Pods up to `count` in the namespace, and no more."""
    async with _session() as session:
        gate = asyncio.Semaphore(32)

        async def one(i: int) -> None:
            body = {
                "apiVersion": "v1", "kind": "Pod", "metadata": {"name": f"fill-{i}", "labels": {"app": "bench"}},
                "spec": {"containers": [{"name": "c", "image": "docker.io/library/busybox:1.36"}]},
            }
            async with gate, session.post(f"{url}{NAMESPACE}/pods", json=body) as answer:
                await answer.read()

        async with asyncio.TaskGroup() as tasks:
            for i in range(count):
                tasks.create_task(one(i))


async def watchers(url: str) -> dict[str, float]:
    """Delay (ms) from sending an update to its event's arrival, over all watchers."""
    delays: list[float] = []
    sent: dict[str, float] = {}
    async with _session() as session:
        path = f"{url}{NAMESPACE}/configmaps"
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "watched"}, "data": {"n": ""}}
        async with session.post(path, json=body) as answer:
            version = (await answer.json())["metadata"]["resourceVersion"]
        ready = asyncio.Semaphore(0)
        mark = re.compile(rb'"n":"(\d+)"')

        async def watch() -> None:
            query = f"?watch=1&resourceVersion={version}&fieldSelector=metadata.name%3Dwatched"
            async with session.get(path + query) as answer:
                ready.release()
                async for line in answer.content:
                    found = mark.search(line)
                    if found:
                        number = found.group(1).decode()
                        delays.append(time.perf_counter() - sent[number])
                        if number == str(UPDATES * 5 - 1):
                            return

        async with asyncio.TaskGroup() as tasks:
            for _ in range(WATCHERS):
                tasks.create_task(watch())
            for _ in range(WATCHERS):
                await ready.acquire()
            for i in range(UPDATES * 5):
                began = time.perf_counter()
                sent[str(i)] = began
                headers = {"Content-Type": "application/merge-patch+json"}
                async with session.patch(f"{path}/watched", json={"data": {"n": str(i)}}, headers=headers) as answer:
                    await answer.read()
                await asyncio.sleep(max(0.0, 1 / UPDATES - (time.perf_counter() - began)))
    delays.sort()
    return {
        "events": len(delays), "p50_ms": statistics.median(delays) * 1000,
        "p99_ms": delays[int(len(delays) * 0.99)] * 1000,
    }


async def setup_account(url: str) -> None:
    async with _session() as session:
        body = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
        async with session.post(f"{url}{NAMESPACE}/serviceaccounts", json=body) as answer:
            await answer.read()


def resident(pid: int) -> float:
    """MiB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def measure(directory: Path, port: int, pid: int, seconds: float) -> list[tuple[str, str, str]]:
    load = Load(port, directory, seconds)
    asyncio.run(setup_account(load.url))
    rows: list[tuple[str, str, str]] = [("resident, just started", f"{resident(pid):.0f} MiB", "")]

    def add(name: str, goal: str, result: dict[str, Any]) -> None:
        rows.append((name, f"{result['rate']:.0f}/s, p99 {result['p99_ms']:.1f} ms", goal))

    asyncio.run(fill(load.url, LIST_PODS))
    rows.append((f"resident with {LIST_PODS} Pods", f"{resident(pid):.0f} MiB", ""))
    add("GET a Pod", "8,000/s", load.wrk("read.lua", f"{NAMESPACE}/pods/fill-7", TOKEN))
    add(f"LIST {LIST_PODS} Pods", "21/s", load.wrk("read.lua", f"{NAMESPACE}/pods", TOKEN, connections=4))
    add("CREATE ConfigMap", "2,000/s", load.wrk("create.lua", "/", "cm", "c", TOKEN))
    add("CREATE Pod", "1,500/s", load.wrk("create.lua", "/", "pod", "p", TOKEN))
    result = asyncio.run(watchers(load.url))
    rows.append(
        (f"{WATCHERS} watchers, {UPDATES} updates/s", f"p50 {result['p50_ms']:.0f} ms, p99 {result['p99_ms']:.0f} ms",
         "p99 250 ms")
    )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        import uvloop

        uvloop.run(serve(options.serve))
        return
    with tempfile.TemporaryDirectory(prefix="podwright-bench-") as name:
        directory = Path(name)
        certificates(directory)
        server = subprocess.Popen(
            [sys.executable, __file__, "--serve", name], stdout=subprocess.PIPE, text=True
        )
        try:
            assert server.stdout is not None
            port = int(server.stdout.readline())
            rows = measure(directory, port, server.pid, options.seconds)
        finally:
            server.terminate()
            server.wait(20)
    for what, value, goal in rows:
        print(f"{what:36} {value:32} {goal and 'goal ' + goal}")
    if options.json:
        options.json.write_text(json.dumps([{"what": w, "value": v, "goal": g} for w, v, g in rows], indent=1))


if __name__ == "__main__":
    main()
