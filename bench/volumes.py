"""What volumes and a security context add to a Pod, on a real cluster.

usage: bench/volumes.py [--json FILE] [--starts N]

Pods with nothing and Pods with five volumes and a full security context start in turn, so that what else the machine
does meets both alike. A ConfigMap's change is timed until its file, read through the container's root, has changed. A
volume with 100,000 files is given to an fsGroup, with OnRootMismatch: a Pod's start from the second time on is compared
with that of Pods without a volume, in turn. Containers with disk limits write and read as much as they can, with direct
I/O, while one without does so beside them, and alone in turn.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import pods as bench
from pods import PODS, Api, Watcher

FILES = 100_000
CONFIG = "/api/v1/namespaces/default/configmaps"


def plain(name: str) -> dict[str, Any]:
    made = bench.pod(name)
    made["spec"]["terminationGracePeriodSeconds"] = 1
    return made


def full(name: str) -> dict[str, Any]:
    """Five volumes, and every field of a restricted security context."""
    made = plain(name)
    volumes: list[dict[str, Any]] = [
        {"name": "a", "emptyDir": {}},
        {"name": "b", "emptyDir": {"medium": "Memory"}},
        {"name": "c", "configMap": {"name": "bench"}},
        {"name": "d", "secret": {"secretName": "bench"}},
        {"name": "e", "downwardAPI": {"items": [{"path": "n", "fieldRef": {"fieldPath": "metadata.name"}}]}},
    ]
    made["spec"]["volumes"] = volumes
    made["spec"]["securityContext"] = {
        "runAsUser": 1000, "runAsGroup": 1000, "runAsNonRoot": True, "fsGroup": 2000, "supplementalGroups": [3000],
        "seccompProfile": {"type": "RuntimeDefault"},
    }  # fmt: skip
    made["spec"]["containers"][0] |= {
        "volumeMounts": [{"name": v["name"], "mountPath": f"/{v['name']}"} for v in volumes],
        "securityContext": {
            "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}
        },
    }  # fmt: skip
    return made


class Starts:
    def __init__(self, api: Api) -> None:
        self.api, self.connection, self.watcher = api, api.connect(), Watcher(api)

    def up(self, pod: dict[str, Any]) -> float:
        """Seconds until it is ready."""
        name = pod["metadata"]["name"]
        begin = time.perf_counter()
        self.api.call(self.connection, "POST", PODS, pod)
        self.watcher.until(lambda: name in self.watcher.ready)
        return self.watcher.ready[name] - begin

    def down(self, name: str) -> None:
        self.api.call(self.connection, "DELETE", f"{PODS}/{name}")
        self.watcher.until(lambda: name in self.watcher.gone)


def config_changes(starts: Starts, count: int) -> list[float]:
    """Seconds from the change's answer to the file's, as the container sees it."""
    starts.up(full("follows"))
    uid = starts.api.call(starts.connection, "GET", f"{PODS}/follows")["metadata"]["uid"]
    volumes = Path(f"/var/lib/podwright/{bench.NAME}/nodes/node-1/pods/{uid}/volumes")
    file, found = volumes / "kubernetes.io~configmap" / "c" / "k", []
    for number in range(count):
        changed = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "bench"}, "data": {"k": f"v{number}"}}
        starts.api.call(starts.connection, "PUT", f"{CONFIG}/bench", changed)
        begin = time.perf_counter()
        while file.read_text() != f"v{number}":
            assert time.perf_counter() - begin < 60
            time.sleep(0.001)
        found.append(time.perf_counter() - begin)
    starts.down("follows")
    return found


def group_volume(starts: Starts, directory: Path, count: int) -> tuple[float, float]:
    """Seconds that a local volume of 100,000 files and an fsGroup add to a start: the first time, and the median of the
    later ones."""
    for number in range(FILES // 1000):
        (directory / str(number)).mkdir()
        for file in range(999):
            (directory / str(number) / str(file)).touch()
    affinity = {"required": {"nodeSelectorTerms": [{"matchExpressions": [
        {"key": "kubernetes.io/hostname", "operator": "In", "values": ["node-1"]}]}]}}  # fmt: skip
    common = {"accessModes": ["ReadWriteOnce"], "storageClassName": "none"}
    volume = {"capacity": {"storage": "1Gi"}, "local": {"path": str(directory)}, "nodeAffinity": affinity, **common}
    claim = {"resources": {"requests": {"storage": "1Gi"}}, "volumeName": "files", **common}
    # So many files may take longer than a connection is kept open for.
    starts.connection = starts.api.connect()
    call, connection = starts.api.call, starts.connection
    meta = {"metadata": {"name": "files"}, "apiVersion": "v1"}
    call(connection, "POST", "/api/v1/persistentvolumes", {**meta, "kind": "PersistentVolume", "spec": volume})
    claims = "/api/v1/namespaces/default/persistentvolumeclaims"
    call(connection, "POST", claims, {**meta, "kind": "PersistentVolumeClaim", "spec": claim})
    while call(connection, "GET", f"{claims}/files")["status"].get("phase") != "Bound":
        time.sleep(0.01)
    added = []
    for number in range(count + 1):
        bare = starts.up(plain(f"bare-{number}"))
        starts.down(f"bare-{number}")
        made = plain(f"files-{number}")
        made["spec"]["securityContext"] = {"fsGroup": 4000, "fsGroupChangePolicy": "OnRootMismatch"}
        made["spec"]["volumes"] = [{"name": "v", "persistentVolumeClaim": {"claimName": "files"}}]
        made["spec"]["containers"][0]["volumeMounts"] = [{"name": "v", "mountPath": "/v"}]
        added.append(starts.up(made) - bare)
        starts.down(f"files-{number}")
    return added[0], statistics.median(added[1:])


def _mebibytes(dd: str) -> float:
    size, unit, count = re.findall(r"bs=(\d+)([kM]) count=(\d+)", dd)[0]
    return int(size) * int(count) / {"k": 1024, "M": 1}[unit]


def rates(starts: Starts, tag: int, *writers: tuple[str, str, dict[str, str]]) -> dict[str, float]:
    """What each of these containers' dd, side by side, says of its throughput, in MiB/s."""
    for what, dd, limits in writers:
        made = plain(f"{what}-{tag}")
        made["spec"] |= {"restartPolicy": "Never", "volumes": [{"name": "v", "emptyDir": {}}]}
        # What is read was written before the clock starts.
        script = f"dd if=/dev/zero of=/v/read bs=1M count=32 2>/dev/null; (time dd {dd}) 2>/dev/termination-log"
        made["spec"]["containers"][0] |= {
            "command": ["sh", "-c", script], "volumeMounts": [{"name": "v", "mountPath": "/v"}],
            "resources": {"requests": limits, "limits": limits},
        }  # fmt: skip
        starts.api.call(starts.connection, "POST", PODS, made)
    found = {}
    for what, dd, _ in writers:
        name = f"{what}-{tag}"
        starts.watcher.until(lambda name=name: name in starts.watcher.ended)
        pod = starts.api.call(starts.connection, "GET", f"{PODS}/{name}")
        told = pod["status"]["containerStatuses"][0]["state"]["terminated"]["message"]
        minutes, seconds = re.findall(r"real\s+(\d+)m ([\d.]+)s", told)[0]
        found[what] = _mebibytes(dd) / (60 * int(minutes) + float(seconds))
        starts.down(name)
    return found


