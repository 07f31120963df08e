"""What volumes and a security context add to a Pod, on a real cluster.

usage: bench/volumes.py [--json FILE] [--starts N]

Pods with nothing and Pods with five volumes and a full security context start in turn, so that what else the machine
does meets both alike. A ConfigMap's change is timed until its file, read through the container's root, has changed. A
volume with 100,000 files is given to an fsGroup twice, with OnRootMismatch; the second time by the whole Pod's start.
"""

from __future__ import annotations

import argparse
import json
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


def group_volume(starts: Starts, directory: Path) -> tuple[float, float]:
    """Seconds of the first and of the second start with a local volume of 100,000 files and an fsGroup."""
    for number in range(FILES // 1000):
        (directory / str(number)).mkdir()
        for file in range(999):
            (directory / str(number) / str(file)).touch()
    affinity = {"required": {"nodeSelectorTerms": [{"matchExpressions": [
        {"key": "kubernetes.io/hostname", "operator": "In", "values": ["node-1"]}]}]}}  # fmt: skip
    common = {"accessModes": ["ReadWriteOnce"], "storageClassName": "none"}
    volume = {"capacity": {"storage": "1Gi"}, "local": {"path": str(directory)}, "nodeAffinity": affinity, **common}
    claim = {"resources": {"requests": {"storage": "1Gi"}}, "volumeName": "files", **common}
    call, connection = starts.api.call, starts.connection
    meta = {"metadata": {"name": "files"}, "apiVersion": "v1"}
    call(connection, "POST", "/api/v1/persistentvolumes", {**meta, "kind": "PersistentVolume", "spec": volume})
    claims = "/api/v1/namespaces/default/persistentvolumeclaims"
    call(connection, "POST", claims, {**meta, "kind": "PersistentVolumeClaim", "spec": claim})
    while call(connection, "GET", f"{claims}/files")["status"].get("phase") != "Bound":
        time.sleep(0.01)
    times = []
    for number in range(2):
        made = plain(f"files-{number}")
        made["spec"]["securityContext"] = {"fsGroup": 4000, "fsGroupChangePolicy": "OnRootMismatch"}
        made["spec"]["volumes"] = [{"name": "v", "persistentVolumeClaim": {"claimName": "files"}}]
        made["spec"]["containers"][0]["volumeMounts"] = [{"name": "v", "mountPath": "/v"}]
        times.append(starts.up(made))
        starts.down(f"files-{number}")
    return times[0], times[1]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", default="")
    parser.add_argument("--starts", type=int, default=20)
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = []

    def row(what: str, seconds: float, target: str, beside: str = "") -> None:
        rows.append({"what": what, "value": round(seconds * 1000, 1), "unit": "ms", "target": target, "beside": beside})

    with tempfile.TemporaryDirectory(prefix="podwright-bench-") as scratch:
        kubeconfig, files = Path(scratch) / "kubeconfig", Path(scratch) / "files"
        files.mkdir()
        with bench.cluster(kubeconfig):
            starts = Starts(Api(kubeconfig))
            call = starts.api.call
            body = {"apiVersion": "v1", "metadata": {"name": "bench"}, "data": {"k": "dg=="}}
            call(starts.connection, "POST", CONFIG, {**body, "kind": "ConfigMap"})
            call(starts.connection, "POST", CONFIG.replace("configmaps", "secrets"), {**body, "kind": "Secret"})
            bare, furnished = [], []
            for number in range(arguments.starts):
                for times, make in ((bare, plain), (furnished, full)):
                    name = f"{make.__name__}-{number}"
                    times.append(starts.up(make(name)))
                    starts.down(name)
            added = statistics.median(furnished) - statistics.median(bare)
            beside = f"{statistics.median(bare) * 1000:.0f} ms without"
            row("five volumes and a full security context add, p50", added, "<= 15", beside)
            changes = config_changes(starts, 20)
            row("ConfigMap change to file, p50", statistics.median(changes), "<= 2000")
            row("ConfigMap change to file, slowest of 20", max(changes), "<= 2000")
            first, second = group_volume(starts, files)
            row("fsGroup on 100,000 files, first time", first - statistics.median(bare), "")
            row("fsGroup on 100,000 files, OnRootMismatch, second time", second - statistics.median(bare), "<= 50")
    for entry in rows:
        print(f"{entry['what']:<56} {entry['value']:>9} {entry['unit']:<4} {entry['target']:<8} {entry['beside']}")
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
