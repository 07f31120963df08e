"""Kills at random while Deployments scale and roll; then what must hold is checked. PODWRIGHT_FAULT_SECONDS is for how
long (600 for the long run), PODWRIGHT_SEED draws what happens: the same seed does the same things in the same order."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.harness import Cluster, busybox, has_condition, host_pids, until
from tests.e2e.test_recovery import kill
from tests.e2e.test_sudden_deaths import held

SECONDS = float(os.environ.get("PODWRIGHT_FAULT_SECONDS", "60"))
SEED = int(os.environ.get("PODWRIGHT_SEED", str(time.time_ns() % 100_000)))
FLAGS = (
    "--nodes", "2", "--node-grace", "8", "--toleration", "1", "--crash-loop-initial", "0.3",
    "--crash-loop-maximum", "2",
)  # fmt: skip
NODES = ("node-1", "node-2")
PATIENCE = 150.0
"""Seconds in which all must have come to rest."""
APPS = ("red", "blue")


def deployment(name: str, replicas: int, version: int) -> dict[str, Any]:
    container = busybox(
        "c", "trap 'exit 0' TERM; sleep 10000 & wait", volumeMounts=[{"name": "m", "mountPath": "/m"}],
        env=[{"name": "VERSION", "value": str(version)}],
    )  # fmt: skip
    labels = {"app": name}
    volumes = [{"name": "m", "emptyDir": {"medium": "Memory"}}]
    spec = {"terminationGracePeriodSeconds": 1, "containers": [container], "volumes": volumes}
    return {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }  # fmt: skip


class Chaos:
    """What may happen. Each draws its details from the same source."""

    def __init__(self, cluster: Cluster, rng: random.Random) -> None:
        self._cluster = cluster
        self._rng = rng
        self.wanted = dict.fromkeys(APPS, (2, 0))
        self.did: list[str] = []
        for app in APPS:
            self._apply(app)

    def step(self) -> None:
        acts: list[tuple[Callable[[], str], int]] = [
            (self._scale, 4), (self._roll, 3), (self._kill_container, 3), (self._delete_pod, 2), (self._kill_server, 1),
            (self._kill_kubelet, 2), (self._kill_node, 1),
        ]  # fmt: skip
        (act,) = self._rng.choices([a for a, _ in acts], [weight for _, weight in acts])
        self.did.append(act())

    def _apply(self, app: str) -> None:
        self._cluster.apply(deployment(app, *self.wanted[app]))

    def _scale(self) -> str:
        app, replicas = self._rng.choice(APPS), self._rng.randint(0, 4)
        self.wanted[app] = (replicas, self.wanted[app][1])
        self._apply(app)
        return f"scale {app} to {replicas}"

    def _roll(self) -> str:
        app = self._rng.choice(APPS)
        replicas, version = self.wanted[app]
        self.wanted[app] = (replicas, version + 1)
        self._apply(app)
        return f"roll {app} to version {version + 1}"

    def _some_pod(self) -> dict[str, Any] | None:
        draw = self._rng.random()
        pods = self._cluster.get("pods")["items"]
        return pods[int(draw * len(pods))] if pods else None

    def _kill_container(self) -> str:
        pod = self._some_pod()
        # It may end, or not have begun, by itself meanwhile.
        with contextlib.suppress(KeyError, ValueError, ProcessLookupError):
            if pod is not None:
                os.kill(host_pids(pod)["c"], signal.SIGKILL)
        return f"kill the container of {pod and pod['metadata']['name']}"

    def _delete_pod(self) -> str:
        pod = self._some_pod()
        if pod is not None:
            self._cluster.try_kubectl("delete", "pod", pod["metadata"]["name"], "--wait=false")
        return f"delete {pod and pod['metadata']['name']}"

    def _kill_server(self) -> str:
        return self._kill("server")

    def _kill_kubelet(self) -> str:
        return self._kill(self._rng.choice(NODES))

    def _kill(self, process: str) -> str:
        kill(self._cluster, process)
        time.sleep(self._rng.random())  # How long it is away is drawn as well.
        self._cluster.up()
        return f"kill process {process}"

    def _kill_node(self) -> str:
        node, away = self._rng.choice(NODES), self._rng.random() * 6
        self._cluster.podwright("node", "kill", node)
        time.sleep(away)
        self._cluster.up()
        return f"kill {node} for {away:.1f} s"


def settled(cluster: Cluster, wanted: dict[str, tuple[int, int]]) -> list[dict[str, Any]]:
    """The Pods, when there are as many as wanted, all ready, and no others."""
    pods = cluster.get("pods")["items"]
    for app, (replicas, version) in wanted.items():
        own = [p for p in pods if p["metadata"]["labels"]["app"] == app]
        assert len(own) == replicas, f"{app}: {len(own)} Pods of {replicas}"
        for pod in own:
            assert has_condition(pod, "Ready") and "deletionTimestamp" not in pod["metadata"], pod["metadata"]["name"]
            assert pod["spec"]["containers"][0]["env"][0]["value"] == str(version)
    sets = {s["metadata"]["uid"] for s in cluster.get("replicasets")["items"]}
    owners = [p["metadata"]["ownerReferences"][0]["uid"] for p in pods]
    assert set(owners) <= sets, "no orphan"
    addresses = [p["status"]["podIP"] for p in pods]
    assert len(set(addresses)) == len(addresses), "no address twice"
    for node in cluster.get("nodes")["items"]:
        assert has_condition(node, "Ready") and not node["spec"].get("taints"), node["metadata"]["name"]
    return list(pods)


def as_many(cluster: Cluster, pods: list[dict[str, Any]]) -> bool:
    """Each node holds what its Pods need, once, and nothing else."""
    for node in NODES:
        here, counts = sum(p["spec"]["nodeName"] == node for p in pods), held(cluster, node)
        assert set(counts.values()) == {here}, f"{node} has {here} Pods and {counts}"
    return True


@pytest.mark.timeout(SECONDS + 5 * PATIENCE)
def test_kills_at_random_leave_what_was_asked_and_nothing_else(cluster: Cluster) -> None:
    print(f"PODWRIGHT_SEED={SEED} PODWRIGHT_FAULT_SECONDS={SECONDS}")
    chaos = Chaos(cluster, random.Random(SEED))
    end = time.monotonic() + SECONDS
    try:
        while time.monotonic() < end:
            chaos.step()
        cluster.up()
        pods = until(lambda: settled(cluster, chaos.wanted) or not any(r for r, _ in chaos.wanted.values()),
                     f"as wanted: {chaos.wanted}", PATIENCE)  # fmt: skip
        pods = [] if pods is True else pods
        until(lambda: as_many(cluster, pods), "everything once", PATIENCE)
        for app in APPS:
            cluster.kubectl("delete", "deployment", app)
        until(lambda: not cluster.get("pods")["items"], "all Pods gone", PATIENCE)
        until(lambda: as_many(cluster, []), "nothing is left", PATIENCE)
    finally:
        print(f"{len(chaos.did)} steps:", *chaos.did, sep="\n  ")  # shown if the test failed, as all of this
        print(cluster.try_kubectl("get", "pods,replicasets,nodes", "-o", "wide").stdout)
        for node in NODES:
            print(node, held(cluster, node), (Path("/var/lib/podwright") / cluster.name / "log" / f"{node}.log")
                  .read_text()[-5000:])  # fmt: skip