def disk_limits(starts: Starts) -> tuple[dict[str, float], float, float]:
    """Each limited container's share of its limit; and the throughput of one without a limit, in MiB/s, alone and
    beside them."""
    write = "if=/dev/zero of=/v/f bs=1M count=40 oflag=direct"
    read = "if=/v/read of=/dev/null bs=1M count=32 iflag=direct"
    small = 4 / 1024  # MiB of an operation
    limits = {
        "disk-write-bps": (write, "8Mi", 8.0),
        "disk-read-bps": (read, "8Mi", 8.0),
        "disk-write-iops": ("if=/dev/zero of=/v/f bs=4k count=400 oflag=direct", "100", 100 * small),
        "disk-read-iops": ("if=/v/read of=/dev/null bs=4k count=400 iflag=direct", "100", 100 * small),
    }
    free = "if=/dev/zero of=/v/f bs=1M count=512 oflag=direct"
    limited = [(what, dd, {f"podwright.io/{what}": limit}) for what, (dd, limit, _) in limits.items()]
    rounds = [
        {**rates(starts, n, ("alone", free, {})), **rates(starts, n, *limited, ("beside", free, {}))} for n in range(5)
    ]  # fmt: skip
    found = {what: statistics.median(r[what] for r in rounds) for what in rounds[0]}
    shares = {what: found[what] / limit for what, (_, _, limit) in limits.items()}
    return shares, found["alone"], found["beside"]


