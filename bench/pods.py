"""Pods on a real cluster, seen from outside: start-up, start latency, bursts, memory, with the floor of this machine.

usage: bench/pods.py [--json FILE] [--starts N]

Everything is measured by a client over HTTPS: seconds from sending the create to the watch event in which every
container is ready. The floor is the low-level runtime alone on the same image, in the same run.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import http.client
import json
import os
import signal
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import yaml

BIN = Path(sys.executable).parent
NAME = "bench"
PODS = "/api/v1/namespaces/default/pods"
IMAGE = "docker.io/library/busybox:1.36"


class Api:
    """The cluster by its kubeconfig; one connection a call's thread."""

    def __init__(self, kubeconfig: Path) -> None:
        config = yaml.safe_load(kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        self._url = urlparse(cluster["server"])
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        self._tls = ssl.create_default_context(cadata=authority)
        pair = kubeconfig.with_name("client.pem")
        pair.write_bytes(base64.b64decode(user["client-certificate-data"]) + base64.b64decode(user["client-key-data"]))
        self._tls.load_cert_chain(pair)

    def connect(self) -> http.client.HTTPSConnection:
        assert self._url.hostname is not None
        return http.client.HTTPSConnection(self._url.hostname, self._url.port, context=self._tls, timeout=120)

    @staticmethod
    def call(connection: http.client.HTTPSConnection, method: str, path: str, body: Any = None) -> Any:
        headers = {"Content-Type": "application/json"}
        connection.request(method, path, json.dumps(body) if body is not None else None, headers)
        answer = connection.getresponse()
        data = json.loads(answer.read())
        assert answer.status < 300, data
        return data


class Watcher:
    """When each Pod was first seen ready, when ended, and when gone."""

    def __init__(self, api: Api) -> None:
        self.ready: dict[str, float] = {}
        self.ended: dict[str, float] = {}
        self.identity: dict[str, str] = {}
        self.gone: dict[str, float] = {}
        self._changed = threading.Condition()
        connection = api.connect()
        version = api.call(api.connect(), "GET", f"{PODS}?limit=1")["metadata"]["resourceVersion"]
        connection.request("GET", f"{PODS}?watch=1&resourceVersion={version}&timeoutSeconds=600")
        self._stream = connection.getresponse()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
            for line in self._stream:
                now = time.perf_counter()
                event = json.loads(line)
                pod = event["object"]
                name = pod["metadata"].get("name")
                statuses = (pod.get("status") or {}).get("containerStatuses") or []
                with self._changed:
                    if event["type"] == "DELETED":
                        self.gone[name] = now
                    elif name not in self.ready and statuses and all(s["ready"] for s in statuses):
                        self.ready[name] = now
                        self.identity[name] = statuses[0]["containerID"].partition("://")[2]
                    elif name not in self.ended and statuses and all("terminated" in s["state"] for s in statuses):
                        self.ended[name] = now
                    self._changed.notify_all()

    def until(self, condition: Callable[[], bool], timeout: float = 120) -> None:
        with self._changed:
            assert self._changed.wait_for(condition, timeout), "not in time"


def pod(name: str) -> dict[str, Any]:
    # It ends when it is asked to: a plain sleep as first process would not hear SIGTERM.
    polite = "trap 'exit 0' TERM; sleep 3600 & wait"
    container = {"name": "c", "image": IMAGE, "command": ["sh", "-c", polite]}
    return {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"containers": [container]},
    }  # fmt: skip


def quantile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def sequential(api: Api, watcher: Watcher, count: int) -> tuple[list[float], list[float]]:
    connection, starts, deletions = api.connect(), [], []
    for number in range(count):
        name = f"s-{number}"
        begin = time.perf_counter()
        api.call(connection, "POST", PODS, pod(name))
        watcher.until(lambda n=name: n in watcher.ready)
        starts.append(watcher.ready[name] - begin)
        begin = time.perf_counter()
        api.call(connection, "DELETE", f"{PODS}/{name}")
        watcher.until(lambda n=name: n in watcher.gone)
        deletions.append(watcher.gone[name] - begin)
    return starts, deletions


