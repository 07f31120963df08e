"""The API server under load: figures by wrk (TLS, 32 connections, the load generator on the same cores).

usage: bench/apiserver.py [--seconds S] [--pods N] [--json FILE]

The cost of one write is measured among 1,000 Pods and among N (150000 is the figure to beat; fewer by default).
Starts servers of its own on a loopback port with fresh SQLite stores, every write fsynced, default admission on.
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
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "src"))

TOKEN = "bench-token"
GREEDY, MODEST = "greedy-token", "modest-token"
NAMESPACE = "/api/v1/namespaces/default"
LIST_PODS = 6758
WATCHERS, UPDATES = 1000, 20
FEW = 1000

CREATE = """
local thread_id, count = 0, 0
local threads = {}
function setup(thread)
  thread:set("id", thread_id); thread_id = thread_id + 1; table.insert(threads, thread)
end
refused, told = 0, 0
function init(args) kind, prefix, token, pause = args[1], args[2], args[3], tonumber(args[4] or "0") end
function delay() return pause end
function response(status, headers)
  if status ~= 201 then
    refused = refused + 1
    if status == 429 and headers["Retry-After"] then told = told + 1 end
  end
end
function done()
  local all, with_time = 0, 0
  for _, thread in ipairs(threads) do all = all + thread:get("refused"); with_time = with_time + thread:get("told") end
  io.write(string.format("refused: %d, told when: %d\\n", all, with_time))
end
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
function init(args)
  wrk.headers["Authorization"] = "Bearer " .. args[1]; wrk.headers["Accept"] = "application/json"
  pause = tonumber(args[2] or "0")
end
function delay() return pause end
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
    users = [f'{TOKEN},bench,1,"system:masters"', f"{GREEDY},greedy,2,testers", f"{MODEST},modest,3,testers"]
    (directory / "tokens.csv").write_text("\n".join(users) + "\n")