def processor_seconds(pid: int) -> float:
    """Of the cluster's process and of the programs that it ran and waited for."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(f) for f in fields[11:15]) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", default="")
    parser.add_argument("--starts", type=int, default=20)
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = []

    def figure(what: str, value: float, unit: str, target: str, beside: str = "") -> None:
        rows.append({"what": what, "value": round(value, 1), "unit": unit, "target": target, "beside": beside})

    def row(what: str, seconds: float, target: str, beside: str = "") -> None:
        figure(what, seconds * 1000, "ms", target, beside)

    with tempfile.TemporaryDirectory(prefix="podwright-bench-") as scratch:
        kubeconfig, files = Path(scratch) / "kubeconfig", Path(scratch) / "files"
        files.mkdir()
        with bench.cluster(kubeconfig):
            starts = Starts(Api(kubeconfig))
            call = starts.api.call
            body = {"apiVersion": "v1", "metadata": {"name": "bench"}, "data": {"k": "dg=="}}
            call(starts.connection, "POST", CONFIG, {**body, "kind": "ConfigMap"})
            call(starts.connection, "POST", CONFIG.replace("configmaps", "secrets"), {**body, "kind": "Secret"})
            pid = json.loads(Path(f"/run/podwright/{bench.NAME}/server.process.json").read_text())["pid"]
            bare, furnished, spent = [], [], {plain: 0.0, full: 0.0}
            for number in range(arguments.starts):
                for times, make in ((bare, plain), (furnished, full)):
                    name = f"{make.__name__}-{number}"
                    before = processor_seconds(pid)
                    times.append(starts.up(make(name)))
                    spent[make] += (processor_seconds(pid) - before) / arguments.starts
                    starts.down(name)
            added = statistics.median(furnished) - statistics.median(bare)
            beside = f"{statistics.median(bare) * 1000:.0f} ms without"
            row("five volumes and a full security context add, p50", added, "<= 15", beside)
            row("of processor time, mean", spent[full] - spent[plain], "", f"{spent[plain] * 1000:.0f} ms without")
            changes = config_changes(starts, 20)
            row("ConfigMap change to file, p50", statistics.median(changes), "<= 2000")
            row("ConfigMap change to file, slowest of 20", max(changes), "<= 2000")
            first, second = group_volume(starts, files, 5)
            row("fsGroup on 100,000 files, first time", first, "")
            row("fsGroup on 100,000 files, OnRootMismatch, later, p50", second, "<= 50")
            shares, alone, neighbour = disk_limits(starts)
            for what, share in shares.items():
                figure(f"{what}: of the limit", share * 100, "%", "85 to 115")
            beside = f"{alone:.0f} MiB/s alone"
            figure("a neighbour without a limit, beside these four", neighbour / alone * 100, "%", "not slowed", beside)
    for entry in rows:
        print(f"{entry['what']:<56} {entry['value']:>9} {entry['unit']:<4} {entry['target']:<8} {entry['beside']}")
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
