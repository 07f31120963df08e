"""inspect, token, backup, restore and migrate, as a user types them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from tests.e2e.harness import BIN, Cluster, busybox, host_pids, namespace_of, pod, until


def _inspect(cluster: Cluster, name: str) -> dict:
    return json.loads(cluster.podwright("inspect", "pod", name, "-o", "json").stdout)


def test_inspect_says_what_the_kernel_says(cluster: Cluster):
    limits = {"limits": {"memory": "64Mi", "cpu": "100m"}}
    cluster.apply(
        pod("web", busybox("a", "exec httpd -f -p 8080", resources=limits), busybox("b", "exec sleep 1000"))
    )
    running = cluster.running("web")
    pids = host_pids(running)
    until(lambda: 8080 in [p["port"] for p in _inspect(cluster, "web")["ports"]], "port 8080")
    seen = _inspect(cluster, "web")
    assert {c["name"]: c["pid"] for c in seen["containers"]} == pids
    assert seen["podIPs"] == [running["status"]["podIP"]]
    first = seen["containers"][0]
    assert first["cgroup"]["memoryLimitBytes"] == 64 * 2**20
    assert first["cgroup"]["cpuLimitMillicores"] == 100
    assert first["cgroup"]["memoryUsageBytes"] > 0
    assert "CHOWN" in first["capabilities"]
    assert "SYS_ADMIN" not in first["capabilities"]
    assert "/" in [m["target"] for m in first["mounts"]]
    assert any(r["destination"] == "0.0.0.0/0" for r in seen["routes"])
    rows = {(n["kind"], tuple(n["containers"])): n for n in seen["namespaces"]}
    assert f"net:[{rows['net', ('a', 'b')]['inode']}]" == namespace_of(pids["a"], "net")
    assert rows["net", ("a", "b")]["sharedWith"] == []
    assert ("pid", ("a",)) in rows
    text = cluster.podwright("inspect", "pod", "web").stdout
    assert f"pid     {pids['a']}" in text


def test_top_says_who_uses_what(cluster: Cluster):
    limits = {"limits": {"cpu": "200m"}}
    cluster.apply(pod("hot", busybox("burns", "while :; do :; done", resources=limits), busybox("rests", "sleep 999")))
    cluster.running("hot")
    lines = cluster.kubectl("top", "pod", "hot", "--containers", "--no-headers").splitlines()
    used = {line.split()[1]: int(line.split()[2].removesuffix("m")) for line in lines}
    assert 120 <= used["burns"] <= 280 and used["rests"] <= 20
    (node,) = cluster.kubectl("top", "node", "--no-headers").splitlines()
    assert node.split()[0] == "node-1" and int(node.split()[1].removesuffix("m")) >= 100
    assert cluster.try_kubectl("top", "pod", "nobody").returncode == 1
    cluster.kubectl("delete", "pod", "hot", "--now")


def test_a_pod_of_the_hosts_network_shares_it(cluster: Cluster):
    cluster.apply(pod("host", busybox("a", "exec sleep 1000"), hostNetwork=True))
    cluster.running("host")
    net = next(n for n in _inspect(cluster, "host")["namespaces"] if n["kind"] == "net")
    assert net["sharedWith"] == ["host"]


def test_inspect_of_no_pod_is_one_line(cluster: Cluster):
    done = cluster.podwright("inspect", "pod", "nobody", check=False)
    assert (done.returncode, done.stderr) == (1, 'Error: pods "nobody" not found\n')


def test_a_token_is_good_until_it_is_deleted(cluster: Cluster):
    token, line = cluster.podwright("token", "create", "--ttl", "1h").stdout.splitlines()
    assert f"--token {token} --ca-hash sha256:" in line
    who = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}

    def user() -> str:
        code, answer = cluster.request("POST", who, review, token=token)
        return answer["status"]["userInfo"]["username"] if code == 201 else f"refused {code}"

    assert until(user) == f"system:bootstrap:{token[:6]}"
    assert token in cluster.podwright("token", "list").stdout
    cluster.podwright("token", "delete", token)
    assert token not in cluster.podwright("token", "list").stdout
    until(lambda: user() == "refused 401", "the deleted token is refused")


def test_what_a_backup_holds_comes_back(cluster: Cluster, tmp_path: Path):
    file = tmp_path / "backup.db"
    cluster.kubectl("create", "configmap", "before", "--from-literal=a=b")
    cluster.podwright("backup", str(file))
    cluster.kubectl("create", "configmap", "after")
    refused = cluster.podwright("restore", str(file), check=False)
    assert refused.returncode == 1
    assert "runs (pid" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    copy = f"sqlite://{tmp_path / 'moved.db'}"
    moved = subprocess.run(
        [str(BIN / "podwright"), "migrate", "--from", f"sqlite://{file}", "--to", copy],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert moved.returncode == 0, moved.stderr
    assert "entries copied and compared" in moved.stdout
    cluster.podwright("down")
    cluster.podwright("restore", str(file))
    cluster.up()
    assert cluster.get("configmap", "before")["data"] == {"a": "b"}
    assert cluster.try_kubectl("get", "configmap", "after").returncode == 1