def burst(api: Api, watcher: Watcher, count: int, tag: str) -> float:
    """Pods a second, from the first create to the last one ready."""
    connection, names = api.connect(), [f"b{tag}-{i}" for i in range(count)]
    begin = time.perf_counter()
    for name in names:
        api.call(connection, "POST", PODS, pod(name))
    watcher.until(lambda: all(n in watcher.ready for n in names))
    speed = count / (max(watcher.ready[n] for n in names) - begin)
    for name in names:
        api.call(connection, "DELETE", f"{PODS}/{name}")
    watcher.until(lambda: all(n in watcher.gone for n in names))
    return speed


def exits(api: Api, watcher: Watcher, count: int) -> list[float]:
    """Seconds from the SIGKILL of a container's process to the event that has its end, one at a time."""
    connection, names = api.connect(), [f"e-{i}" for i in range(count)]
    for name in names:
        made = pod(name)
        made["spec"]["restartPolicy"] = "Never"
        api.call(connection, "POST", PODS, made)
    watcher.until(lambda: all(n in watcher.ready for n in names))
    pids = first_processes({watcher.identity[n]: n for n in names})
    took = []
    for name in names:
        begin = time.perf_counter()
        os.kill(pids[name], signal.SIGKILL)
        watcher.until(lambda n=name: n in watcher.ended)
        took.append(watcher.ended[name] - begin)
    for name in names:
        api.call(connection, "DELETE", f"{PODS}/{name}")
    watcher.until(lambda: all(n in watcher.gone for n in names))
    return took


def first_processes(names: dict[str, str]) -> dict[str, int]:
    """Name → pid of the first process, by container id → name."""
    groups: dict[str, set[int]] = {}
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            lines = (entry / "cgroup").read_text().splitlines()
            for found in {names[i] for i in (line.rpartition("/")[2] for line in lines) if i in names}:
                groups.setdefault(found, set()).add(int(entry.name))
    parents = {
        pid: int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        for pids in groups.values() for pid in pids
    }  # fmt: skip
    return {name: next(p for p in pids if parents[p] not in pids) for name, pids in groups.items()}


def resident(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    raise LookupError(pid)


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def podwright(*arguments: str, kubeconfig: Path) -> None:
    environment = {**os.environ, "KUBECONFIG": str(kubeconfig)}
    subprocess.run([BIN / "podwright", *arguments, "--name", NAME], check=True, env=environment, capture_output=True)


@contextlib.contextmanager
def cluster(kubeconfig: Path, *flags: str) -> Iterator[None]:
    podwright("up", "--kubeconfig", str(kubeconfig), *flags, kubeconfig=kubeconfig)
    try:
        yield
    finally:
        podwright("down", "--purge", kubeconfig=kubeconfig)


def floor(directory: Path, count: int) -> list[float]:
    """Seconds of `crun run` (or runc) of /bin/true in a bare busybox root, in a mount namespace where it works."""
    root = directory / "rootfs"
    (root / "bin").mkdir(parents=True)
    (root / "proc").mkdir()
    for name in ("true", "busybox"):
        (root / "bin" / name).write_bytes(Path("/bin/busybox").read_bytes())
        (root / "bin" / name).chmod(0o755)
    subprocess.run(["runc", "spec"], cwd=directory, check=True)
    spec = json.loads((directory / "config.json").read_text())
    spec["process"].update(args=["/bin/true"], terminal=False)
    spec["process"].pop("rlimits", None)
    (directory / "config.json").write_text(json.dumps(spec))
    script = (
        "mount --make-rprivate /sys/fs/cgroup; umount /sys/fs/cgroup/unified 2>/dev/null;"
        f"for i in $(seq {count}); do date +%s%N; crun run floor$i; date +%s%N; done"
    )
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script], cwd=directory, capture_output=True, text=True, check=True
    )
    stamps = [int(line) for line in done.stdout.split()]
    return [(end - start) / 1e9 for start, end in zip(stamps[::2], stamps[1::2], strict=True)]


