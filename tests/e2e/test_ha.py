"""Three control planes over a three-member etcd, as docs/high-availability.md sets them up: any one may be killed or
cut off at any time, and they are upgraded one after the other, while clients write and Pods run."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.harness import BIN, Cluster, busybox, has_condition, until
from tests.e2e.machines import Machine, machines, wait_for_port
from tests.node.leaks import none_left

from podwright.api.resources import CONFIGMAPS
from podwright.api.status import ApiError
from podwright.client.client import Client
from podwright.client.kubeconfig import load
from podwright.client.transport import ServerUnreachable

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "high-availability"
ELECTION = (
    "--leader-elect-lease-duration", "3", "--leader-elect-renew-deadline", "2", "--leader-elect-retry-period", "0.5",
)  # fmt: skip


@dataclass
class ControlPlanes:
    planes: list[Machine]
    worker: Machine
    cluster: Cluster
    files: Path
    token: str = ""
    join_line: list[str] = field(default_factory=list)

    @property
    def urls(self) -> list[str]:
        return [f"https://{m.address}:6443" for m in self.planes]

    def start_etcd(self, machine: Machine) -> None:
        members = ",".join(f"{m.name}=https://{m.address}:2380" for m in self.planes)
        client, peer = f"https://{machine.address}:2379", f"https://{machine.address}:2380"
        ca, cert, key = self.files / "ca.crt", self.files / f"{machine.name}.crt", self.files / f"{machine.name}.key"
        machine.start(
            "etcd", shutil.which("etcd") or "etcd", "--name", machine.name,
            "--data-dir", str(machine.directory / "etcd"),
            "--listen-client-urls", client, "--advertise-client-urls", client,
            "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
            "--initial-cluster", members, "--initial-cluster-token", "t",
            "--heartbeat-interval", "50", "--election-timeout", "500", "--client-cert-auth",
            "--trusted-ca-file", str(ca), "--cert-file", str(cert), "--key-file", str(key),
            "--peer-client-cert-auth", "--peer-trusted-ca-file", str(ca),
            "--peer-cert-file", str(cert), "--peer-key-file", str(key),
        )  # fmt: skip

    def start_server(self, machine: Machine) -> None:
        # Its own member first: that one is asked as long as it answers.
        members = [machine, *(m for m in self.planes if m is not machine)]
        store = "etcd://" + ",".join(f"{m.address}:2379" for m in members)
        store += f"?ca={self.files}/ca.crt&cert={self.files}/client.crt&key={self.files}/client.key"
        machine.start(
            "server", str(BIN / "podwright"), "server", "--name", self.cluster.name, "--store", store,
            "--advertise-address", machine.address, *ELECTION,
        )  # fmt: skip

    def serves(self, machine: Machine) -> bool:
        return self.kubectl_at(machine, "get", "--raw", "/readyz").returncode == 0

    def kubectl_at(self, machine: Machine, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.cluster.try_kubectl("--server", f"https://{machine.address}:6443", *arguments)

    def get_at(self, machine: Machine, *arguments: str) -> Any:
        done = self.kubectl_at(machine, "get", *arguments, "-o", "json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def leader(self, other_than: str = "") -> Machine:
        """Who runs the controllers, when it is not the machine of that address."""

        def look() -> Machine | None:
            for asked in self.planes:
                if asked.address == other_than:
                    continue
                lease = self.get_at(asked, "lease", "kube-controller-manager", "-n", "kube-system")
                holder = str(lease["spec"].get("holderIdentity"))
                pid = holder.partition("_")[2].partition("_")[0]
                for machine in self.planes:
                    if machine.address != other_than and str(machine.pid("server")) == pid:
                        return machine
            return None

        found = until(look, "somebody leads")
        assert isinstance(found, Machine)
        return found


class Writer(threading.Thread):
    """A client of all servers that creates ConfigMaps one after the other and tries again after an error."""

    def __init__(self, ha: ControlPlanes, prefix: str) -> None:
        super().__init__(daemon=True)
        self._ha, self._prefix = ha, prefix
        self._ended = threading.Event()
        self.acknowledged: list[str] = []
        self.times: list[float] = []
        self.errors: list[str] = []

    def run(self) -> None:
        asyncio.run(self._write())

    async def _write(self) -> None:
        transport = load(self._ha.cluster.kubeconfig).transport("writer")
        transport.servers = self._ha.urls
        client, number = Client(transport), 0
        while not self._ended.is_set():
            name = f"{self._prefix}-{number}"
            body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"}}
            try:
                await client.create(CONFIGMAPS, body)
                self.acknowledged.append(name)
                self.times.append(time.monotonic())
            except (ApiError, ServerUnreachable) as failed:
                self.errors.append(f"{time.monotonic():.1f} {str(failed)[:160]}")
            number += 1
            await asyncio.sleep(0.02)
        await client.aclose()

    def goes_on(self) -> None:
        """Returns when twenty more writes were acknowledged."""
        count = len(self.acknowledged)
        until(lambda: len(self.acknowledged) > count + 20, f"writes; errors: {self.errors[-3:]}")

    def end(self) -> None:
        self.goes_on()
        self._ended.set()
        self.join(60)
        longest = max(b - a for a, b in zip(self.times, self.times[1:], strict=False))
        print(f"{len(self.times)} writes, longest wait {longest:.2f} s, errors: {self.errors}")


@pytest.fixture(scope="module")
def ha(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlanes]:
    directory = tmp_path_factory.mktemp("ha")
    name = f"t-ha-{os.getpid()}"
    with none_left([name], link_prefixes=["pwm"]), machines(directory, 4) as (*planes, worker):
        files = directory / "etcd-certificates"
        subprocess.run(
            [str(EXAMPLES / "etcd-certificates.sh"), str(files), *(f"{m.name}={m.address}" for m in planes)], check=True
        )
        found = ControlPlanes(planes, worker, Cluster(name, directory / "kubeconfig"), files)
        for machine in planes:
            found.start_etcd(machine)
        for machine in planes:
            wait_for_port(machine, 2379)
        first, *others = planes
        found.start_server(first)
        wait_for_port(first, 6443)
        here = first.directory / "lib" / name
        shutil.copy(here / "admin.kubeconfig", found.cluster.kubeconfig)
        for machine in others:
            pki = machine.directory / "lib" / name / "pki"
            for file in ("ca.crt", "ca.key", "sa.key", "sa.pub", "front-proxy/ca.crt", "front-proxy/ca.key"):
                (pki / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(here / "pki" / file, pki / file)
            found.start_server(machine)
        for machine in planes:
            until(lambda: found.serves(machine), f"{machine.name} serves")  # noqa: B023
        token, line = first.podwright("token", "create", "--name", name).splitlines()
        words = line.split()
        node = ("--name", f"{name}-w", "--node", "worker")
        worker.podwright(
            "node", "join", "--token", token, "--server", words[words.index("--server") + 1],
            "--ca-hash", words[words.index("--ca-hash") + 1], *node,
        )  # fmt: skip
        try:
            yield found
        finally:
            for machine in planes:  # shown if a test failed
                print(f"server on {machine.name}:\n{machine.log('server')[-4000:]}")
            worker.podwright("down", "--purge", *node[:2])


def deployment(name: str, replicas: int) -> dict[str, Any]:
    container = busybox("c", "trap 'exit 0' TERM; sleep 10000 & wait")
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"terminationGracePeriodSeconds": 1, "containers": [container]},
            },
        },
    }  # fmt: skip


def pods(ha: ControlPlanes, at: Machine, app: str) -> dict[str, str]:
    """Container ids by Pod, of Pods that are ready."""
    items = ha.get_at(at, "pods", "-l", f"app={app}")["items"]
    return {
        p["metadata"]["name"]: p["status"]["containerStatuses"][0]["containerID"]
        for p in items if has_condition(p, "Ready") and p["status"]["containerStatuses"][0]["restartCount"] == 0
    }  # fmt: skip


def made(ha: ControlPlanes, at: Machine, app: str) -> set[str]:
    """Every Pod of that name that was ever made, by the events about it."""
    events = ha.get_at(at, "events")["items"]
    return {
        e["message"].rpartition(" ")[2] for e in events
        if e["reason"] == "SuccessfulCreate" and e["involvedObject"]["name"].startswith(f"{app}-")
    }  # fmt: skip


def all_there(ha: ControlPlanes, writer: Writer) -> None:
    for machine in ha.planes:
        present = {c["metadata"]["name"] for c in ha.get_at(machine, "configmaps")["items"]}
        assert set(writer.acknowledged) <= present, f"{machine.name} lost writes that were acknowledged"


def scaled(ha: ControlPlanes, at: Machine, app: str, replicas: int) -> None:
    done = ha.kubectl_at(at, "scale", "deployment", app, f"--replicas={replicas}")
    assert done.returncode == 0, done.stderr
    until(lambda: len(pods(ha, at, app)) == replicas, f"{replicas} Pods")


def test_every_server_is_behind_the_kubernetes_service(ha: ControlPlanes) -> None:
    expected = [m.address for m in ha.planes]

    def known() -> bool:
        slices = [ha.get_at(m, "endpointslice", "kubernetes") for m in ha.planes]
        return all([e["addresses"][0] for e in s["endpoints"]] == expected for s in slices)

    until(known, "three endpoints")
    servers = ha.worker.directory / "lib" / f"{ha.cluster.name}-w" / "servers.json"
    until(lambda: len(json.loads(servers.read_text())["servers"]) == 3, "the node knows all servers")


@pytest.mark.parametrize("how", ["killed", "cut off"])
def test_a_control_plane_dies_and_nothing_is_lost(ha: ControlPlanes, how: str) -> None:
    app = how.replace(" ", "-")
    ha.cluster.apply(deployment(app, 2))
    victim = ha.leader()
    scaled(ha, victim, app, 2)
    others = [m for m in ha.planes if m is not victim]
    writer = Writer(ha, app)
    writer.start()
    writer.goes_on()
    if how == "killed":
        victim.end("server")
        victim.end("etcd")
    else:
        victim.cut_off()
    writer.goes_on()
    scaled(ha, others[0], app, 4)
    assert ha.leader(other_than=victim.address) in others
    if how == "killed":
        ha.start_etcd(victim)
        ha.start_server(victim)
    else:
        victim.mend()
    until(lambda: ha.serves(victim), f"{victim.name} serves again")
    writer.end()
    all_there(ha, writer)
    until(lambda: len(made(ha, victim, app)) == len(pods(ha, victim, app)) == 4, "four Pods, of which none was doubled")
    ha.cluster.kubectl("delete", "deployment", app)


def test_a_leader_that_was_paused_writes_nothing_any_more(ha: ControlPlanes) -> None:
    ha.cluster.apply(deployment("paused", 2))
    victim = ha.leader()
    scaled(ha, victim, "paused", 2)
    others = [m for m in ha.planes if m is not victim]
    victim.send("server", signal.SIGSTOP)
    try:
        scaled(ha, others[0], "paused", 4)
    finally:
        victim.send("server", signal.SIGCONT)
    until(lambda: ha.serves(victim), f"{victim.name} serves again")
    until(lambda: "could not renew" in victim.log("server"), "it noticed")
    until(lambda: len(made(ha, victim, "paused")) == len(pods(ha, victim, "paused")) == 4, "four Pods, none doubled")
    ha.cluster.kubectl("delete", "deployment", "paused")


def test_a_rolling_upgrade_leaves_pods_alone(ha: ControlPlanes) -> None:
    ha.cluster.apply(deployment("steady", 3))
    scaled(ha, ha.planes[0], "steady", 3)
    before = pods(ha, ha.planes[0], "steady")
    writer = Writer(ha, "upgrade")
    writer.start()
    leader = ha.leader()
    for machine in (leader, *(m for m in ha.planes if m is not leader)):
        ended = machine.pid("server")
        machine.end("server", signal.SIGTERM)
        other = next(m for m in ha.planes if m is not machine)
        lease = ha.get_at(other, "lease", "kube-controller-manager", "-n", "kube-system")
        holder = str(lease["spec"].get("holderIdentity"))
        assert f"_{ended}_" not in holder, "a leader that is stopped gives its Lease back"
        ha.start_server(machine)
        until(lambda: ha.serves(machine), f"{machine.name} serves again")  # noqa: B023
    writer.end()
    all_there(ha, writer)
    assert pods(ha, ha.planes[0], "steady") == before
    assert has_condition(ha.cluster.get("node", "worker"), "Ready")
