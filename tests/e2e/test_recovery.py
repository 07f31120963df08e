"""SIGKILL to any process of ours: Pods keep running, nothing is lost."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from pathlib import Path

import pytest
from tests.e2e.harness import Cluster, busybox, has_condition, host_pids, pod, until

FLAGS = ("--nodes", "2")


def kill(cluster: Cluster, process: str) -> None:
    record = json.loads(Path(f"/run/podwright/{cluster.name}/{process}.process.json").read_text())
    os.kill(record["pid"], signal.SIGKILL)
    until(lambda: not _alive(record["pid"]), f"{process} is dead")


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("process", ["server", "node-1"])
def test_a_killed_process_takes_no_container_and_no_log_line_with_it(cluster: Cluster, process: str) -> None:
    name = f"steady-{process}"
    count = "i=0; while :; do echo $i; i=$((i+1)); sleep 0.02; done"
    short = busybox("c", "sleep 1; exit 7")
    cluster.apply(
        pod(name, busybox("c", count), nodeName="node-1"),
        pod(f"{name}-short", short, nodeName="node-1", restartPolicy="Never"),
    )
    before = cluster.running(name)
    pids = host_pids(before)
    until(lambda: cluster.kubectl("logs", name), "it logs")
    kill(cluster, process)
    time.sleep(1.5)  # The other container ends while nobody is there to see it: this is the case under test.
    cluster.up()
    after = cluster.running(name)
    assert host_pids(after) == pids
    statuses = [p["status"]["containerStatuses"][0] for p in (before, after)]
    assert statuses[1]["restartCount"] == 0
    assert statuses[0]["containerID"] == statuses[1]["containerID"]
    lines = [int(line) for line in cluster.kubectl("logs", name).split()]
    assert lines == list(range(len(lines))), "no log line is lost"
    until(lambda: int(cluster.kubectl("logs", name, "--tail=1")) > lines[-1], "it still logs")
    ended = cluster.phase(f"{name}-short", "Failed")["status"]["containerStatuses"][0]["state"]["terminated"]
    assert ended["exitCode"] == 7
    cluster.kubectl("delete", "pod", name, f"{name}-short")


def test_node_stop_ends_pods_in_order_and_tells_the_api(cluster: Cluster) -> None:
    ordinary = busybox("c", "trap 'cut -d\\  -f1 /proc/uptime > /dev/termination-log; exit 0' TERM; sleep 1000 & wait")
    last = pod("last", ordinary, nodeName="node-2", priorityClassName="system-node-critical")
    cluster.apply(pod("first", ordinary, nodeName="node-2"), last)
    for name in ("first", "last"):
        cluster.running(name)
    refused = cluster.podwright("node", "stop", "node-9", check=False)
    assert refused.returncode == 1 and len(refused.stderr.splitlines()) == 1
    stopped = cluster.podwright("node", "stop", "node-2")
    assert "node node-2" in stopped.stdout
    node = cluster.get("node", "node-2")
    (ready,) = (c for c in node["status"]["conditions"] if c["type"] == "Ready")
    assert (ready["status"], ready["message"]) == ("False", "node is shutting down")
    ended = []
    for name in ("first", "last"):
        status = cluster.pod(name)["status"]
        assert (status["phase"], status["reason"]) == ("Failed", "Terminated")
        assert status["message"] == "Pod was terminated in response to imminent node shutdown."
        ended.append(float(status["containerStatuses"][0]["state"]["terminated"]["message"]))
    assert ended[0] < ended[1]
    cluster.up()
    until(lambda: has_condition(cluster.get("node", "node-2"), "Ready"), "the node is back")
    cluster.apply(pod("later", ordinary, nodeName="node-2"))
    cluster.running("later")
    cluster.kubectl("delete", "pod", "first", "last", "later")


def test_no_acknowledged_write_is_missing_after_a_kill(cluster: Cluster) -> None:
    acknowledged: list[str] = []
    stop = threading.Event()

    def write(writer: int) -> None:
        number = 0
        while not stop.is_set():
            name = f"w{writer}-{number}"
            body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"n": str(number)}}
            try:
                code, _ = cluster.request("POST", "/api/v1/namespaces/default/configmaps", body)
            except OSError:
                return
            if code == 201:
                acknowledged.append(name)
            number += 1

    threads = [threading.Thread(target=write, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    until(lambda: len(acknowledged) > 100, "a hundred writes")
    kill(cluster, "server")
    stop.set()
    for thread in threads:
        thread.join(30)
    cluster.up()
    present = {c["metadata"]["name"] for c in cluster.get("configmaps")["items"]}
    assert set(acknowledged) <= present