def idle_cpu(pid: int) -> float:
    """Percent of a core."""
    before, begin = cpu_seconds(pid), time.perf_counter()
    time.sleep(10)  # The figure is CPU over this time.
    return (cpu_seconds(pid) - before) / (time.perf_counter() - begin) * 100


def full_node(directory: Path, count: int) -> tuple[float, float, float]:
    """(Pods a second, idle CPU, MB of ours for each) of a node with so many Pods, all running."""
    settings = directory / "kubelet.yaml"
    kind = {"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration"}
    settings.write_text(yaml.safe_dump({**kind, "maxPods": count + 10}))
    kubeconfig = directory / "kubeconfig"
    with cluster(kubeconfig, "--kubelet-config", str(settings)):
        api, pid = Api(kubeconfig), server_pid()
        watcher, connection = Watcher(api), api.connect()
        before, begin = resident(pid), time.perf_counter()
        for number in range(count):
            api.call(connection, "POST", PODS, pod(f"f-{number}"))
        watcher.until(lambda: len(watcher.ready) == count)
        speed = count / (time.perf_counter() - begin)
        time.sleep(5)  # What the starts left to do is not the idle state.
        return speed, idle_cpu(pid), (resident(pid) - before) / count


def server_pid() -> int:
    return int(json.loads(Path(f"/run/podwright/{NAME}/server.process.json").read_text())["pid"])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", default="")
    parser.add_argument("--starts", type=int, default=30)
    parser.add_argument("--full", type=int, default=250, help="Pods that fill a node")
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = []

    def row(what: str, value: float, unit: str, target: str, beside: str = "") -> None:
        rows.append({"what": what, "value": round(value, 3), "unit": unit, "target": target, "beside": beside})

    with tempfile.TemporaryDirectory(prefix="podwright-bench-") as scratch:
        directory = Path(scratch)
        (directory / "floor").mkdir()
        bare = floor(directory / "floor", 20)
        alone = f"crun alone {statistics.median(bare) * 1000:.0f} ms"
        kubeconfig = directory / "kubeconfig"
        ups = []
        for _ in range(5):
            begin = time.perf_counter()
            with cluster(kubeconfig):
                ups.append(time.perf_counter() - begin)
        row("cluster with a Ready node from nothing, median of 5", statistics.median(ups), "s", "<= 2")
        with cluster(kubeconfig):
            api = Api(kubeconfig)
            pid = server_pid()
            row("CPU of the start", cpu_seconds(pid), "s", "")
            row("resident memory when Ready, one process", resident(pid), "MB", "")
            row("idle CPU in the first 10 s", idle_cpu(pid), "% of a core", "< 1")
            row("idle CPU, settled", idle_cpu(pid), "% of a core", "< 1")
            row("resident memory, idle and settled", resident(pid), "MB", "<= 120")
            watcher = Watcher(api)
            starts, deletions = sequential(api, watcher, arguments.starts)
            row("Pod start p50", statistics.median(starts) * 1000, "ms", "<= 150 (goal 50)", alone)
            row("Pod start p99", quantile(starts, 0.99) * 1000, "ms", "<= 400", alone)
            row("deletion of a cooperative Pod p50", statistics.median(deletions) * 1000, "ms", "<= 100")
            speeds = [burst(api, watcher, 40, str(i)) for i in range(3)]
            row("burst of 40 Pods, median of 3", statistics.median(speeds), "Pods/s", ">= 15 (goal 40)")
            ends = exits(api, watcher, 50)
            row("exit to status p50", statistics.median(ends) * 1000, "ms", "")
            row("exit to status p99 of 50", quantile(ends, 0.99) * 1000, "ms", "<= 20")
            row("resident memory after the load", resident(pid), "MB", "<= 130")
        speed, idle, each = full_node(directory, arguments.full)
        row(f"{arguments.full} Pods on one node, all running", speed, "Pods/s", "")
        row("idle CPU of the whole cluster with them", idle, "% of a core", "<= 3")
        row("resident memory for each of them", each, "MB", "<= 0.5")
    for entry in rows:
        print(f"{entry['what']:<52} {entry['value']:>9} {entry['unit']:<12} {entry['target']:<18} {entry['beside']}")
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