async def serve(directory: Path, seats: int) -> None:
    """The server's process; prints its port."""
    from podwright.apiserver.config import ApiServerConfig
    from podwright.apiserver.server import ApiServer

    server = ApiServer(
        ApiServerConfig(
            store_url=f"sqlite://{directory}/store.db", certificate=directory / "server.crt",
            key=directory / "server.key", host="127.0.0.1", port=0, token_file=directory / "tokens.csv",
            service_account_signing_key=directory / "server.key", max_requests_inflight=seats * 2 // 3,
            max_mutating_requests_inflight=seats - seats * 2 // 3,
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

    def wrk(
        self, script: str, path: str, *args: str, connections: int = 32, seconds: float = 0, refused: bool = False
    ) -> dict[str, Any]:
        """Requests per second and latencies (ms); fails on any answer that is no success, unless some may be
        `refused`."""
        run = subprocess.run(
            [
                "wrk", "-t2", f"-c{connections}", f"-d{seconds or self.seconds:.0f}s", "--latency", "-s",
                str(self.directory / script), self.url + path, "--", *args,
            ],
            capture_output=True, text=True, check=True,
        )
        text = run.stdout
        if "Non-2xx" in text and not refused:
            raise SystemExit(f"{path}: not every answer was a success\n{text}")
        rate = float(re.search(r"Requests/sec:\s+([\d.]+)", text).group(1))  # type: ignore[union-attr]
        count = re.search(r"refused: (\d+), told when: (\d+)", text)
        return {
            "rate": rate, "p50_ms": _latency(text, "50%"), "p99_ms": _latency(text, "99%"),
            "refused": int(count.group(1)) if count else 0, "told": int(count.group(2)) if count else 0,
        }


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


async def fill(url: str, count: int, first: int = 0) -> None:
    """Pods from number `first` up to `count` in the namespace."""
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
            for i in range(first, count):
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
    """The default account, and leave for the users that are no administrators."""
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
    rbac = "rbac.authorization.k8s.io"
    binding = {
        "metadata": {"name": "testers"}, "subjects": [{"apiGroup": rbac, "kind": "Group", "name": "testers"}],
        "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": "cluster-admin"},
    }
    async with _session() as session:
        bindings = f"/apis/{rbac}/v1/clusterrolebindings"
        for path, body in ((f"{NAMESPACE}/serviceaccounts", account), (bindings, binding)):
            async with session.post(url + path, json=body) as answer:
                assert answer.status == 201, await answer.text()


async def json_size(url: str) -> float:
    """Bytes of one of the Pods that :func:`fill` makes, as it is read back."""
    async with _session() as session, session.get(f"{url}{NAMESPACE}/pods/fill-7") as answer:
        return len(await answer.read())


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def single_writes(url: str, pid: int, count: int = 600) -> tuple[float, float]:
    """One after the other, creates and patches of Pods in turn: p50 (ms), and the server's processor time (ms)."""
    times: list[float] = []
    body = {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": ""},
        "spec": {"containers": [{"name": "c", "image": "docker.io/library/busybox:1.36"}]},
    }
    mark = f"w{time.time_ns()}"
    patch = {"Content-Type": "application/merge-patch+json"}
    async with _session() as session:
        before = cpu_seconds(pid)
        for i in range(count // 2):
            body["metadata"] = {"name": f"{mark}-{i}"}
            began = time.perf_counter()
            async with session.post(f"{url}{NAMESPACE}/pods", json=body) as answer:
                await answer.read()
            middle = time.perf_counter()
            change = {"metadata": {"labels": {"n": str(i)}}}
            async with session.patch(f"{url}{NAMESPACE}/pods/{mark}-{i}", json=change, headers=patch) as answer:
                await answer.read()
            times += [middle - began, time.perf_counter() - middle]
        return statistics.median(times) * 1000, (cpu_seconds(pid) - before) / count * 1000


async def definitions(url: str, count: int = 20) -> float:
    """Seconds from the request that defines a kind to the answer that its first object is there: the median."""
    times: list[float] = []
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    version = {"name": "v1", "served": True, "storage": True, "schema": schema}
    async with _session() as session:
        for kind in (f"Kind{chr(97 + i)}" for i in range(count)):
            plural = f"{kind.lower()}s"
            names = {"plural": plural, "singular": kind.lower(), "kind": kind}
            spec = {"group": "bench.example.com", "scope": "Namespaced", "names": names, "versions": [version]}
            first = {"apiVersion": "bench.example.com/v1", "kind": kind, "metadata": {"name": "a"}}
            began = time.perf_counter()
            for path, body in (
                ("/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
                 {"metadata": {"name": f"{plural}.bench.example.com"}, "spec": spec}),
                (f"/apis/bench.example.com/v1/namespaces/default/{plural}", first),
            ):
                async with session.post(url + path, json=body) as answer:
                    assert answer.status == 201, await answer.text()
            times.append(time.perf_counter() - began)
    return statistics.median(times)


def reads_beside_creates(load: Load, maximum: float) -> dict[str, Any]:
    """Reads of single objects, while creates come at half of the rate that the server can do."""
    pause = 32 / (maximum / 2) * 1000
    with ThreadPoolExecutor(1) as pool:
        creating = pool.submit(
            load.wrk, "create.lua", "/", "cm", "half", TOKEN, f"{pause:.0f}", seconds=load.seconds + 1
        )
        time.sleep(0.5)
        result = load.wrk("read.lua", f"{NAMESPACE}/pods/fill-7", TOKEN, "10", connections=8)
        return {**result, "creates": creating.result()["rate"]}


def overload(load: Load) -> tuple[dict[str, Any], dict[str, Any]]:
    """One user with 500 connections beside one with 2, on a server of 60 seats: what each of them gets."""
    with ThreadPoolExecutor(1) as pool:
        greedy = pool.submit(
            load.wrk, "create.lua", "/", "cm", "greedy", GREEDY, connections=500, seconds=load.seconds + 3,
            refused=True,
        )
        time.sleep(2)  # 500 handshakes
        modest = load.wrk("create.lua", "/", "cm", "modest", MODEST, "10", connections=2, refused=True)
        return greedy.result(), modest


def resident(pid: int) -> float:
    """MiB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


Row = tuple[str, str, str]


def measure(directory: Path, port: int, pid: int, seconds: float) -> list[Row]:
    load = Load(port, directory, seconds)
    asyncio.run(setup_account(load.url))
    rows: list[Row] = [("resident, just started", f"{resident(pid):.0f} MiB", "")]

    def add(name: str, goal: str, result: dict[str, Any]) -> None:
        rows.append((name, f"{result['rate']:.0f}/s, p99 {result['p99_ms']:.1f} ms", goal))

    asyncio.run(fill(load.url, LIST_PODS))
    rows.append((f"resident with {LIST_PODS} Pods", f"{resident(pid):.0f} MiB", ""))
    add("GET a Pod", "8,000/s", load.wrk("read.lua", f"{NAMESPACE}/pods/fill-7", TOKEN))
    add(f"LIST {LIST_PODS} Pods", "21/s", load.wrk("read.lua", f"{NAMESPACE}/pods", TOKEN, connections=4))
    creates = load.wrk("create.lua", "/", "cm", "c", TOKEN)
    add("CREATE ConfigMap", "2,000/s", creates)
    result = reads_beside_creates(load, creates["rate"])
    rows.append(
        ("GET beside half the CREATEs", f"p99 {result['p99_ms']:.1f} ms at {result['creates']:.0f} CREATE/s",
         "p99 20 ms")
    )
    add("CREATE Pod", "1,500/s", load.wrk("create.lua", "/", "pod", "p", TOKEN))
    result = asyncio.run(watchers(load.url))
    rows.append(
        (f"{WATCHERS} watchers, {UPDATES} updates/s", f"p50 {result['p50_ms']:.0f} ms, p99 {result['p99_ms']:.0f} ms",
         "p99 250 ms")
    )
    served = asyncio.run(definitions(load.url))
    rows.append(("first object of a new kind", f"p50 {served * 1000:.0f} ms", "100 ms"))
    return rows


def measure_overload(directory: Path, port: int, seconds: float) -> list[Row]:
    load = Load(port, directory, seconds)
    asyncio.run(setup_account(load.url))
    greedy, modest = overload(load)
    return [
        ("overload by 500 connections", f"{greedy['refused']} refused, {greedy['told']} of them told when",
         "429, Retry-After"),
        ("another user meanwhile",
         f"{modest['rate']:.0f}/s, p99 {modest['p99_ms']:.0f} ms, {modest['refused']} refused", "none refused"),
    ]


def measure_sizes(port: int, pid: int, many: int) -> list[Row]:
    """What one Pod more costs, and one write, by the number of Pods that are there."""
    url = f"https://127.0.0.1:{port}"
    asyncio.run(setup_account(url))
    asyncio.run(fill(url, FEW))
    p50, cpu = asyncio.run(single_writes(url, pid))
    asyncio.run(fill(url, 3 * FEW, FEW))
    before = resident(pid)
    asyncio.run(fill(url, many, 3 * FEW))
    each = (resident(pid) - before) * 1024 / (many - 3 * FEW)
    size = asyncio.run(json_size(url)) / 1024
    p50_many, cpu_many = asyncio.run(single_writes(url, pid))
    return [
        ("memory of a Pod more", f"{each:.1f} KiB, its JSON {size:.1f} KiB", "8 KiB above its JSON"),
        (f"one write among {FEW:,} Pods", f"p50 {p50:.2f} ms, {cpu:.2f} ms CPU", ""),
        (f"one write among {many:,} Pods", f"p50 {p50_many:.2f} ms, {cpu_many:.2f} ms CPU ({cpu_many / cpu - 1:+.0%})",
         "within 20 %"),
    ]


@contextmanager
def server(seats: int = 600) -> Iterator[tuple[Path, int, int]]:
    """Its directory, port and pid."""
    with tempfile.TemporaryDirectory(prefix="podwright-bench-") as name:
        directory = Path(name)
        certificates(directory)
        command = [sys.executable, __file__, "--serve", name, "--seats", str(seats)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout is not None
            yield directory, int(process.stdout.readline()), process.pid
        finally:
            process.terminate()
            process.wait(20)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--pods", type=int, default=10_000)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--seats", type=int, default=600, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        import uvloop

        import podwright.cli.main  # noqa: F401  # with its settings of garbage collection, as every server has them

        uvloop.run(serve(options.serve, options.seats))
        return
    with server() as (directory, port, pid):
        rows = measure(directory, port, pid, options.seconds)
    with server(60) as (directory, port, _):
        rows += measure_overload(directory, port, options.seconds)
    with server() as (_, port, pid):
        rows += measure_sizes(port, pid, options.pods)
    for what, value, goal in rows:
        print(f"{what:36} {value:48} {goal and 'goal ' + goal}")
    if options.json:
        options.json.write_text(json.dumps([{"what": w, "value": v, "goal": g} for w, v, g in rows], indent=1))


if __name__ == "__main__":
    main()
