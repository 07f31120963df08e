"""``podwright node join``: another machine (a network and a mount namespace of its own here) becomes a node."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.e2e.harness import BIN, Cluster, busybox, has_condition, pod, until

STATE, RUN = Path("/var/lib/podwright"), Path("/run/podwright")


@dataclass
class Machine:
    """A host with a network, files and clusters of its own. Its only way out is a router, so nothing is on its link."""

    name: str
    directory: Path

    def run(self, *command: str, timeout: float = 90) -> subprocess.CompletedProcess[str]:
        lib, run = self.directory / "lib", self.directory / "run"
        script = f"""
            mount --make-rprivate /
            mkdir -p {STATE} {RUN}
            mount --bind {lib} {STATE} && mount --bind {run} {RUN} && exec {shlex.join(command)}
        """
        return subprocess.run(
            ["nsenter", f"--net=/run/netns/{self.name}", "unshare", "--mount", "sh", "-c", script],
            capture_output=True, text=True, timeout=timeout, check=False,
        )  # fmt: skip


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    number = os.getpid() % 250
    name, link, near, far = f"pwj{os.getpid()}", f"pwj{number}", f"172.29.{number}.1", f"172.29.{number}.2"
    found = Machine(name, tmp_path / "machine")
    for part in ("lib/archives", "run"):
        (found.directory / part).mkdir(parents=True)
    for archive in (STATE / "archives").iterdir():
        shutil.copy(archive, found.directory / "lib/archives")

    def ip(*lines: str) -> None:
        for line in lines:
            subprocess.run(["ip", *line.split()], check=True, capture_output=True)

    ip(
        f"netns add {name}", f"link add {link} type veth peer name eth0 netns {name}",
        f"addr add {near}/30 dev {link}", f"link set {link} up",
        f"-n {name} addr add {far}/30 dev eth0", f"-n {name} link set lo up", f"-n {name} link set eth0 up",
        f"-n {name} route add default via {near}",
    )  # fmt: skip
    try:
        yield found
    finally:
        subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)
        subprocess.run(["ip", "link", "del", link], check=False, capture_output=True)


def test_a_machine_joins_and_leaves(cluster: Cluster, machine: Machine) -> None:
    token, line = cluster.podwright("token", "create", "--ttl", "1h").stdout.splitlines()
    words = line.split()
    server, ca_hash = words[words.index("--server") + 1], words[words.index("--ca-hash") + 1]
    podwright = str(BIN / "podwright")
    there = ("--name", f"{cluster.name[:20]}-2", "--node", "second")

    def join(*, token: str = token, ca_hash: str = ca_hash) -> subprocess.CompletedProcess[str]:
        return machine.run(
            podwright, "node", "join", "--server", server, "--token", token, "--ca-hash", ca_hash, *there
        )

    other = join(ca_hash="sha256:" + "0" * 64)
    assert other.returncode == 1 and "is not of the cluster that --ca-hash names" in other.stderr
    refused = join(token="abcdef.0123456789abcdef")
    assert refused.returncode == 1 and "the token is not valid" in refused.stderr
    assert cluster.get("nodes")["items"][1:] == []

    joined = join()
    try:
        assert joined.returncode == 0, joined.stdout + joined.stderr
        node = cluster.get("node", "second")
        assert has_condition(node, "Ready")
        addresses = {a["type"]: a["address"] for a in node["status"]["addresses"]}
        assert addresses["InternalIP"].startswith("172.29.")
        cluster.apply(
            pod("here", busybox("c", "exec httpd -f -p 8080 -h /etc"), nodeName="node-1"),
            pod("there", busybox("c", "exec httpd -f -p 8080 -h /etc"), nodeName="second"),
        )
        ips = {name: cluster.running(name)["status"]["podIP"] for name in ("here", "there")}
        for name, other_name in (("here", "there"), ("there", "here")):
            until(
                lambda: cluster.try_kubectl("exec", name, "--", "wget", "-qO-", f"http://{ips[other_name]}:8080/hostname")  # noqa: B023
                .stdout.strip() == other_name,  # noqa: B023
                f"{name} reaches {other_name}",
            )  # fmt: skip
        # What does not fit into the overlay's packets is cut by who sends it, not lost.
        cluster.kubectl("exec", "there", "--", "dd", "if=/dev/zero", "of=/etc/big", "bs=1k", "count=900")
        fetch = f"wget -qO- http://{ips['there']}:8080/big | wc -c"
        assert cluster.kubectl("exec", "here", "--", "sh", "-c", fetch).strip() == "921600"
        names = {csr["spec"]["signerName"] for csr in cluster.get("csr")["items"]}
        assert names == {"kubernetes.io/kube-apiserver-client-kubelet", "kubernetes.io/kubelet-serving"}
        status = machine.run(podwright, "status", *there[:2])
        assert status.returncode == 0 and "node    second       Ready, 1 Pods" in status.stdout, status
        inspected = machine.run(podwright, "inspect", "pod", "there", *there[:2])
        assert ips["there"] in inspected.stdout, inspected
        not_here = machine.run(podwright, "token", "create", *there[:2])
        assert not_here.returncode == 1 and f"is served by {server}" in not_here.stderr
        pki = machine.directory / "lib" / there[1] / "pki"
        assert not (pki / "ca.key").exists() and not (pki / "admin.key").exists()
        assert machine.run(podwright, "down", *there[:2]).returncode == 0
        started = machine.run(podwright, "up", *there[:2])
        assert "1 node Ready in" in started.stdout and server in started.stdout, started
        again = join()
        assert again.returncode == 1 and "on this machine already" in again.stderr
    finally:
        gone = machine.run(podwright, "down", *there[:2], "--purge")
    assert gone.returncode == 0, gone.stderr
    links = machine.run("ip", "-o", "link").stdout.splitlines()
    assert len(links) == 2, "lo and eth0 are left"
    assert "proto 112" not in machine.run("ip", "route").stdout
    until(lambda: not has_condition(cluster.get("node", "second"), "Ready"), "the node is missed")
    cluster.kubectl("delete", "node", "second")


FLAGS = ("--fast-failover",)
